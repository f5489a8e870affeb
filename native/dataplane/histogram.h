// Latencies in log-linear buckets: four to each power of two, from 1 µs up, so a quantile is off by at most 12 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace mrpc::dataplane {

class Histogram {
 public:
  static constexpr uint32_t kSubBits = 2, kSub = 1u << kSubBits, kFirstBit = 10, kPowers = 28;
  static constexpr uint32_t kBuckets = 1 + kPowers * kSub;  // the last one takes everything above 2^38 ns, about 275 s

  void record(uint64_t ns) {
    counts_[index(ns)] += 1;
    sum_ns_ += ns;
  }
  const std::array<uint64_t, kBuckets>& counts() const { return counts_; }
  uint64_t sum_ns() const { return sum_ns_; }
  // As another process counted. False: it had other buckets.
  bool restore(const std::vector<uint64_t>& counts, uint64_t sum_ns) {
    if (counts.size() != counts_.size()) return false;
    std::copy(counts.begin(), counts.end(), counts_.begin());
    sum_ns_ = sum_ns;
    return true;
  }

  // The first value that no longer falls into bucket i.
  static uint64_t bound_ns(uint32_t i) {
    if (i == 0) return 1ull << kFirstBit;
    const uint32_t power = kFirstBit + (i - 1) / kSub, step = (i - 1) % kSub + 1;
    return (1ull << power) + (uint64_t{step} << (power - kSubBits));
  }

 private:
  static uint32_t index(uint64_t ns) {
    if (ns < 1ull << kFirstBit) return 0;
    const uint32_t power = 63 - static_cast<uint32_t>(std::countl_zero(ns));
    if (power >= kFirstBit + kPowers) return kBuckets - 1;
    return 1 + (power - kFirstBit) * kSub + static_cast<uint32_t>((ns >> (power - kSubBits)) & (kSub - 1));
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t sum_ns_ = 0;
};

}  // namespace mrpc::dataplane
