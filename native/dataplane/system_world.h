// The World of a running daemon.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "dataplane/attachment.h"
#include "dataplane/config.h"

namespace mrpc::dataplane {

class SystemWorld final : public World {
 public:
  SystemWorld() : worker_([this] { work(); }) {}
  ~SystemWorld() override { finish(); }
  // Runs what there is to the end, and takes nothing more: jobs know their shards, which go next.
  void finish() {
    if (!worker_.joinable()) return;
    run_long({});
    worker_.join();
  }

  uint64_t now_ns() override { return monotonic_ns(); }
  uint64_t random() override {
    static thread_local uint64_t state = monotonic_ns() | 1;  // balances load; guards nothing
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  void wake(Attachment& attachment) override { attachment.wake(); }
  // One thread: long work of one shard must not crowd the others out of the cores.
  void run_long(std::function<void()> job) override {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    ready_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return !jobs_.empty(); });
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      if (!job) return;
      job();
    }
  }

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> jobs_;
  std::thread worker_;
};

}  // namespace mrpc::dataplane
