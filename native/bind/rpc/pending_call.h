// A call that was started and is not waited for at once: futures and asyncio.
#pragma once

#include <memory>

#include "bind/rpc/channel.h"
#include "bind/rpc/completion.h"
#include "bind/rpc/heap_memory.h"
#include "bind/rpc/python.h"

namespace mrpc::bind {

// The reply's message, or nullptr with the RpcError set that it means. `initial` may be null.
PyObject* take_reply(const stub::Reply& reply, const stub::RecvBlockPtr& initial, PyTypeObject* reply_class);

// (initial, trailing) metadata as tuples of pairs; false with an exception set.
bool reply_metadata(const stub::Reply& reply, const stub::RecvBlockPtr& initial, PyRef& initial_pairs, PyRef& trailing_pairs);

class PendingCall {
 public:
  // Takes a reference to `reply_class`. `arrays` are given back to their writers once Python has been told that the call is done.
  PendingCall(std::shared_ptr<stub::Client> client, stub::CallPtr call, std::shared_ptr<Completion> completion,
              PyTypeObject* reply_class, uint64_t deadline_ns, SentArrays arrays);
  ~PendingCall() { Py_DECREF(reply_class_); }
  PendingCall(const PendingCall&) = delete;
  PendingCall& operator=(const PendingCall&) = delete;

  bool done();
  uint64_t deadline_ns() const { return deadline_ns_; }
  bool subscribe(std::shared_ptr<DoneQueue> queue, uint64_t token);

  // Waits without the GIL, at most `timeout_s` (below 0: for ever). False when the time ran out first, or with an exception set
  // when a signal handler raised: then the call has been cancelled.
  bool wait(double timeout_s);
  void cancel();

  // Once done().
  // Whether the daemon found nobody to give the call to, so that it may be made again. UNAVAILABLE alone does not tell: a server
  // may have had the call and died.
  bool found_no_server() const { return call_->reply().not_delivered; }
  PyObject* result() const { return take_reply(call_->reply(), call_->initial_metadata(), reply_class_); }
  PyObject* metadata();                     // (initial, trailing)
  PyObject* initial_metadata() const;       // a tuple of pairs, or None while it has not come

 private:
  bool wait_until(uint64_t until_ns);

  std::shared_ptr<stub::Client> client_;
  stub::CallPtr call_;
  std::shared_ptr<Completion> completion_;
  PyTypeObject* reply_class_;
  uint64_t deadline_ns_;
  SentArrays arrays_;
};

}  // namespace mrpc::bind
