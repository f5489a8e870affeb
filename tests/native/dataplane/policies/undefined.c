#include "probe.h"
int system(const char*);
EXPORT int32_t mrpc_on_request(mrpc_frame* frame) { return system((const char*)frame->self); }
