// How the end of a call reaches Python code that does not wait for it.
//
// A call's on_done runs on whichever thread polled, without the GIL, and may take no lock that a waiting thread holds; so it
// cannot run Python. It marks the call's Completion, which puts numbers (chosen by Python, which keeps a table of what they mean)
// on the DoneQueues that subscribed. Their readers, an event loop or a thread that waits, run the Python code.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.h"

namespace mrpc::bind {

class DoneQueue {
 public:
  DoneQueue();

  int fd() const { return event_.get(); }  // readable while there is something, for event loops
  void push(uint64_t token);
  std::vector<uint64_t> take();  // what there is now
  std::vector<uint64_t> wait();  // blocks until there is something; for one thread

  // While one lives, what this thread pushes to `queue` does not ring: the thread takes it itself when it has drained its client.
  class Draining {
   public:
    explicit Draining(DoneQueue& queue) { draining = &queue; }
    ~Draining() { draining = nullptr; }
  };

 private:
  static thread_local DoneQueue* draining;

  Fd event_;
  std::mutex mutex_;
  bool rung_ = false;
  std::vector<uint64_t> tokens_;
};

class Completion {
 public:
  void finish();
  bool done() const;
  bool wait_until(uint64_t deadline_ns) const;  // CLOCK_MONOTONIC; false when it is not done by then
  // False when it is done already: then nothing is pushed.
  bool subscribe(std::shared_ptr<DoneQueue> queue, uint64_t token);

 private:
  struct Subscriber {
    std::shared_ptr<DoneQueue> queue;
    uint64_t token;
  };
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool done_ = false;
  std::vector<Subscriber> subscribers_;
};

}  // namespace mrpc::bind
