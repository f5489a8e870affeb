#include "simd/kernels.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <hwy/cache_control.h>

#define HWY_WANT_AVX3_DL  // counts bits by an instruction
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/kernels.cpp"
#include <hwy/foreach_target.h>  // compiles this file again for each target; must stand before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace curator::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kLine = 64;
constexpr float kNothing = 1e-30f;  // steps of less would overflow

HWY_INLINE void fetch(const std::byte* from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kLine) hwy::Prefetch(from + at);
  hwy::Prefetch(from + bytes - 1);
}

template <class D>
HWY_INLINE hn::Vec<D> load_row(D d, const float* row) { return hn::LoadU(d, row); }
template <class D>
HWY_INLINE hn::Vec<D> load_row(D d, const hwy::float16_t* row) { return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), row)); }
template <typename T>
HWY_INLINE float element(const T* at) {
  T copy;
  std::memcpy(&copy, at, sizeof copy);  // rows need not be aligned
  return hn::GetLane(load_row(hn::CappedTag<float, 1>(), &copy));
}

struct Squared {
  template <class V>
  static HWY_INLINE V add(V query, V row, V sum) { const V gap = hn::Sub(query, row); return hn::MulAdd(gap, gap, sum); }
  static HWY_INLINE float add(float query, float row, float sum) { return sum + (query - row) * (query - row); }
};
struct Product {
  template <class V>
  static HWY_INLINE V add(V query, V row, V sum) { return hn::MulAdd(query, row, sum); }
  static HWY_INLINE float add(float query, float row, float sum) { return sum + query * row; }
};

template <class Step, typename T>
HWY_INLINE float one_row(const float* query, const T* row, size_t dim) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto even = hn::Zero(d), odd = hn::Zero(d);  // two chains hide the latency of one
  size_t at = 0;
  for (; at + 2 * lanes <= dim; at += 2 * lanes) {
    even = Step::add(hn::LoadU(d, query + at), load_row(d, row + at), even);
    odd = Step::add(hn::LoadU(d, query + at + lanes), load_row(d, row + at + lanes), odd);
  }
  if (at + lanes <= dim) {
    even = Step::add(hn::LoadU(d, query + at), load_row(d, row + at), even);
    at += lanes;
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; at < dim; ++at) sum = Step::add(query[at], element(row + at), sum);
  return sum;
}

template <class Step, typename T>
void rows(const float* query, const std::byte* const* rows, size_t count, size_t dim, float* out) {
  constexpr size_t kAhead = 3;
  const size_t bytes = dim * sizeof(T);
  for (size_t i = 0; i < std::min(kAhead, count); ++i) fetch(rows[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) fetch(rows[i + kAhead], bytes);
    out[i] = one_row<Step>(query, reinterpret_cast<const T*>(rows[i]), dim);
  }
}

HWY_INLINE uint64_t plane(const std::byte* from) {
  uint64_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits;
}

