#include <stdint.h>
const uint32_t mrpc_policy_abi __attribute__((visibility("default"))) = 99;
