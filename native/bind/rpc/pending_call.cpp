#include "bind/rpc/pending_call.h"

#include <algorithm>

#include "base/clock.h"
#include "bind/rpc/hooks.h"
#include "bind/rpc/metadata.h"
#include "bind/rpc/received.h"

namespace mrpc::bind {
namespace {

constexpr uint64_t kSliceNs = 50'000'000;  // between two looks at signals

PyObject* block_metadata(const stub::RecvBlockPtr& block) {
  return metadata_tuple(block ? block->metadata() : std::span<const std::byte>{});
}

PyObject* raise_reply(const stub::Reply& reply, const stub::RecvBlockPtr& initial) {
  PyRef initial_pairs, trailing_pairs;
  if (!reply_metadata(reply, initial, initial_pairs, trailing_pairs)) return nullptr;
  std::string_view rich;
  if (reply.block) {
    const std::span<const std::byte> bytes = reply.block->rich_status();
    rich = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  return raise_status(reply.code, reply.message(), initial_pairs.get(), trailing_pairs.get(), rich);
}

}  // namespace

bool reply_metadata(const stub::Reply& reply, const stub::RecvBlockPtr& initial, PyRef& initial_pairs, PyRef& trailing_pairs) {
  initial_pairs = PyRef(block_metadata(initial));
  trailing_pairs = PyRef(block_metadata(reply.block));
  return initial_pairs && trailing_pairs;
}

PyObject* take_reply(const stub::Reply& reply, const stub::RecvBlockPtr& initial, PyTypeObject* reply_class) {
  if (reply.code != StatusCode::kOk) return raise_reply(reply, initial);
  if (!reply.has_message) return raise(internal_error("the call ended with OK but without a reply"));
  return decode_block(reply_class, reply.block);
}

PendingCall::PendingCall(std::shared_ptr<stub::Client> client, stub::CallPtr call, std::shared_ptr<Completion> completion,
                         PyTypeObject* reply_class, uint64_t deadline_ns, SentArrays arrays)
    : client_(std::move(client)), call_(std::move(call)), completion_(std::move(completion)), reply_class_(reply_class),
      deadline_ns_(deadline_ns), arrays_(std::move(arrays)) {
  Py_INCREF(reply_class_);
}

bool PendingCall::done() {
  const bool done = completion_->done();
  if (done) arrays_.release();
  return done;
}

bool PendingCall::subscribe(std::shared_ptr<DoneQueue> queue, uint64_t token) {
  return completion_->subscribe(std::move(queue), token);
}

bool PendingCall::wait(double timeout_s) {
  const bool done = [&] {
    const GilRelease release;
    if (timeout_s >= 0 && timeout_s < 1e9) return wait_until(monotonic_ns() + static_cast<uint64_t>(timeout_s * 1e9));
    return client_->wait(*call_, signal_raised) == stub::WaitOutcome::kReady;
  }();
  if (done) arrays_.release();
  return done;
}

// Client::wait() cancels a call that it gives up on, and running out of time here must not: so this thread only sleeps, and
// whoever polls for the client (a waiting thread, an event loop, the client's own thread) wakes it.
bool PendingCall::wait_until(uint64_t until_ns) {
  for (;;) {
    if (completion_->wait_until(std::min(until_ns, monotonic_ns() + kSliceNs))) return true;
    if (signal_raised()) {
      client_->cancel(*call_);
      return false;
    }
    if (monotonic_ns() >= until_ns) return false;
  }
}

void PendingCall::cancel() {
  const GilRelease release;
  client_->cancel(*call_);
}

PyObject* PendingCall::metadata() {
  arrays_.release();
  PyRef initial, trailing;
  if (!reply_metadata(call_->reply(), call_->initial_metadata(), initial, trailing)) return nullptr;
  return PyTuple_Pack(2, initial.get(), trailing.get());
}

PyObject* PendingCall::initial_metadata() const {
  const stub::RecvBlockPtr block = call_->initial_metadata();
  return block ? metadata_tuple(block->metadata()) : Py_NewRef(Py_None);
}

}  // namespace mrpc::bind