// The lanes whose bits are set; at: the first lane's place in the plane.
template <class D>
HWY_INLINE hn::Mask<D> mask(D d, uint64_t bits, size_t at) {
  bits >>= at;
  uint8_t bytes[8];
  std::memcpy(bytes, &bits, sizeof bytes);
  return hn::LoadMaskBits(d, bytes);
}

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE int32_t one_code(const int16_t* query, const CodeAt& code, size_t blocks) {
  int32_t sum = 0;
  const std::byte *head = code.head + kHeadTail, *rest = code.rest;
  for (size_t block = 0; block < blocks; ++block, head += kPlaneBytes, rest += kRestPlanes * kPlaneBytes, query += kBlockDims) {
    const uint64_t eights = plane(head), fours = plane(rest), twos = plane(rest + kPlaneBytes), ones = plane(rest + 2 * kPlaneBytes);
    const auto bit = [](uint64_t bits, size_t dim) { return static_cast<int32_t>(bits >> dim & 1); };
    for (size_t j = 0; j < kBlockDims; ++j) {
      sum += query[level_place(j)] * (8 * bit(eights, j) + 4 * bit(fours, j) + 2 * bit(twos, j) + bit(ones, j));
    }
  }
  return sum;
}
#else
// Planes become nibbles in bytes, and these the words of even and of odd dimensions, which meet the query in a multiply-and-add of pairs.
// (Bytes by bytes, as VNNI has it, would round the query to 8 bits.)
HWY_INLINE int32_t one_code(const int16_t* query, const CodeAt& code, size_t blocks) {
  const hn::CappedTag<uint8_t, kBlockDims> d8;
  const hn::Repartition<uint16_t, decltype(d8)> d16;
  const hn::RebindToSigned<decltype(d16)> di16;
  const hn::Repartition<int32_t, decltype(d8)> d32;
  auto even = hn::Zero(d32), odd = hn::Zero(d32), spare = hn::Zero(d32);
  const std::byte *head = code.head + kHeadTail, *rest = code.rest;
  for (size_t block = 0; block < blocks; ++block, head += kPlaneBytes, rest += kRestPlanes * kPlaneBytes, query += kBlockDims) {
    const uint64_t eights = plane(head), fours = plane(rest), twos = plane(rest + kPlaneBytes), ones = plane(rest + 2 * kPlaneBytes);
    for (size_t at = 0; at < kBlockDims; at += hn::Lanes(d8)) {
      const auto bit = [&](uint64_t bits, uint8_t worth) HWY_ATTR { return hn::IfThenElseZero(mask(d8, bits, at), hn::Set(d8, worth)); };
      const auto levels = hn::BitCast(d16, hn::Or(hn::Or(bit(eights, 8), bit(fours, 4)), hn::Or(bit(twos, 2), bit(ones, 1))));
      const auto evens = hn::BitCast(di16, hn::And(levels, hn::Set(d16, 15))), odds = hn::BitCast(di16, hn::ShiftRight<8>(levels));
      even = hn::ReorderWidenMulAccumulate(d32, evens, hn::LoadU(di16, query + at / 2), even, spare);
      odd = hn::ReorderWidenMulAccumulate(d32, odds, hn::LoadU(di16, query + kBlockDims / 2 + at / 2), odd, spare);
    }
  }
  return hn::GetLane(hn::SumOfLanes(d32, hn::Add(hn::Add(even, odd), spare)));
}
#endif

void scan(const int16_t* query, const CodeAt* codes, size_t count, size_t blocks, int32_t* out) {
  constexpr size_t kAhead = 16;
  const size_t bytes = blocks * kRestPlanes * kPlaneBytes + kRestTail;
  for (size_t i = 0; i < std::min(kAhead, count); ++i) fetch(codes[i].rest, bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) fetch(codes[i + kAhead].rest, bytes);
    out[i] = one_code(query, codes[i], blocks);
  }
}

// Planes of heads, kBytes of each from `at` on, side by side as far as there is room; and the query's beside each.
template <size_t kBytes, class D>
HWY_INLINE hn::Vec<D> of_heads(D d, const std::byte* const* heads, size_t at) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(d) > kBytes) {
    const hn::Half<D> half;
    return hn::Combine(d, of_heads<kBytes>(half, heads + hn::MaxLanes(half) / kBytes, at), of_heads<kBytes>(half, heads, at));
  }
#endif
  return hn::LoadU(d, reinterpret_cast<const uint8_t*>(heads[0]) + kHeadTail + at);
}

template <size_t kBytes, class D>
HWY_INLINE hn::Vec<D> of_query(D d, const uint8_t* plane) {
#if HWY_TARGET != HWY_SCALAR
  if constexpr (hn::MaxLanes(d) > kBytes) {
    const auto once = of_query<kBytes>(hn::Half<D>(), plane);
    return hn::Combine(d, once, once);
  }
#endif
  return hn::Load(d, plane);
}

// 8 bytes to a lane: the sum of sizes where a head's bit is set, or is not and the query is negative.
template <size_t kBytes, class D>
HWY_INLINE hn::Vec<hn::Repartition<uint64_t, D>> shared(D d, const SiftQuery& query, const std::byte* const* heads, size_t at, size_t stride) {
  const uint8_t* const here = query.planes + at;
  const auto bits = hn::Xor(of_heads<kBytes>(d, heads, at), of_query<kBytes>(d, here));
  auto count = hn::Zero(d);
  for (size_t bit = 1; bit <= kSiftBits; ++bit) {
    count = hn::Add(hn::Add(count, count), hn::PopulationCount(hn::And(bits, of_query<kBytes>(d, here + bit * stride))));
  }
  return hn::SumsOf8(count);
}

