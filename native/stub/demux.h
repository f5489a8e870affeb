// Leader and followers: of the threads that wait for completions of one attachment, one (the leader) polls for all; the others
// (followers) sleep each on its own word. Leadership goes directly to a follower when the leader's own wait ends, so that no completion
// is ever left without somebody who looks for it while anybody waits.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>

#include "stub/wait_point.h"

namespace mrpc::stub {

class Demux {
 public:
  struct Waiter {
    WaitPoint& point;
    std::atomic<bool> leads{false};
  };

  // True: the caller leads, until it calls hand_on(). False: it follows, until it calls withdraw().
  bool enter(Waiter& waiter) {
    std::lock_guard lock(mutex_);
    if (!led_) return led_ = true;
    followers_.push_back(&waiter);
    return false;
  }
  // True: the caller leads; false: somebody else does.
  bool try_lead() {
    std::lock_guard lock(mutex_);
    return !std::exchange(led_, true);
  }
  // A follower wakes for good. True: it was made leader meanwhile.
  bool withdraw(Waiter& waiter) {
    std::lock_guard lock(mutex_);
    std::erase(followers_, &waiter);
    return waiter.leads.load(std::memory_order_relaxed);
  }
  // The leader resigns. False: nobody leads now.
  bool hand_on() {
    std::lock_guard lock(mutex_);
    led_ = !followers_.empty();
    if (!led_) return false;
    Waiter& next = *followers_.front();
    followers_.pop_front();
    next.leads.store(true, std::memory_order_release);
    next.point.notify();  // under the lock: the waiter stands on its thread's stack, and leaves by withdraw()
    return true;
  }
  bool led() {
    std::lock_guard lock(mutex_);
    return led_;
  }

 private:
  std::mutex mutex_;
  bool led_ = false;
  std::deque<Waiter*> followers_;
};

}  // namespace mrpc::stub
