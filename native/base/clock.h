// CLOCK_MONOTONIC in nanoseconds: the clock of every deadline on a host.
#pragma once

#include <time.h>

#include <cstdint>

namespace mrpc {

inline uint64_t monotonic_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000ull + uint64_t(now.tv_nsec);
}

// Wall clock, for what was dated elsewhere. Nothing here is timed by it.
inline uint64_t realtime_ns() {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000ull + uint64_t(now.tv_nsec);
}

}  // namespace mrpc
