#include "bind/rpc/incoming_call.h"

#include <structmember.h>

#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>

#include <cstddef>
#include <new>
#include <string>

#include "base/clock.h"
#include "bind/rpc/completion.h"
#include "bind/rpc/hooks.h"
#include "bind/rpc/outgoing.h"
#include "bind/rpc/received.h"

namespace mrpc::bind {
namespace {

PyTypeObject* incoming_type = nullptr;

IncomingCall& as_call(PyObject* self) { return *reinterpret_cast<IncomingCall*>(self); }

std::string_view bytes_or_empty(PyObject* bytes) {
  if (!bytes || !PyBytes_Check(bytes)) return {};
  return {PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes))};
}

// A status without message or metadata, for when the handler's own cannot be sent. Without memory for the text, without text.
Answer plain_answer(IncomingCall& call, StatusCode code, const std::string& text) {
  Answer answer{call.incoming, code, {}, false};
  const shm::BlockShape shape{0, 0, shm::details_bytes(text, {}), 0};
  Result<stub::SendBlock> block = call.server->allocate(*call.incoming, shm::block_bytes(shape));
  if (!block.ok()) return answer;
  shm::BlockWriter writer(block->data(), shape);
  writer.details(text, {});
  writer.finish();
  answer.block = std::move(block).value();
  return answer;
}

// The text of the exception that is set, which is then clear; and its code, if it is an RpcError of this binding.
Answer failed_answer(IncomingCall& call) {
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyErr_NormalizeException(&type, &value, &traceback);
  PyRef type_ref(type), value_ref(value), traceback_ref(traceback);
  PyRef text(value ? PyObject_Str(value) : nullptr);
  Py_ssize_t size = 0;
  const char* data = text ? PyUnicode_AsUTF8AndSize(text.get(), &size) : nullptr;
  const std::string reason = data ? std::string(data, static_cast<size_t>(std::min<Py_ssize_t>(size, 4096))) : "unknown error";
  PyErr_Clear();
  return plain_answer(call, StatusCode::kInternal, "the reply could not be sent: " + reason);
}

bool check_reply(const IncomingCall& call, PyObject* reply) {
  if (Py_TYPE(reply) == call.method->reply_class()) return true;
  PyErr_Format(PyExc_TypeError, "the handler of %U returned a %s, not a %s", call.method->path.get(), Py_TYPE(reply)->tp_name,
               call.method->reply_class()->tp_name);
  return false;
}

// Details as UTF-8; false with an exception set.
bool details_view(const IncomingCall& call, std::string_view& view) {
  if (!call.details || call.details == Py_None) return true;
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(call.details, &size);
  if (!data) return false;
  view = {data, static_cast<size_t>(size)};
  return true;
}

stub::SendBlock build_answer(IncomingCall& call, PyObject* reply) {
  MetadataList trailing;
  Outgoing outgoing{reply, &trailing, {}, bytes_or_empty(call.rich)};
  if (reply && !check_reply(call, reply)) return {};
  if (!details_view(call, outgoing.details) || !trailing.read(call.trailing)) return {};
  stub::Server& server = *call.server;
  stub::Incoming& incoming = *call.incoming;
  return build_block(server, [&](uint64_t bytes) { return server.allocate(incoming, bytes); }, outgoing);
}

// ---- methods that ServicerContext is built on -----------------------------------------------------------

PyObject* call_metadata(PyObject* self, PyObject*) {
  const stub::RecvBlockPtr request = as_call(self).incoming->request();
  return metadata_tuple(request ? request->metadata() : std::span<const std::byte>{});
}

// _attribute(key): what the daemon says of the caller under that key; None where it says nothing.
PyObject* call_attribute(PyObject* self, PyObject* key) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(key, &size);
  if (!text) return nullptr;
  const stub::RecvBlockPtr request = as_call(self).incoming->request();
  if (!request || request->metadata().empty()) Py_RETURN_NONE;
  shm::MetadataReader reader(request->metadata());
  for (shm::MetadataPair pair; reader.next(pair);)
    if (pair.key == std::string_view(text, static_cast<size_t>(size))) return text_object(pair.value);
  Py_RETURN_NONE;
}

