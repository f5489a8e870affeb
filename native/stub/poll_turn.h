// Permission to poll: at most one thread less than there are cores, over the whole process, so that pollers never starve the daemon.
#pragma once

#include <sched.h>
#include <sys/prctl.h>

#include "stub/process.h"

namespace mrpc::stub {

inline uint32_t core_count() {
  static const uint32_t count = [] {
    cpu_set_t set;
    return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<uint32_t>(CPU_COUNT(&set)) : 1u;
  }();
  return count;
}

class PollTurn {
 public:
  PollTurn() : granted_(process_state().pollers.fetch_add(1, std::memory_order_relaxed) + 1 < core_count()) {}
  ~PollTurn() { process_state().pollers.fetch_sub(1, std::memory_order_relaxed); }
  PollTurn(const PollTurn&) = delete;
  PollTurn& operator=(const PollTurn&) = delete;
  bool granted() const { return granted_; }

 private:
  bool granted_;
};

// Has this thread's timers ring when they are due; the kernel may be 50 us late otherwise.
class PreciseTimers {
 public:
  explicit PreciseTimers(bool wanted) : slack_ns_(wanted ? ::prctl(PR_GET_TIMERSLACK) : 0) {
    if (slack_ns_ > 0) ::prctl(PR_SET_TIMERSLACK, 1);
  }
  ~PreciseTimers() {
    if (slack_ns_ > 0) ::prctl(PR_SET_TIMERSLACK, slack_ns_);
  }
  PreciseTimers(const PreciseTimers&) = delete;
  PreciseTimers& operator=(const PreciseTimers&) = delete;

 private:
  const int slack_ns_;
};

}  // namespace mrpc::stub
