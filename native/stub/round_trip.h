// How long a method's calls have taken lately, and so how long it pays to poll for the next one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace mrpc::stub {

class RoundTrip {
 public:
  // Threads may race here and lose an update: it is an estimate.
  void record(uint64_t took_ns) {
    const auto took = static_cast<int64_t>(took_ns);
    const int64_t mean = mean_ns_.load(std::memory_order_relaxed), deviation = deviation_ns_.load(std::memory_order_relaxed);
    if (mean == 0) {
      mean_ns_.store(took, std::memory_order_relaxed);
      return;
    }
    const int64_t error = took - mean;
    mean_ns_.store(mean + error / 8, std::memory_order_relaxed);
    deviation_ns_.store(deviation + ((error < 0 ? -error : error) - deviation) / 4, std::memory_order_relaxed);
  }

  // Zero when polling would most likely end in sleeping all the same.
  uint64_t poll_ns(uint64_t cap_ns) const {
    const auto mean = static_cast<uint64_t>(mean_ns_.load(std::memory_order_relaxed));
    const auto deviation = static_cast<uint64_t>(deviation_ns_.load(std::memory_order_relaxed));
    if (mean == 0) return cap_ns / 4;
    return mean > cap_ns ? 0 : std::min(mean + 2 * deviation, cap_ns);
  }

 private:
  std::atomic<int64_t> mean_ns_{0}, deviation_ns_{0};
};

}  // namespace mrpc::stub
