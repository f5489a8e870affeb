// mrpc._native: the one extension module. It only wires the parts together.
#include <nanobind/nanobind.h>

namespace mrpc::bind {
void bind_messages(nanobind::module_& module);
void bind_rpc(nanobind::module_& module);
}  // namespace mrpc::bind

NB_MODULE(_native, module) {
  module.doc() = "Native half of mrpc: message objects and calls.";
  mrpc::bind::bind_messages(module);
#ifdef MRPC_BIND_RPC
  mrpc::bind::bind_rpc(module);
#endif
}
