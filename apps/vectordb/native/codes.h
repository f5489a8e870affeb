// Short codes of vectors, from which a search tells which of them need an exact look.
//
// A code stands for x = vector - reference: 4 bits a dimension, u[j] = nibble - 7.5, and three floats {own, scale, doubt}:
//   scale = |x|² / (x·u), so that x' = scale * u has x'·x = |x|²: its error e = x' - x is at right angles to x
//   own   = |x|² + 2 reference·x'
//   doubt = |e|² / dim
// With it |query - vector|² = |query - reference|² + own - 2 scale (query·u), up to an error 2 (query - vector)·e: what lies near is told
// apart best. The query is rounded to 16 bits once, whatever the reference. The error behaves like a sum of many small terms, of mean 0
// and standard deviation 2 |query - vector| sqrt(doubt): 0.7 to 1.2 of that on four sets, 99.9% within 3 to 5 of them (decision 021).
// (The right angle is RaBitQ's idea, SIGMOD 2024; its rotation gained nothing on those sets and is left out.)
//
// A code lies in two places. Its head is the highest bit of each dimension with three such numbers of its own, u[j] = ±0.5: as a rule one line
// of memory, which tells for most vectors that they are too far away. The rest is fetched for the others only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simd/kernels.h"
#include "types.h"

namespace curator {

inline constexpr float kDoubt = 2.5f;  // standard deviations: what is off by more is lost

// A query ready to be compared with codes. Estimates are distances in the metric's own unit (search.h).
class CodeQuery {
 public:
  // bases[i] is base() of the reference of codes[i]. doubts[i] is the square of how far estimates[i] may well be off.
  void estimate(const CodeAt* codes, const float* bases, size_t count, float* estimates, float* doubts) const;
  // The same of heads, more roughly, where being off by `doubt` standard deviations counts as what may well be: see SiftKernel.
  void sift(const HeadsAt& heads, const Slot* slots, size_t count, float base, float doubt, float* estimates, float* doubts) const;
  // From the distance between query and reference: squared, or, for inner products, the negative product.
  float base(float distance) const { return unit_ * distance; }

 private:
  friend class Codec;
  std::vector<float> padded_;
  struct alignas(64) Block { int16_t levels[kBlockDims]; };
  struct alignas(kPlaneStep) Planes { uint8_t bytes[kPlaneStep]; };
  std::vector<Block> levels_;
  std::vector<Planes> planes_;
  size_t blocks_ = 0;
  float unit_ = 1;                       // of the metric, in squared distance
  float own_weight_ = 0, slope_ = 0, shift_ = 0;   // estimate = base + own_weight * own + scale * (slope * sum + shift)
  float doubt_weight_ = 0, doubt_base_ = 0;        // doubts = doubt * (doubt_weight * estimate + doubt_base)
  float head_slope_ = 0, head_shift_ = 0, rounding_ = 0;
};

class Codec {
 public:
  explicit Codec(const Options& options);
  uint32_t head_bytes() const { return static_cast<uint32_t>(kHeadTail + blocks_ * kPlaneBytes); }
  uint32_t rest_bytes() const { return static_cast<uint32_t>(kRestTail + blocks_ * kRestPlanes * kPlaneBytes); }
  // `vector` relative to `reference` (the centroid of the node's reference, see tree.h).
  void encode(const float* vector, const float* reference, std::byte* head, std::byte* rest) const;
  // Into a query that may have been used before, to spare allocations.
  void prepare(const float* query, CodeQuery& out) const;

 private:
  const uint32_t dim_;
  const Metric metric_;
  const uint32_t blocks_;
};

}  // namespace curator