constexpr size_t kHeads = 16;  // that are worked on together

// The same of what is left of a head, 8 bytes at a time: behind it lies another, which may be being written.
HWY_INLINE int32_t shared_from(const SiftQuery& query, const std::byte* head, size_t at, size_t plane_bytes, size_t stride) {
  int sum = 0;
  for (const auto* planes = reinterpret_cast<const std::byte*>(query.planes); at < plane_bytes; at += kPlaneBytes) {
    const uint64_t bits = plane(head + kHeadTail + at) ^ plane(planes + at);
    int count = 0;
    for (size_t bit = 1; bit <= kSiftBits; ++bit) count = 2 * count + std::popcount(bits & plane(planes + at + bit * stride));
    sum += count;
  }
  return sum;
}

// What the planes of kHeads heads share with the query, kBytes at a time and what is left: as many heads as fit share a register.
template <size_t kBytes>
HWY_INLINE void sum_planes(const SiftQuery& query, const std::byte* const* heads, size_t plane_bytes, int32_t* out) {
  const size_t stride = padded_plane(plane_bytes);
#if HWY_TARGET == HWY_SCALAR
  for (size_t i = 0; i < kHeads; ++i) out[i] = shared_from(query, heads[i], 0, plane_bytes, stride);
#else
  const hn::CappedTag<uint8_t, 2 * kPlaneStep> d;
  const hn::Repartition<uint64_t, decltype(d)> d64;
  const hn::Rebind<uint32_t, decltype(d64)> d32;
  constexpr size_t kStep = std::min(kBytes, hn::MaxLanes(d)), kTogether = hn::MaxLanes(d) / kStep, kWords = kStep / sizeof(uint64_t);
  static_assert(kWords == 2 || kWords == 4);
  const size_t whole = plane_bytes / kBytes * kBytes;
  alignas(kLine) uint64_t words[kHeads * kWords];
  for (size_t i = 0; i < kHeads; i += kTogether) {
    auto sum = hn::Zero(d64);
    for (size_t at = 0; at < whole; at += kStep) sum = hn::Add(sum, shared<kStep>(d, query, heads + i, at, stride));
    hn::Store(sum, d64, words + i * kWords);
  }
  for (size_t i = 0; i < kHeads; i += hn::Lanes(d64)) {
    hn::Vec<decltype(d64)> a, b, c = hn::Zero(d64), e = hn::Zero(d64);
    if constexpr (kWords == 4) hn::LoadInterleaved4(d64, words + kWords * i, a, b, c, e);
    else hn::LoadInterleaved2(d64, words + kWords * i, a, b);
    hn::StoreU(hn::TruncateTo(d32, hn::Add(hn::Add(a, b), hn::Add(c, e))), d32, reinterpret_cast<uint32_t*>(out) + i);
  }
  for (size_t i = 0; whole < plane_bytes && i < kHeads; ++i) out[i] += shared_from(query, heads[i], whole, plane_bytes, stride);
#endif
}

// Of kHeads heads.
HWY_INLINE void conclude(const SiftQuery& query, const std::byte* const* heads, const int32_t* sums, float base, float* estimates, float* doubts) {
  const hn::CappedTag<float, kHeads> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::RebindToSigned<decltype(d)> di;
  alignas(kLine) uint32_t tails[2 * kHeads];  // own; scale below, doubt above
  for (size_t i = 0; i < kHeads; ++i) std::memcpy(tails + 2 * i, heads[i], kHeadTail);
  for (size_t i = 0; i < kHeads; i += hn::Lanes(d)) {
    hn::Vec<decltype(du)> own, other;
    hn::LoadInterleaved2(du, tails + 2 * i, own, other);
    const auto scale = hn::BitCast(d, hn::ShiftLeft<16>(other)), doubt = hn::BitCast(d, hn::And(other, hn::Set(du, 0xFFFF0000)));
    const auto weighed = hn::MulAdd(hn::Set(d, query.slope), hn::ConvertTo(d, hn::Load(di, sums + i)), hn::Set(d, query.shift));
    const auto estimate = hn::MulAdd(scale, weighed, hn::MulAdd(hn::Set(d, query.own_weight), hn::BitCast(d, own), hn::Set(d, base)));
    const auto reach = hn::Add(hn::Max(estimate, hn::Zero(d)), doubt);
    const auto rounding = hn::Mul(hn::Set(d, query.rounding), hn::Mul(scale, scale));
    hn::StoreU(estimate, d, estimates + i);
    hn::StoreU(hn::MulAdd(doubt, hn::MulAdd(hn::Set(d, query.doubt_weight), reach, hn::Set(d, query.doubt_base)), rounding), d, doubts + i);
  }
}

