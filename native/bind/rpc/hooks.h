// What the Python half lends to the native half: mrpc._hooks calls configure() with it once, at import.
#pragma once

#include "bind/rpc/python.h"

namespace mrpc::bind {

struct Hooks {
  PyObject* make_error = nullptr;      // (code, details, initial, trailing, rich bytes) -> the RpcError to raise
  PyObject* finished_call = nullptr;   // (reply, initial, trailing) -> the Call that with_call() returns beside the reply
  PyObject* add_credentials = nullptr; // (channel's CallCredentials, call's, path, metadata) -> metadata
  PyObject* future_class = nullptr;     // (PendingCall) -> what future() returns
  PyObject* waiting_call = nullptr;     // (UnaryCall, request, timeout, metadata, credentials) -> as a PendingCall, with wait_for_ready
};

// Set once while the package is imported, read-only afterwards.
Hooks& hooks();

// Raises the RpcError of these parts. `initial` and `trailing` are tuples of pairs.
PyObject* raise_status(StatusCode code, std::string_view details, PyObject* initial, PyObject* trailing, std::string_view rich);

}  // namespace mrpc::bind
