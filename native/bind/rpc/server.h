// What a Python Server stands on.
//
// There is no hand-over between threads: each worker thread of the user's executor runs serve(), which waits for a call without
// the GIL, takes the GIL, runs the handler itself, writes the reply into shared memory, and lets the GIL go once, to send the
// reply and to wait for the next call. A queue between a receiving thread and the workers would cost a wake-up (30 to 50 us on a
// virtual machine) for each call, and a second switch of the GIL.
#pragma once

#include <memory>
#include <vector>

#include "bind/rpc/incoming_call.h"
#include "message/layout.h"

namespace mrpc::bind {

class ServerCore {
 public:
  // `context_class` derives from IncomingCall; its method _failed(exception) is called when a handler raised. Takes a reference.
  ServerCore(std::shared_ptr<stub::Server> server, PyTypeObject* context_class);
  ~ServerCore() { Py_DECREF(context_class_); }
  ServerCore(const ServerCore&) = delete;
  ServerCore& operator=(const ServerCore&) = delete;

  // `handlers`: one callable or None for each method of the service, in the schema's order; the classes likewise.
  // False with an exception set.
  bool offer(std::shared_ptr<const message::Schema> schema, const std::string& service, PyObject* handlers,
             PyObject* request_classes, PyObject* reply_classes);

  // Runs until stop(). Called by worker threads, with the GIL.
  void serve();

  void stop(double grace_s);  // without the GIL; blocks for up to the grace

  // Calls that have come, as a new list of `context_class`; for event loops. nullptr with an exception set.
  PyObject* drain(size_t calls_max);
  stub::Server& stub() { return *server_; }

  // The server whose handler this thread is in, for memory that its reply may be sent from; null elsewhere.
  static stub::Server* current();

 private:
  using Service = std::vector<ServedMethodPtr>;

  ServedMethodPtr find(const stub::Incoming& incoming) const;
  Answer run_handler(stub::IncomingPtr incoming);

  std::shared_ptr<stub::Server> server_;
  PyTypeObject* context_class_;
  std::vector<Service> services_;  // by offer; changed and read with the GIL held
};

}  // namespace mrpc::bind