template <size_t kBytes, bool kOnce>
void sift_by(const SiftQuery& query, const HeadsAt& heads, const uint32_t* slots, size_t count, size_t blocks, float base, float* estimates,
             float* doubts) {
  const size_t plane_bytes = kOnce ? kBytes : blocks * kPlaneBytes;
  const HeadsAt from = heads;
  const SiftQuery asked = query;
  constexpr size_t kAhead = 16;
  const std::byte* at[kAhead + kHeads];
  const auto fetch_heads = [&](size_t to, size_t first) HWY_ATTR {
    for (size_t i = 0; i < kHeads; ++i) {
      at[to + i] = from[slots[first + i]];
      fetch(at[to + i], kHeadTail + plane_bytes);
    }
  };
  for (size_t i = 0; i < kAhead; i += kHeads) fetch_heads(i, i);
  alignas(kLine) int32_t sums[kHeads];
  for (size_t first = 0; first < count; first += kHeads) {
    fetch_heads(kAhead, first + kAhead);
    sum_planes<kBytes>(asked, at, plane_bytes, sums);
    conclude(asked, at, sums, base, estimates + first, doubts + first);
    std::copy(at + kHeads, at + kAhead + kHeads, at);
  }
}

void sift(const SiftQuery& query, const HeadsAt& heads, const uint32_t* slots, size_t count, size_t blocks, float base, float* estimates,
          float* doubts) {
  if (count == 0) return;
  const auto how = blocks == 2 ? sift_by<16, true> : blocks == 4 ? sift_by<32, true> : sift_by<32, false>;
  how(query, heads, slots, count, blocks, base, estimates, doubts);
}

void least(const float* estimates, size_t count, size_t classes, uint32_t* places) {
  const hn::CappedTag<float, 16> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  for (size_t of = 0; of < classes; of += hn::Lanes(d)) {
    auto best = hn::LoadU(d, estimates + of);
    auto at = hn::Iota(du, static_cast<uint32_t>(of));
    auto place = at;
    for (size_t i = of + classes; i < count; i += classes) {
      at = hn::Add(at, hn::Set(du, static_cast<uint32_t>(classes)));
      const auto next = hn::LoadU(d, estimates + i);
      const auto less = hn::Lt(next, best);
      best = hn::IfThenElse(less, next, best);
      place = hn::IfThenElse(hn::RebindMask(du, less), at, place);
    }
    hn::StoreU(place, du, places + of);
  }
}

size_t below(const float* estimates, const float* doubts, size_t count, float bar, uint32_t* kept) {
  const hn::CappedTag<float, kSpare> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  size_t found = 0;
  auto places = hn::Iota(du, 0);
  for (size_t i = 0; i < count; i += hn::Lanes(d), places = hn::Add(places, hn::Set(du, static_cast<uint32_t>(hn::Lanes(d))))) {
    const auto above = hn::Max(hn::Sub(hn::LoadU(d, estimates + i), hn::Set(d, bar)), hn::Zero(d));
    const auto beyond = hn::Gt(hn::Mul(above, above), hn::LoadU(d, doubts + i));
    const auto may = hn::AndNot(beyond, hn::FirstN(d, count - i));  // so too if one is NaN
    found += hn::CompressStore(places, hn::RebindMask(du, may), du, kept + found);
  }
  return found;
}

// Of 64 bytes, the plane of one bit.
HWY_INLINE uint64_t plane_of(const uint8_t* bytes, uint8_t bit) {
#if HWY_TARGET == HWY_SCALAR
  uint64_t plane = 0;
  for (size_t j = 0; j < kBlockDims; ++j) plane |= uint64_t{(bytes[j] & bit) != 0} << j;
  return plane;
#else
  const hn::CappedTag<uint8_t, kBlockDims> d;
  uint8_t bits[kPlaneBytes + 8];  // as much as StoreMaskBits may write
  for (size_t j = 0; j < kBlockDims; j += hn::Lanes(d)) hn::StoreMaskBits(d, hn::TestBit(hn::Load(d, bytes + j), hn::Set(d, bit)), bits + j / 8);
  return plane(reinterpret_cast<const std::byte*>(bits));
#endif
}

