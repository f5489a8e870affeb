// Where a thread stands still between two of its turns while somebody else looks at what it owns.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace mrpc::dataplane {

class Park {
 public:
  // Asks the thread to stand still, and waits until it does. `wake` gets it out of whatever it sleeps in.
  template <typename Wake>
  void close(Wake&& wake) {
    {
      const std::lock_guard lock(mutex_);
      closed_.store(true, std::memory_order_relaxed);
    }
    wake();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return parked_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    closed_.store(false, std::memory_order_relaxed);
    changed_.notify_all();
  }
  // The thread, between two turns.
  void pass() {
    if (!closed_.load(std::memory_order_relaxed)) return;
    std::unique_lock lock(mutex_);
    parked_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !closed_.load(std::memory_order_relaxed); });
    parked_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<bool> closed_{false};
  bool parked_ = false;
};

}  // namespace mrpc::dataplane
