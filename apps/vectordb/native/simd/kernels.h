// The loops in which a search spends its time, compiled for every instruction set of this architecture (Highway) and chosen once, at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace curator {

// Codes of dimensions come in blocks of 64 and in planes, a bit of each dimension of a block in 64 bits: the highest bits in a head, behind
// kHeadTail bytes, the three others of each block together, the higher first, in the rest of the code (codes.h).
inline constexpr size_t kBlockDims = 64, kPlaneBytes = kBlockDims / 8, kRestPlanes = 3;
inline constexpr size_t kPlaneStep = 32;  // bytes of a plane that are read at once, as a rule
constexpr size_t padded_plane(size_t bytes) { return (bytes + kPlaneStep - 1) / kPlaneStep * kPlaneStep; }
inline constexpr size_t kHeadTail = 8, kRestTail = 12;  // fetched with the planes
inline constexpr float kMiddle = 7.5f;                  // between the nibbles 7 and 8

// rows: `count` addresses of rows of `dim` elements, aligned to an element. A row's memory is fetched while earlier ones are worked on.
using RowsKernel = void (*)(const float* query, const std::byte* const* rows, size_t count, size_t dim, float* out);
// A query in whole steps, padded with zeros to whole blocks: levels of at most `most` for ScanKernel, and for SiftKernel sizes of kSiftBits, in
// planes of padded_plane() bytes: that of the signs (set: negative), then the sizes' from the highest.
constexpr size_t level_place(size_t dim) { return dim % 2 * (kBlockDims / 2) + dim / 2; }  // in a block: even dimensions before odd ones
inline constexpr size_t kSiftBits = 4;
inline constexpr float kSiftMost = (1 << kSiftBits) - 1;
struct Levels {
  float norm, step, head_step;  // |query|², and what a level is worth
  int32_t sum = 0, head_sum = 0, head_below = 0;  // of all; of what is negative, without its sign
};
using RoundKernel = Levels (*)(const float* query, size_t blocks, float most, int16_t* levels, uint8_t* planes);
// A code in its two places.
struct CodeAt {
  const std::byte *head, *rest;
};
// out[i] = sum of query[j] * (code j of codes[i]), levels of the query in their places. The caller sees to it that the sum of 15 * |query[j]| fits
// an int32.
using ScanKernel = void (*)(const int16_t* query, const CodeAt* codes, size_t count, size_t blocks, int32_t* out);
// What a head is asked, with planes of a query (aligned to kPlaneStep). `sum` is that of its sizes where a head's bit is set; those of what is
// negative count where it is not set, so that the sum is by all of them larger than the query's product with the head's bits.
//   estimate = base + own_weight * own + scale * (slope * sum + shift)
//   doubt²   = doubt * (doubt_weight * (max(estimate, 0) + doubt) + doubt_base) + rounding * scale²
// where the head's tail is {own: float, scale: upper half of a float, doubt: the same}.
struct SiftQuery {
  const uint8_t* planes;
  float own_weight, slope, shift, doubt_weight, doubt_base, rounding;
};
// Heads by slots, `bytes` from one to the next in a segment.
inline constexpr uint32_t kHeadSegmentBits = 18;
struct HeadsAt {
  const std::byte* const* segments;
  size_t bytes;
  const std::byte* operator[](uint32_t slot) const { return segments[slot >> kHeadSegmentBits] + (slot & ((1u << kHeadSegmentBits) - 1)) * bytes; }
};
// Estimates, and the squares of their doubts, of `count` heads of one base; room for kSpare more of each. kSpare slots follow those: the next
// time's, whose heads are fetched, or any.
inline constexpr size_t kSpare = 64;
using SiftKernel = void (*)(const SiftQuery& query, const HeadsAt& heads, const uint32_t* slots, size_t count, size_t blocks, float base,
                            float* estimates, float* doubts);
// The places of the least estimates, each of those places that leave the same remainder by `classes`, a multiple of 16 and no more than `count`.
// kSpare estimates behind the last are infinite.
using LeastKernel = void (*)(const float* estimates, size_t count, size_t classes, uint32_t* places);
// The places of what may be below the bar, less doubt, ascending, and how many. `kept` has room for kSpare more than `count`.
using BelowKernel = size_t (*)(const float* estimates, const float* doubts, size_t count, float bar, uint32_t* kept);
// Both of `blocks` whole blocks, those past `dim` zero. x: as much space. head, rest: where the planes go.
struct Coded {
  float norm = 0, along = 0, length = 0, across = 0;  // of x = vector - reference and its u (codes.h): x·x, x·u, u·u, reference·u
  float head_along = 0, head_across = 0;              // the same of the u that a head stands for
  float quality() const { return length > 0 ? along * along / length : 0; }  // of |x|², what u's direction keeps
};
using EncodeKernel = Coded (*)(const float* vector, const float* reference, size_t dim, size_t blocks, float* x, std::byte* head, std::byte* rest);

struct Kernels {
  const char* target;             // the instruction set's name
  RowsKernel squared, squared_half;  // squared L2 distance to rows of float32, of float16
  RowsKernel product, product_half;  // inner product
  RoundKernel round;
  ScanKernel scan;
  SiftKernel sift;
  LeastKernel least;
  BelowKernel below;
  EncodeKernel encode;
};

const Kernels& kernels();                          // the best this CPU runs
std::vector<const Kernels*> every_kernels();       // all that this CPU runs; for tests

}  // namespace curator
