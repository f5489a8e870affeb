// A call as a servicer sees it: the native base of mrpc's ServicerContext. It holds what the handler says of the call's
// end (code, details, trailing metadata) until the reply is sent.
#pragma once

#include <memory>

#include "bind/rpc/python.h"
#include "stub/stub.h"

namespace mrpc::bind {

// How to serve one method.
struct ServedMethod {
  PyRef path;     // str
  PyRef handler;  // callable(request, context), or None: not implemented
  PyRef request_type, reply_type;

  bool implemented() const { return handler.get() != Py_None; }
  PyTypeObject* request_class() const { return reinterpret_cast<PyTypeObject*>(request_type.get()); }
  PyTypeObject* reply_class() const { return reinterpret_cast<PyTypeObject*>(reply_type.get()); }
};
using ServedMethodPtr = std::shared_ptr<const ServedMethod>;

struct IncomingCall {
  PyObject_HEAD
  std::shared_ptr<stub::Server> server;
  stub::IncomingPtr incoming;
  ServedMethodPtr method;  // null: unknown to this server
  int code;                    // StatusCode; kNoCode until the handler sets one
  bool ended;                  // the reply has been handed over
  PyObject* details;           // str, or null
  PyObject* trailing;          // a sequence of pairs, or null
  PyObject* rich;              // bytes of google.rpc.Status, or null
  PyObject* on_end;            // list of callables, or null
};
constexpr int kNoCode = -1;

bool init_incoming_call();       // makes the type; false with an exception set
PyObject* incoming_call_type();  // borrowed

// A new `cls`, which derives from the native type. nullptr with an exception set.
IncomingCall* make_incoming_call(PyTypeObject* cls, std::shared_ptr<stub::Server> server, stub::IncomingPtr incoming,
                                 ServedMethodPtr method);

// The end of a call, written and ready to go.
struct Answer {
  stub::IncomingPtr incoming;
  StatusCode code = StatusCode::kOk;
  stub::SendBlock block;
  bool has_message = false;
};

// Builds the answer out of what the handler returned (`reply` may be null: then the code is not OK). What cannot be sent becomes
// an INTERNAL or RESOURCE_EXHAUSTED status; never fails, and leaves no exception set.
Answer make_answer(IncomingCall& call, PyObject* reply);

// Sends it; without the GIL, as the ring may be full.
void send_answer(stub::Server& server, Answer&& answer);

// Calls what add_callback() registered. With the GIL, after the answer was sent.
void run_end_callbacks(IncomingCall& call);

// The request's message; nullptr with an exception set (no message: INTERNAL).
PyObject* decode_request(IncomingCall& call);

}  // namespace mrpc::bind
