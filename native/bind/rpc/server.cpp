#include "bind/rpc/server.h"

#include <optional>

namespace mrpc::bind {
namespace {

thread_local stub::Server* current_server = nullptr;

class ServingHere {
 public:
  explicit ServingHere(stub::Server* server) { current_server = server; }
  ~ServingHere() { current_server = nullptr; }
};

// Hands the exception that is set to context._failed(), which logs it and sets the call's code and details.
void report_failure(IncomingCall& call) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  if (traceback) PyException_SetTraceback(value, traceback);
  PyRef type_ref(type), value_ref(value), traceback_ref(traceback);
  PyObject* self = reinterpret_cast<PyObject*>(&call);
  PyRef result(PyObject_CallMethod(self, "_failed", "O", value));
  if (result) return;
  PyErr_WriteUnraisable(self);
  call.code = static_cast<int>(StatusCode::kUnknown);
}

// The handler's reply, or null when it raised (then the call has a code) or the method is not served.
PyRef handle(IncomingCall& call) {
  if (!call.method || !call.method->implemented()) {
    call.code = static_cast<int>(StatusCode::kUnimplemented);
    call.details =
        PyUnicode_FromFormat("the server does not implement %V", call.method ? call.method->path.get() : nullptr, "this method");
    return {};
  }
  PyRef request(decode_request(call));
  PyObject* arguments[] = {request.get(), reinterpret_cast<PyObject*>(&call)};
  PyRef reply(request ? PyObject_Vectorcall(call.method->handler.get(), arguments, 2, nullptr) : nullptr);
  if (!reply) report_failure(call);
  return reply;
}

}  // namespace

ServerCore::ServerCore(std::shared_ptr<stub::Server> server, PyTypeObject* context_class)
    : server_(std::move(server)), context_class_(context_class) {
  Py_INCREF(context_class_);
}

stub::Server* ServerCore::current() { return current_server; }

bool ServerCore::offer(std::shared_ptr<const message::Schema> schema, const std::string& service, PyObject* handlers,
                       PyObject* request_classes, PyObject* reply_classes) {
  const message::ServiceLayout* layout = schema->service(service);
  if (!layout) return raise(invalid_argument("the schema has no service " + service)), false;
  Service methods;
  for (size_t i = 0; i < layout->methods.size(); ++i) {
    const Py_ssize_t at = static_cast<Py_ssize_t>(i);
    methods.push_back(std::make_shared<const ServedMethod>(ServedMethod{
        PyRef(text_object(layout->methods[i].path)), PyRef::borrow(PyList_GET_ITEM(handlers, at)),
        PyRef::borrow(PyList_GET_ITEM(request_classes, at)), PyRef::borrow(PyList_GET_ITEM(reply_classes, at))}));
  }
  services_.push_back(std::move(methods));  // before the offer: calls may come at once
  const Result<uint32_t> offered = [&] {
    const GilRelease release;
    return server_->offer(schema->serialized(), service);
  }();
  if (offered.ok()) {
    MRPC_ASSERT(*offered == services_.size() - 1);
    return true;
  }
  services_.pop_back();
  raise(offered.error());
  return false;
}

ServedMethodPtr ServerCore::find(const stub::Incoming& incoming) const {
  if (incoming.service() >= services_.size()) return nullptr;
  const Service& service = services_[incoming.service()];
  return incoming.method() < service.size() ? service[incoming.method()] : nullptr;
}

// Everything that needs the GIL between a call's coming and its answer's going.
Answer ServerCore::run_handler(stub::IncomingPtr incoming) {
  PyRef keep(reinterpret_cast<PyObject*>(make_incoming_call(context_class_, server_, incoming, find(*incoming))));
  if (!keep) {
    PyErr_Clear();
    return {std::move(incoming), StatusCode::kResourceExhausted, {}, false};
  }
  IncomingCall& call = *reinterpret_cast<IncomingCall*>(keep.get());
  PyRef reply = handle(call);
  Answer answer = make_answer(call, reply.get());
  if (!call.on_end) return answer;
  {  // callbacks expect the call to be over
    const GilRelease release;
    send_answer(*server_, std::move(answer));
  }
  run_end_callbacks(call);
  return {};
}

void ServerCore::serve() {
  const std::shared_ptr<stub::Server> server = server_;
  const ServingHere here(server.get());
  const stub::InterruptFn never;
  Answer answer;
  for (;;) {
    stub::IncomingPtr incoming;
    stub::NextOutcome outcome;
    {
      const GilRelease release;
      if (answer.incoming) send_answer(*server, std::exchange(answer, {}));
      outcome = server->next(incoming, never);
    }
    if (outcome == stub::NextOutcome::kStopped) return;
    if (outcome == stub::NextOutcome::kCall) answer = run_handler(std::move(incoming));
  }
}

void ServerCore::stop(double grace_s) { server_->stop(static_cast<uint64_t>(grace_s * 1e9)); }

PyObject* ServerCore::drain(size_t calls_max) {
  std::vector<stub::IncomingPtr> calls;
  server_->drain(calls_max, calls);
  PyRef list(PyList_New(0));
  for (stub::IncomingPtr& incoming : calls) {
    ServedMethodPtr method = find(*incoming);
    PyRef call(reinterpret_cast<PyObject*>(make_incoming_call(context_class_, server_, std::move(incoming), std::move(method))));
    if (!list || !call || PyList_Append(list.get(), call.get()) != 0) return nullptr;
  }
  return list.release();
}

}  // namespace mrpc::bind
