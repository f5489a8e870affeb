// Declares channels, calls and servers to Python. Everything here is off the path of a call.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind/message/codec.h"
#include "bind/rpc/call_arguments.h"
#include "bind/rpc/channel.h"
#include "bind/rpc/heap_memory.h"
#include "bind/rpc/hooks.h"
#include "bind/rpc/incoming_call.h"
#include "bind/rpc/method_lookup.h"
#include "bind/rpc/pending_call.h"
#include "bind/rpc/received.h"
#include "bind/rpc/server.h"
#include "bind/rpc/unary_call.h"

namespace mrpc::bind {

namespace nb = nanobind;

namespace {

constexpr size_t kDrainEvents = 256;

// A new reference that CPython made, or the exception that it set.
nb::object own(PyObject* object) {
  if (!object) throw nb::python_error();
  return nb::steal(object);
}

template <typename T>
T value_or_raise(Result<T> result) {
  if (result.ok()) return std::move(result).value();
  raise(result.error());
  throw nb::python_error();
}

void configure(nb::object make_error, nb::object finished_call, nb::object add_credentials, nb::object future_class,
               nb::object waiting_call) {
  hooks() = {make_error.release().ptr(), finished_call.release().ptr(), add_credentials.release().ptr(),
             future_class.release().ptr(), waiting_call.release().ptr()};
}

std::shared_ptr<const message::Schema> schema_or_raise(nb::handle schema) {
  std::shared_ptr<const message::Schema> found = schema_of(schema.ptr());
  if (!found) throw nb::python_error();
  return found;
}

uint32_t method_index(const message::Schema& schema, const std::string& service, const std::string& path) {
  const message::ServiceLayout* layout = schema.service(service);
  for (uint32_t i = 0; layout && i < layout->methods.size(); ++i)
    if (layout->methods[i].path == path) return i;
  throw nb::value_error(("the schema has no method " + path).c_str());
}

nb::object channel_unary(const std::shared_ptr<ChannelCore>& channel, nb::handle schema_object, const std::string& service,
                         const std::string& path, nb::type_object request_class, nb::type_object reply_class,
                         nb::object credentials) {
  const std::shared_ptr<const message::Schema> schema = schema_or_raise(schema_object);
  UnaryTarget target{channel, channel->service(schema, service), method_index(*schema, service, path)};
  return own(make_unary_call(std::move(target), nb::cast(path).ptr(), reinterpret_cast<PyTypeObject*>(request_class.ptr()),
                             reinterpret_cast<PyTypeObject*>(reply_class.ptr()), credentials.ptr()));
}

std::shared_ptr<stub::Client> channel_attach(ChannelCore& channel) {
  return value_or_raise([&] {
    const GilRelease release;
    return channel.client();
  }());
}

nb::object allocate(ChannelCore& channel, uint64_t bytes) {
  if (stub::Server* server = ServerCore::current()) return own(make_heap_memory(value_or_raise(server->allocate_buffer(bytes))));
  return own(make_heap_memory(value_or_raise(channel_attach(channel)->allocate_buffer(bytes))));
}

// Runs the callbacks of what has come for the client, until nothing is left and the next event will ring its descriptor.
// Returns what they put on `queue`, whose reader this thread is.
std::vector<uint64_t> drain_client(stub::Client& client, DoneQueue& queue) {
  {
    const DoneQueue::Draining here(queue);
    do {
      while (client.drain(kDrainEvents) == kDrainEvents) {
      }
    } while (!client.arm());
  }
  return queue.take();
}

nb::object drain_server(ServerCore& server) {
  PyRef calls(PyList_New(0));
  do {
    for (size_t count = kDrainEvents; calls && count == kDrainEvents;) {
      PyRef more(server.drain(kDrainEvents));
      if (!more) throw nb::python_error();
      count = static_cast<size_t>(PyList_GET_SIZE(more.get()));
      const Py_ssize_t end = PyList_GET_SIZE(calls.get());
      if (PyList_SetSlice(calls.get(), end, end, more.get()) != 0) throw nb::python_error();
    }
  } while (!server.stub().arm());
  return own(calls.release());
}

std::shared_ptr<ServerCore> make_server(std::string label, std::string token, nb::type_object context_class, uint32_t calls_max) {
  auto server = value_or_raise([&] {
    const GilRelease release;
    return stub::Server::attach({{}, std::move(label), std::move(token)}, calls_max);
  }());
  return std::make_shared<ServerCore>(std::move(server), reinterpret_cast<PyTypeObject*>(context_class.ptr()));
}

void offer(ServerCore& server, nb::handle schema, const std::string& service, nb::list handlers, nb::list requests,
           nb::list replies) {
  if (!server.offer(schema_or_raise(schema), service, handlers.ptr(), requests.ptr(), replies.ptr())) throw nb::python_error();
}

nb::list method_paths(nb::handle schema, const std::string& service) {
  nb::list paths;
  const std::shared_ptr<const message::Schema> found = schema_or_raise(schema);
  if (const message::ServiceLayout* layout = found->service(service))
    for (const message::MethodLayout& method : layout->methods) paths.append(method.path);
  return paths;
}

void bind_client_side(nb::module_& module) {
  nb::class_<DoneQueue>(module, "DoneQueue")
      .def(nb::init<>())
      .def("fileno", &DoneQueue::fd)
      .def("push", &DoneQueue::push)
      .def("take", &DoneQueue::take)
      .def("wait", [](DoneQueue& queue) {
        const GilRelease release;
        return queue.wait();
      });
  nb::class_<PendingCall>(module, "PendingCall")
      .def("done", &PendingCall::done)
      .def_prop_ro("deadline_ns", &PendingCall::deadline_ns)
      .def("subscribe", &PendingCall::subscribe)
      .def("wait", [](PendingCall& call, double timeout_s) {
        const bool done = call.wait(timeout_s);
        if (PyErr_Occurred()) throw nb::python_error();
        return done;
      })
      .def("cancel", &PendingCall::cancel)
      .def("found_no_server", &PendingCall::found_no_server)
      .def("result", [](const PendingCall& call) { return own(call.result()); })
      .def("metadata", [](PendingCall& call) { return own(call.metadata()); })
      .def("initial_metadata", [](const PendingCall& call) { return own(call.initial_metadata()); });
  nb::class_<stub::Client>(module, "Client")
      .def("wake_fd", &stub::Client::wake_fd)
      .def("control_fd", &stub::Client::control_fd)
      .def("epoch", &stub::Client::epoch)
      .def("disarm", &stub::Client::disarm)
      .def("drain", &drain_client, nb::call_guard<GilRelease>())
      .def("check_daemon", &stub::Client::check_daemon, nb::call_guard<GilRelease>());
  nb::class_<ChannelCore>(module, "ChannelCore")
      .def(nb::init<std::string, std::string, std::string>(), nb::arg("target"), nb::arg("label"), nb::arg("token"))
      .def("attach", &channel_attach)
      .def("unary", &channel_unary, nb::arg("schema"), nb::arg("service"), nb::arg("path"), nb::arg("request_class"),
           nb::arg("reply_class"), nb::arg("credentials").none())
      .def("allocate", &allocate)
      .def("close", &ChannelCore::close)
      .def_prop_ro("closed", &ChannelCore::closed);
}

void bind_server_side(nb::module_& module) {
  nb::class_<ServerCore>(module, "ServerCore")
      .def(nb::new_(&make_server), nb::arg("label"), nb::arg("token"), nb::arg("context_class"),
           nb::arg("calls_max"))
      .def("offer", &offer)
      .def("serve", &ServerCore::serve)
      .def("stop", &ServerCore::stop, nb::call_guard<GilRelease>())
      .def("wake_fd", [](ServerCore& server) { return server.stub().wake_fd(); })
      .def("epoch", [](ServerCore& server) { return server.stub().epoch(); })
      .def("disarm", [](ServerCore& server) { server.stub().disarm(); })
      .def("drain", &drain_server);
}

}  // namespace

void bind_rpc(nb::module_& module) {
  if (!init_received() || !init_call_arguments() || !init_unary_call() || !init_incoming_call() || !init_heap_memory())
    throw nb::python_error();
  nb::set_leak_warnings(false);  // clients and the callback queue live as long as the process
  module.attr("UnaryCall") = nb::handle(unary_call_type());
  module.attr("IncomingCall") = nb::handle(incoming_call_type());
  module.def("configure_rpc", &configure);
  module.def("method_paths", &method_paths);
  module.def("find_method", [](nb::handle cls, const std::string& path) { return own(find_method(cls.ptr(), path.c_str())); });
  module.def("default_socket_path", &stub::default_socket_path);
  bind_client_side(module);
  bind_server_side(module);
}

}  // namespace mrpc::bind
