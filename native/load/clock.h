#pragma once

#include "base/clock.h"

namespace mrpc::load {

inline uint64_t seconds_to_ns(double seconds) { return static_cast<uint64_t>(seconds * 1e9); }

// CPU time of the calling thread.
inline uint64_t thread_cpu_ns() {
  timespec t;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return uint64_t(t.tv_sec) * 1'000'000'000ull + uint64_t(t.tv_nsec);
}

}  // namespace mrpc::load
