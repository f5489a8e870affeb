#include "bind/rpc/unary_call.h"

#include <structmember.h>

#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <cstddef>

#include "base/clock.h"
#include "bind/rpc/call_arguments.h"
#include "bind/rpc/hooks.h"
#include "bind/rpc/outgoing.h"
#include "bind/rpc/pending_call.h"

namespace mrpc::bind {
namespace {

constexpr uint64_t kReadyPollNs = 20'000'000;  // how often wait_for_ready looks for the service

struct UnaryCall {
  PyObject_HEAD
  vectorcallfunc vectorcall;
  UnaryTarget target;
  PyObject* path;
  PyTypeObject* request_class;
  PyTypeObject* reply_class;
  PyObject* credentials;  // the channel's, or None
};

PyTypeObject* unary_type = nullptr;

const stub::InterruptFn& interrupt() {
  static const stub::InterruptFn function = signal_raised;
  return function;
}

// ---- binding: the first call of a service ----------------------------------------------------------------

Status bind_once(UnaryCall& call) {
  stub::BoundServicePtr bound;
  {
    const GilRelease release;
    Result<std::shared_ptr<stub::Client>> client = call.target.channel->client();
    if (!client.ok()) return client.error();
    Result<stub::BoundServicePtr> result = call.target.service->bind(**client);
    if (!result.ok()) return result.error();
    bound = *result;
  }
  call.target.service->set_bound(std::move(bound));
  return ok_status();
}

// False with an exception set by a signal handler.
bool pause_for_service(uint64_t deadline_ns) {
  const GilRelease release;
  const uint64_t now = monotonic_ns();
  const uint64_t pause = deadline_ns ? std::min(kReadyPollNs, deadline_ns > now ? deadline_ns - now : 0) : kReadyPollNs;
  const timespec span{0, static_cast<long>(pause)};
  nanosleep(&span, nullptr);
  return !signal_raised();
}

bool is_true(PyObject* object) { return object && PyObject_IsTrue(object) == 1; }

// Binds, and with `wait_for_ready` keeps trying while there is no daemon or no such service. False with an exception set.
bool bind_service(UnaryCall& call, bool wait_for_ready, uint64_t deadline_ns) {
  for (;;) {
    const Status status = bind_once(call);
    if (status.ok()) return true;
    const bool may_come = status.error().code == StatusCode::kUnavailable || status.error().code == StatusCode::kNotFound;
    if (!wait_for_ready || !may_come) {
      raise(status.error());
      return false;
    }
    if (deadline_ns && monotonic_ns() >= deadline_ns) {
      raise({StatusCode::kDeadlineExceeded, "the service was not ready in time: " + status.error().text});
      return false;
    }
    if (!pause_for_service(deadline_ns)) return false;
  }
}

bool daemon_gone(stub::Client& client) {
  const GilRelease release;
  return !client.check_daemon();
}

// The client to call through, with the service bound; nullptr with an exception set.
stub::Client* ready_client(UnaryCall& call, const CallArguments& arguments, uint64_t deadline_ns) {
  ChannelCore& channel = *call.target.channel;
  if (channel.closed()) {
    PyErr_SetString(PyExc_ValueError, "this channel is closed: open another with mrpc.channel()");
    return nullptr;
  }
  stub::Client* client = channel.attached();
  const bool waits = is_true(arguments.wait_for_ready);
  if (client && call.target.service->bound() && !(waits && daemon_gone(*client))) return client;
  return bind_service(call, waits, deadline_ns) ? channel.attached() : nullptr;
}

// ---- one call ------------------------------------------------------------------------------------------

struct Prepared {
  stub::Client* client = nullptr;
  stub::SendBlock block;
  SentArrays arrays;
};

// The call's metadata with what credentials add. False with an exception set.
bool read_metadata(const UnaryCall& call, const CallArguments& arguments, MetadataList& metadata) {
  const bool own = arguments.credentials && arguments.credentials != Py_None;
  if (!own && call.credentials == Py_None) return metadata.read(arguments.metadata);
  PyRef pairs(PyObject_CallFunctionObjArgs(hooks().add_credentials, call.credentials, own ? arguments.credentials : Py_None,
                                           call.path, arguments.metadata ? arguments.metadata : Py_None, nullptr));
  return pairs && metadata.read(pairs.get());
}

bool check_request(const UnaryCall& call, PyObject* request) {
  if (Py_TYPE(request) == call.request_class) return true;
  PyErr_Format(PyExc_TypeError, "%U takes a %s, not a %s", call.path, call.request_class->tp_name, Py_TYPE(request)->tp_name);
  return false;
}

// Writes the request into shared memory. False with an exception set.
bool prepare(UnaryCall& call, const CallArguments& arguments, uint64_t deadline_ns, Prepared& prepared) {
  MetadataList metadata;
  if (!check_request(call, arguments.request)) return false;
  if (!read_metadata(call, arguments, metadata)) return false;
  stub::Client* client = prepared.client = ready_client(call, arguments, deadline_ns);
  if (!client) return false;
  const Outgoing outgoing{arguments.request, &metadata, {}, {}, &prepared.arrays};
  prepared.block = build_block(*client, [client](uint64_t bytes) { return client->allocate(bytes); }, outgoing);
  return static_cast<bool>(prepared.block);
}

// Starts the call and waits for its end. Null with an exception set.
stub::CallPtr run_once(UnaryCall& call, const CallArguments& arguments, uint64_t deadline_ns) {
  Prepared prepared;
  if (!prepare(call, arguments, deadline_ns, prepared)) return nullptr;
  const stub::BoundServicePtr service = call.target.service->bound();
  stub::CallOptions options;
  options.deadline_ns = deadline_ns;
  std::optional<Error> error;
  stub::CallPtr started;
  stub::WaitOutcome outcome = stub::WaitOutcome::kReady;
  {
    const GilRelease release;
    Result<stub::CallPtr> result =
        prepared.client->start(service, call.target.method, std::move(prepared.block), std::move(options));
    if (result.ok()) {
      started = std::move(result).value();
      outcome = prepared.client->wait(*started, interrupt());
    } else {
      error = result.error();
    }
  }
  if (error) raise(*error);
  return outcome == stub::WaitOutcome::kReady ? std::move(started) : nullptr;
}

// As run_once(); with wait_for_ready again and again while no server offers the service, until the deadline.
stub::CallPtr run_call(UnaryCall& call, const CallArguments& arguments) {
  uint64_t deadline_ns;
  if (!arguments.deadline(deadline_ns)) return nullptr;
  for (;;) {
    stub::CallPtr done = run_once(call, arguments, deadline_ns);
    if (!done || !done->reply().not_delivered || !is_true(arguments.wait_for_ready)) return done;
    if (!pause_for_service(deadline_ns)) return nullptr;
  }
}

PyObject* unary_vectorcall(PyObject* self, PyObject* const* args, size_t flagged_count, PyObject* names) {
  UnaryCall& call = *reinterpret_cast<UnaryCall*>(self);
  CallArguments arguments;
  if (!arguments.parse(args, static_cast<size_t>(PyVectorcall_NARGS(flagged_count)), names)) return nullptr;
  const stub::CallPtr done = run_call(call, arguments);
  return done ? take_reply(done->reply(), done->initial_metadata(), call.reply_class) : nullptr;
}

PyObject* unary_with_call(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  UnaryCall& call = *reinterpret_cast<UnaryCall*>(self);
  CallArguments arguments;
  if (!arguments.parse(args, static_cast<size_t>(count), names)) return nullptr;
  const stub::CallPtr done = run_call(call, arguments);
  if (!done) return nullptr;
  PyRef reply(take_reply(done->reply(), done->initial_metadata(), call.reply_class));
  PyRef initial, trailing;
  if (!reply || !reply_metadata(done->reply(), done->initial_metadata(), initial, trailing)) return nullptr;
  PyRef finished(PyObject_CallFunctionObjArgs(hooks().finished_call, reply.get(), initial.get(), trailing.get(), nullptr));
  return finished ? PyTuple_Pack(2, reply.get(), finished.get()) : nullptr;
}

// Starts the call and returns without waiting; null with an exception set.
std::shared_ptr<PendingCall> start_call(UnaryCall& call, const CallArguments& arguments) {
  Prepared prepared;
  uint64_t deadline_ns;
  if (!arguments.deadline(deadline_ns) || !prepare(call, arguments, deadline_ns, prepared)) return nullptr;
  auto completion = std::make_shared<Completion>();
  stub::CallOptions options;
  options.deadline_ns = deadline_ns;
  options.on_done = [completion] { completion->finish(); };
  const stub::BoundServicePtr service = call.target.service->bound();
  Result<stub::CallPtr> started = [&] {
    const GilRelease release;
    return prepared.client->start(service, call.target.method, std::move(prepared.block), std::move(options));
  }();
  if (!started.ok()) {
    raise(started.error());
    return nullptr;
  }
  return std::make_shared<PendingCall>(prepared.client->shared_from_this(), std::move(started).value(), std::move(completion),
                                       call.reply_class, deadline_ns, std::move(prepared.arrays));
}

PyObject* unary_start(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  CallArguments arguments;
  if (!arguments.parse(args, static_cast<size_t>(count), names)) return nullptr;
  std::shared_ptr<PendingCall> pending = start_call(*reinterpret_cast<UnaryCall*>(self), arguments);
  return pending ? nanobind::cast(std::move(pending)).release().ptr() : nullptr;
}

PyObject* unary_future(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  CallArguments arguments;
  if (!arguments.parse(args, static_cast<size_t>(count), names)) return nullptr;
  if (!check_request(*reinterpret_cast<UnaryCall*>(self), arguments.request)) return nullptr;
  const auto given = [](PyObject* argument) { return argument ? argument : Py_None; };
  PyRef pending(is_true(arguments.wait_for_ready)
                    ? PyObject_CallFunctionObjArgs(hooks().waiting_call, self, arguments.request, given(arguments.timeout),
                                                   given(arguments.metadata), given(arguments.credentials), nullptr)
                    : unary_start(self, args, count, names));
  return pending ? PyObject_CallOneArg(hooks().future_class, pending.get()) : nullptr;
}

PyObject* unary_bound(PyObject* self, void*) {
  const UnaryTarget& target = reinterpret_cast<UnaryCall*>(self)->target;
  return PyBool_FromLong(target.channel->attached() && target.service->bound());
}

PyObject* unary_bind(PyObject* self, PyObject*) {
  return bind_service(*reinterpret_cast<UnaryCall*>(self), false, 0) ? Py_NewRef(Py_None) : nullptr;
}

// ---- the type ------------------------------------------------------------------------------------------

void unary_dealloc(PyObject* self) {
  UnaryCall& call = *reinterpret_cast<UnaryCall*>(self);
  PyTypeObject* type = Py_TYPE(self);
  call.target.~UnaryTarget();
  Py_DECREF(call.path);
  Py_DECREF(call.request_class);
  Py_DECREF(call.reply_class);
  Py_DECREF(call.credentials);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyMethodDef unary_methods[] = {
    {"with_call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(unary_with_call)), METH_FASTCALL | METH_KEYWORDS,
     "Calls and waits; returns (reply, call), where `call` has the metadata and the status. Raises RpcError."},
    {"future", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(unary_future)), METH_FASTCALL | METH_KEYWORDS,
     "Starts the call and returns it: a Call that is a Future of the reply."},
    {"_start", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(unary_start)), METH_FASTCALL | METH_KEYWORDS, nullptr},
    {"_bind", unary_bind, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef unary_properties[] = {
    {"_bound", unary_bound, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyMemberDef unary_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(UnaryCall, vectorcall), READONLY, nullptr},
    {"path", T_OBJECT, offsetof(UnaryCall, path), READONLY, "The method's path, \"/package.Service/Method\"."},
    {nullptr, 0, 0, 0, nullptr},
};
PyType_Slot unary_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(unary_dealloc)},
    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
    {Py_tp_methods, unary_methods},
    {Py_tp_getset, unary_properties},
    {Py_tp_members, unary_members},
    {Py_tp_doc, const_cast<char*>("A unary method of a channel. Call it with a request; keywords: timeout (seconds), metadata, "
                                  "credentials, wait_for_ready, compression. Raises RpcError.")},
    {0, nullptr},
};
PyType_Spec unary_spec{"mrpc.UnaryCall", sizeof(UnaryCall), 0,
                       Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION, unary_slots};

}  // namespace

bool init_unary_call() {
  unary_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&unary_spec));
  return unary_type != nullptr;
}

PyObject* unary_call_type() { return reinterpret_cast<PyObject*>(unary_type); }

PyObject* make_unary_call(UnaryTarget target, PyObject* path, PyTypeObject* request_class, PyTypeObject* reply_class,
                          PyObject* credentials) {
  UnaryCall* call = PyObject_New(UnaryCall, unary_type);
  if (!call) return nullptr;
  call->vectorcall = unary_vectorcall;
  new (&call->target) UnaryTarget(std::move(target));
  call->path = Py_NewRef(path);
  call->request_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(reinterpret_cast<PyObject*>(request_class)));
  call->reply_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(reinterpret_cast<PyObject*>(reply_class)));
  call->credentials = Py_NewRef(credentials);
  return reinterpret_cast<PyObject*>(call);
}

}  // namespace mrpc::bind