PyObject* call_request(PyObject* self, PyObject*) { return decode_request(as_call(self)); }

PyObject* call_cancelled(PyObject* self, PyObject*) { return PyBool_FromLong(as_call(self).incoming->cancelled()); }

PyObject* call_time_remaining(PyObject* self, PyObject*) {
  const uint64_t deadline = as_call(self).incoming->deadline_ns();
  if (deadline == 0) Py_RETURN_NONE;
  const uint64_t now = monotonic_ns();
  return PyFloat_FromDouble(deadline > now ? static_cast<double>(deadline - now) * 1e-9 : 0.0);
}

PyObject* call_send_initial_metadata(PyObject* self, PyObject* pairs) {
  IncomingCall& call = as_call(self);
  MetadataList metadata;
  if (!metadata.read(pairs)) return nullptr;
  const Outgoing outgoing{nullptr, &metadata, {}, {}};
  stub::Server& server = *call.server;
  stub::SendBlock block = build_block(server, [&](uint64_t bytes) { return server.allocate(*call.incoming, bytes); }, outgoing);
  if (!block) return nullptr;
  const Status sent = [&] {
    const GilRelease release;
    return server.send_initial_metadata(*call.incoming, std::move(block));
  }();
  return sent.ok() ? Py_NewRef(Py_None) : raise(sent.error());
}

// _finish(reply or None): builds and sends the answer, then runs the callbacks. Does nothing when the call has ended.
PyObject* call_finish(PyObject* self, PyObject* reply) {
  IncomingCall& call = as_call(self);
  if (call.ended) Py_RETURN_NONE;
  Answer answer = make_answer(call, reply == Py_None ? nullptr : reply);
  {
    const GilRelease release;
    send_answer(*call.server, std::move(answer));
  }
  run_end_callbacks(call);
  Py_RETURN_NONE;
}

PyObject* call_run_callbacks(PyObject* self, PyObject*) {
  run_end_callbacks(as_call(self));
  Py_RETURN_NONE;
}

// _notify_cancel(queue, token): puts `token` on the DoneQueue when the caller gives the call up.
PyObject* call_notify_cancel(PyObject* self, PyObject* arguments) {
  PyObject* queue_object;
  unsigned long long token;
  if (!PyArg_ParseTuple(arguments, "OK", &queue_object, &token)) return nullptr;
  std::shared_ptr<DoneQueue> queue;
  if (!nanobind::try_cast(nanobind::handle(queue_object), queue)) {
    PyErr_SetString(PyExc_TypeError, "_notify_cancel needs a DoneQueue");
    return nullptr;
  }
  as_call(self).incoming->on_cancel([queue = std::move(queue), token] { queue->push(token); });
  Py_RETURN_NONE;
}