Levels round(const float* query, size_t blocks, float most, int16_t* levels, uint8_t* planes) {
  const hn::CappedTag<float, kBlockDims> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<int16_t, decltype(d)> d16;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  auto squares = hn::Zero(d), largest = hn::Zero(d);
  for (size_t j = 0; j < blocks * kBlockDims; j += hn::Lanes(d)) {
    const auto q = hn::LoadU(d, query + j);
    squares = hn::MulAdd(q, q, squares);
    largest = hn::Max(largest, hn::Abs(q));
  }
  const float top = std::max(hn::GetLane(hn::MaxOfLanes(d, largest)), kNothing);
  Levels made{.norm = hn::GetLane(hn::SumOfLanes(d, squares)), .step = top / most, .head_step = top / kSiftMost};
  const auto per_step = hn::Set(d, 1 / made.step), per_head_step = hn::Set(d, 1 / made.head_step);
  const auto limit = hn::Set(d, most);
  const size_t stride = padded_plane(blocks * kPlaneBytes);
  auto sum = hn::Zero(d32), head_sum = hn::Zero(d32), head_below = hn::Zero(d32);
  for (size_t block = 0; block < blocks; ++block, query += kBlockDims, levels += kBlockDims, planes += kPlaneBytes) {
    alignas(kLine) int16_t both[kBlockDims];
    alignas(kLine) uint8_t sizes[kBlockDims], below[kBlockDims];
    for (size_t j = 0; j < kBlockDims; j += hn::Lanes(d)) {
      const auto q = hn::LoadU(d, query + j);
      const auto level = hn::NearestInt(hn::Min(hn::Max(hn::Mul(q, per_step), hn::Neg(limit)), limit));
      const auto size = hn::NearestInt(hn::Min(hn::Mul(hn::Abs(q), per_head_step), hn::Set(d, kSiftMost)));
      const auto negative = hn::Lt(level, hn::Zero(d32));
      const auto size_below = hn::IfThenElseZero(negative, size);
      sum = hn::Add(sum, level);
      head_sum = hn::Add(head_sum, size);
      head_below = hn::Add(head_below, size_below);
      hn::Store(hn::DemoteTo(d16, level), d16, both + j);
      hn::Store(hn::DemoteTo(d8, size), d8, sizes + j);
      hn::Store(hn::DemoteTo(d8, hn::IfThenElseZero(negative, hn::Set(d32, 1))), d8, below + j);
    }
    for (size_t bit = 0; bit <= kSiftBits; ++bit) {
      const uint64_t bits = bit == 0 ? plane_of(below, 1) : plane_of(sizes, static_cast<uint8_t>(1 << (kSiftBits - bit)));
      std::memcpy(planes + bit * stride, &bits, sizeof bits);
    }
    for (size_t j = 0; j < kBlockDims; ++j) levels[level_place(j)] = both[j];
  }
  made.sum = hn::GetLane(hn::SumOfLanes(d32, sum));
  made.head_below = hn::GetLane(hn::SumOfLanes(d32, head_below));
  made.head_sum = hn::GetLane(hn::SumOfLanes(d32, head_sum)) - 2 * made.head_below;
  return made;
}

// The nibbles of x, as integers.
template <class D>
HWY_INLINE hn::VFromD<hn::RebindToSigned<D>> nibbles(D d, const float* x, float per_step) {
  const auto steps = hn::MulAdd(hn::LoadU(d, x), hn::Set(d, per_step), hn::Set(d, kMiddle + 0.5f));
  return hn::ConvertTo(hn::RebindToSigned<D>(), hn::Min(hn::Max(steps, hn::Zero(d)), hn::Set(d, 15.0f)));
}

// {x·u, u·u}
HWY_INLINE Coded fit(const float* x, size_t dim, size_t padded, float per_step) {
  const hn::CappedTag<float, kBlockDims> d;
  auto along = hn::Zero(d), length = hn::Zero(d);
  for (size_t j = 0; j < padded; j += hn::Lanes(d)) {
    const auto u = hn::Sub(hn::ConvertTo(d, nibbles(d, x + j, per_step)), hn::Set(d, kMiddle));
    along = hn::MulAdd(hn::LoadU(d, x + j), u, along);
    length = hn::MulAdd(u, u, length);
  }
  const float surplus = 0.25f * static_cast<float>(padded - dim);  // where x is 0, u is a half
  return {.along = hn::GetLane(hn::SumOfLanes(d, along)), .length = hn::GetLane(hn::SumOfLanes(d, length)) - surplus};
}

