#include "bind/rpc/completion.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/assert.h"

namespace mrpc::bind {

thread_local DoneQueue* DoneQueue::draining = nullptr;

DoneQueue::DoneQueue() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { MRPC_ASSERT(event_.get() >= 0); }

void DoneQueue::push(uint64_t token) {
  std::lock_guard lock(mutex_);
  tokens_.push_back(token);
  if (rung_ || draining == this) return;
  rung_ = true;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof one);
}

std::vector<uint64_t> DoneQueue::take() {
  std::lock_guard lock(mutex_);
  if (rung_) {
    uint64_t count;
    [[maybe_unused]] const ssize_t taken = read(event_.get(), &count, sizeof count);
    rung_ = false;
  }
  return std::exchange(tokens_, {});
}

std::vector<uint64_t> DoneQueue::wait() {
  for (;;) {
    std::vector<uint64_t> tokens = take();
    if (!tokens.empty()) return tokens;
    pollfd waiting{event_.get(), POLLIN, 0};
    poll(&waiting, 1, -1);
  }
}

void Completion::finish() {
  std::vector<Subscriber> subscribers;
  {
    std::lock_guard lock(mutex_);
    done_ = true;
    subscribers.swap(subscribers_);
    changed_.notify_all();
  }
  for (const Subscriber& subscriber : subscribers) subscriber.queue->push(subscriber.token);
}

bool Completion::done() const {
  std::lock_guard lock(mutex_);
  return done_;
}

bool Completion::wait_until(uint64_t deadline_ns) const {
  // libstdc++'s steady_clock is CLOCK_MONOTONIC.
  const std::chrono::steady_clock::time_point deadline{std::chrono::nanoseconds(deadline_ns)};
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return done_; });
}

bool Completion::subscribe(std::shared_ptr<DoneQueue> queue, uint64_t token) {
  std::lock_guard lock(mutex_);
  if (!done_) subscribers_.push_back({std::move(queue), token});
  return !done_;
}

}  // namespace mrpc::bind