int call_traverse(PyObject* self, visitproc visit, void* arg) {
  IncomingCall& call = as_call(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(call.trailing);
  Py_VISIT(call.on_end);
  return 0;
}

int call_clear(PyObject* self) {
  IncomingCall& call = as_call(self);
  Py_CLEAR(call.details);
  Py_CLEAR(call.trailing);
  Py_CLEAR(call.rich);
  Py_CLEAR(call.on_end);
  return 0;
}

void call_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  call_clear(self);
  IncomingCall& call = as_call(self);
  call.server.~shared_ptr();
  call.incoming.~shared_ptr();
  call.method.~shared_ptr();
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* call_path(PyObject* self, void*) {
  const ServedMethodPtr& method = as_call(self).method;
  return Py_NewRef(method ? method->path.get() : Py_None);
}

PyObject* call_handler(PyObject* self, void*) {
  const ServedMethodPtr& method = as_call(self).method;
  return Py_NewRef(method ? method->handler.get() : Py_None);
}

PyMethodDef call_methods[] = {
    {"_metadata", call_metadata, METH_NOARGS, nullptr},
    {"_attribute", call_attribute, METH_O, nullptr},
    {"_request", call_request, METH_NOARGS, nullptr},
    {"_cancelled", call_cancelled, METH_NOARGS, nullptr},
    {"_send_initial_metadata", call_send_initial_metadata, METH_O, nullptr},
    {"_run_callbacks", call_run_callbacks, METH_NOARGS, nullptr},
    {"_notify_cancel", call_notify_cancel, METH_VARARGS, nullptr},
    {"_finish", call_finish, METH_O, nullptr},
    {"time_remaining", call_time_remaining, METH_NOARGS, "Seconds to the call's deadline, not below 0; None when it has none."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef call_properties[] = {
    {"_path", call_path, nullptr, nullptr, nullptr},
    {"_handler", call_handler, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMemberDef call_members[] = {
    {"_code", T_INT, offsetof(IncomingCall, code), 0, nullptr},
    {"_ended", T_BOOL, offsetof(IncomingCall, ended), READONLY, nullptr},
    {"_details", T_OBJECT, offsetof(IncomingCall, details), 0, nullptr},
    {"_trailing", T_OBJECT, offsetof(IncomingCall, trailing), 0, nullptr},
    {"_rich", T_OBJECT, offsetof(IncomingCall, rich), 0, nullptr},
    {"_on_end", T_OBJECT, offsetof(IncomingCall, on_end), 0, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot call_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(call_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(call_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(call_clear)},
    {Py_tp_methods, call_methods},
    {Py_tp_getset, call_properties},
    {Py_tp_members, call_members},
    {0, nullptr},
};
PyType_Spec call_spec{"mrpc._native.IncomingCall", sizeof(IncomingCall), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                      call_slots};

}  // namespace

bool init_incoming_call() {
  incoming_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&call_spec));
  return incoming_type != nullptr;
}

PyObject* incoming_call_type() { return reinterpret_cast<PyObject*>(incoming_type); }

IncomingCall* make_incoming_call(PyTypeObject* cls, std::shared_ptr<stub::Server> server, stub::IncomingPtr incoming,
                                 ServedMethodPtr method) {
  PyObject* self = cls->tp_alloc(cls, 0);
  if (!self) return nullptr;
  IncomingCall& call = as_call(self);
  new (&call.server) std::shared_ptr<stub::Server>(std::move(server));
  new (&call.incoming) stub::IncomingPtr(std::move(incoming));
  new (&call.method) ServedMethodPtr(std::move(method));
  call.code = kNoCode;
  return &call;
}

Answer make_answer(IncomingCall& call, PyObject* reply) {
  call.ended = true;
  const int code = call.code == kNoCode ? 0 : call.code;
  if (code != 0) reply = nullptr;
  Answer answer{call.incoming, static_cast<StatusCode>(code), build_answer(call, reply), reply != nullptr};
  return answer.block ? std::move(answer) : failed_answer(call);
}

void send_answer(stub::Server& server, Answer&& answer) {
  // The only errors are a caller or a daemon that has gone: nobody is left to tell.
  (void)server.reply(*answer.incoming, answer.code, std::move(answer.block), answer.has_message);
}

void run_end_callbacks(IncomingCall& call) {
  PyRef callbacks(std::exchange(call.on_end, nullptr));
  if (!callbacks || callbacks.get() == Py_None) return;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks.get()); ++i) {
    PyRef result(PyObject_CallNoArgs(PyList_GET_ITEM(callbacks.get(), i)));
    if (!result) PyErr_WriteUnraisable(PyList_GET_ITEM(callbacks.get(), i));
  }
}

PyObject* decode_request(IncomingCall& call) {
  if (!call.incoming->has_message()) return raise(internal_error("the call came without a request"));
  return decode_block(call.method->request_class(), call.incoming->request());
}

}  // namespace mrpc::bind
