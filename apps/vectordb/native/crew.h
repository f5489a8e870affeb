// Threads that help with what can be done in parts.
//
// Whoever has work does it himself, and helpers that are at rest join him. Nobody waits for one that has not joined: where none comes, as on a
// busy machine or in a forked child, the caller has done all of it meanwhile. While helpers have one caller's work, others do theirs alone.
#pragma once

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace curator {

class Crew {
 public:
  Crew() = default;
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // part(i) for each i < count, on this thread and up to `threads` - 1 others, which are made when they are first wanted. Returns when all
  // is done, or throws what a part has thrown; then some are not.
  template <typename F>
  void each(size_t count, size_t threads, F&& part) {
    Work work;
    work.part = [](void* of, size_t i) { (*static_cast<std::remove_reference_t<F>*>(of))(i); };
    work.of = &part;
    work.count = count;
    run(work, count < threads ? count : threads);
  }

 private:
  struct Work {
    void (*part)(void* of, size_t i);
    void* of;
    size_t count;
    std::atomic<size_t> next{0};
    std::atomic<uint32_t> helpers{0};  // that are at it; changed under the mutex
    std::exception_ptr failed;         // under the mutex
  };

  void run(Work& work, size_t threads);
  bool offer(Work& work, size_t helpers);
  void keep_off(int cpu);
  void withdraw(Work& work);
  void take_part(Work& work) noexcept;
  void help();

  struct Hands {
    std::mutex mutex;
    std::condition_variable offered, left;
    Work* work = nullptr;  // that helpers may join
    size_t wanted = 0;     // helpers that have not joined it yet
    bool ends = false;
    int kept_off = -1;     // the processor that no helper runs on
    std::vector<std::thread> helpers;
  };

  const pid_t process_ = ::getpid();
  std::unique_ptr<Hands> hands_ = std::make_unique<Hands>();
};

}  // namespace curator
