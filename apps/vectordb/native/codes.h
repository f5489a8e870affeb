// Short codes of vectors, from which a search tells which of them need an exact look.
//
// A code stands for x = vector - reference: 4 bits a dimension, u[j] = nibble - 7.5, and three floats {own, scale, doubt} behind them:
//   scale = |x|² / (x·u), so that x' = scale * u has x'·x = |x|²: its error e = x' - x is at right angles to x
//   own   = |x|² + 2 reference·x'
//   doubt = |e|² / dim
// With it |query - vector|² = |query - reference|² + own - 2 scale (query·u), up to an error 2 (query - vector)·e: what lies near is told
// apart best. The query is rounded to 16 bits once, whatever the reference. The error behaves like a sum of many small terms, of mean 0
// and standard deviation 2 |query - vector| sqrt(doubt): 0.7 to 1.2 of that on four sets, 99.9% within 3 to 5 of them (decision 021).
// (The right angle is RaBitQ's idea, SIGMOD 2024; its rotation gained nothing on those sets and is left out.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "types.h"

namespace curator {

// A query ready to be compared with codes. Estimates are distances in the metric's own unit (search.h).
class CodeQuery {
 public:
  // bases[i] is base() of the reference of codes[i]. doubts[i] is the square of how far estimates[i] may well be off.
  void estimate(const std::byte* const* codes, const float* bases, size_t count, float* estimates, float* doubts) const;
  // From the distance between query and reference: squared, or, for inner products, the negative product.
  float base(float distance) const { return unit_ * distance; }

 private:
  friend class Codec;
  std::vector<int16_t> levels_;
  size_t blocks_ = 0;
  float unit_ = 1;                       // of the metric, in squared distance
  float own_weight_ = 0, slope_ = 0, shift_ = 0;   // estimate = base + own_weight * own + scale * (slope * sum + shift)
  float doubt_weight_ = 0, doubt_base_ = 0;        // doubts = doubt * (doubt_weight * estimate + doubt_base)
};

class Codec {
 public:
  explicit Codec(const Options& options);
  uint32_t bytes() const { return bytes_; }  // of a code
  // `vector` relative to `reference` (the centroid of the node's reference, see tree.h).
  void encode(const float* vector, const float* reference, std::byte* out) const;
  // Into a query that may have been used before, to spare allocations.
  void prepare(const float* query, CodeQuery& out) const;

 private:
  const uint32_t dim_;
  const Metric metric_;
  const uint32_t blocks_, bytes_;
};

}  // namespace curator