// Writes the planes; adds to `code` what they are to the reference, and what the head's are to x.
HWY_INLINE void pack(const float* x, const float* reference, size_t blocks, float per_step, std::byte* head, std::byte* rest, Coded& code) {
  const hn::CappedTag<float, kBlockDims> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  auto across = hn::Zero(d), head_across = hn::Zero(d), head_along = hn::Zero(d);
  for (size_t block = 0; block < blocks; ++block, x += kBlockDims, reference += kBlockDims) {
    alignas(kLine) uint8_t levels[kBlockDims];
    for (size_t j = 0; j < kBlockDims; j += hn::Lanes(d)) {
      const auto level = nibbles(d, x + j, per_step);
      const auto u = hn::Sub(hn::ConvertTo(d, level), hn::Set(d, kMiddle));
      const auto half = hn::CopySign(hn::Set(d, 0.5f), u);
      across = hn::MulAdd(hn::LoadU(d, reference + j), u, across);
      head_across = hn::MulAdd(hn::LoadU(d, reference + j), half, head_across);
      head_along = hn::MulAdd(hn::LoadU(d, x + j), half, head_along);
      hn::Store(hn::DemoteTo(d8, level), d8, levels + j);
    }
    for (size_t of = 0; of <= kRestPlanes; ++of) {
      const uint64_t bits = plane_of(levels, static_cast<uint8_t>(8 >> of));
      std::memcpy(of == 0 ? head + kHeadTail + block * kPlaneBytes : rest + (block * kRestPlanes + of - 1) * kPlaneBytes, &bits, kPlaneBytes);
    }
  }
  code.across = hn::GetLane(hn::SumOfLanes(d, across));
  code.head_across = hn::GetLane(hn::SumOfLanes(d, head_across));
  code.head_along = hn::GetLane(hn::SumOfLanes(d, head_along));
}

Coded encode(const float* vector, const float* reference, size_t dim, size_t blocks, float* x, std::byte* head, std::byte* rest) {
  const hn::CappedTag<float, kBlockDims> d;
  const size_t padded = blocks * kBlockDims;
  auto norm = hn::Zero(d), largest = hn::Zero(d);
  for (size_t j = 0; j < padded; j += hn::Lanes(d)) {
    const auto gap = hn::Sub(hn::LoadU(d, vector + j), hn::LoadU(d, reference + j));
    norm = hn::MulAdd(gap, gap, norm);
    largest = hn::Max(largest, hn::Abs(gap));
    hn::StoreU(gap, d, x + j);
  }
  const float top = hn::GetLane(hn::MaxOfLanes(d, largest));
  // The widest step spans all; where a few dimensions stick out, clipping them serves the others better.
  Coded best;
  float per_step = 0;
  for (const float part : {1.0f, 0.85f, 0.7f, 0.55f}) {
    if (top < kNothing) break;
    const float candidate = kMiddle / (top * part);
    const Coded now = fit(x, dim, padded, candidate);
    if (now.quality() > best.quality()) best = now, per_step = candidate;
  }
  best.norm = hn::GetLane(hn::SumOfLanes(d, norm));
  pack(x, reference, blocks, per_step, head, rest, best);
  return best;
}

const Kernels* table() {
  static const Kernels kTable{hwy::TargetName(HWY_TARGET), rows<Squared, float>, rows<Squared, hwy::float16_t>,
                                  rows<Product, float>, rows<Product, hwy::float16_t>, round, scan, sift, least, below, encode};
  return &kTable;
}

}  // namespace curator::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace curator {
HWY_EXPORT(table);

const Kernels& kernels() {
  static const Kernels& best = *HWY_DYNAMIC_DISPATCH(table)();
  return best;
}

std::vector<const Kernels*> every_kernels() {
  std::vector<const Kernels*> found;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    found.push_back(HWY_DYNAMIC_DISPATCH(table)());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return found;
}

}  // namespace curator
#endif
