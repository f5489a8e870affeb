// Deadlines on one host are CLOCK_MONOTONIC nanoseconds, on both sides of the shared memory.
#pragma once

#include <time.h>

#include <cstdint>

namespace mrpc::stub {

inline uint64_t now_ns() {
  timespec at{};
  ::clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<uint64_t>(at.tv_sec) * 1'000'000'000ull + static_cast<uint64_t>(at.tv_nsec);
}

}  // namespace mrpc::stub
