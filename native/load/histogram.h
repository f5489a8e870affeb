// Log-linear counts of nanoseconds: HdrHistogram's buckets for 3 significant digits from 1 ns to one hour, so that
// the report can load them into any HdrHistogram without a change of resolution.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace mrpc::load {

class Histogram {
 public:
  static constexpr uint64_t kHighest = 3'600'000'000'000;

  void record(uint64_t value) {
    value = std::min(value, kHighest);
    counts_[index_of(value)] += 1;
    count_ += 1;
    sum_ += value;
    least_ = std::min(least_, value);
    most_ = std::max(most_, value);
  }

  void merge(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    least_ = std::min(least_, other.least_);
    most_ = std::max(most_, other.most_);
  }

  uint64_t count() const { return count_; }
  uint64_t sum() const { return sum_; }
  uint64_t least() const { return count_ ? least_ : 0; }
  uint64_t most() const { return most_; }
  size_t buckets() const { return counts_.size(); }
  uint64_t count_at(size_t bucket) const { return counts_[bucket]; }

  static size_t index_of(uint64_t value) {
    const unsigned shift = std::bit_width(value | (kSubBuckets - 1)) - kSubBits;
    return (size_t{shift} << (kSubBits - 1)) + (value >> shift);
  }
  // The least value of a bucket.
  static uint64_t value_of(size_t bucket) {
    const size_t half = kSubBuckets / 2;
    if (bucket < kSubBuckets) return bucket;
    const unsigned shift = static_cast<unsigned>(bucket / half) - 1;
    return (bucket % half + half) << shift;
  }

 private:
  static constexpr unsigned kSubBits = 11;  // 2048 steps: better than 1 in 1000 everywhere
  static constexpr uint64_t kSubBuckets = uint64_t{1} << kSubBits;

  std::vector<uint64_t> counts_ = std::vector<uint64_t>(index_of(kHighest) + 1);
  uint64_t count_ = 0, sum_ = 0, least_ = UINT64_MAX, most_ = 0;
};

}  // namespace mrpc::load
