#include "simd/kernels.h"

#include <algorithm>
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

// Of bytes from `at` on, 8 to a lane: the sum of sizes where a head's bit is set, or is not and the query is negative.
template <class D>
HWY_INLINE hn::Vec<hn::Repartition<uint64_t, D>> shared(D d, const SiftQuery& query, const std::byte* head, size_t at, size_t stride) {
  const uint8_t* const here = query.planes + at;
  const auto bits = hn::Xor(hn::LoadU(d, reinterpret_cast<const uint8_t*>(head) + kHeadTail + at), hn::Load(d, here));
  auto count = hn::Zero(d);
  for (size_t bit = 1; bit <= kSiftBits; ++bit) {
    count = hn::Add(hn::Add(count, count), hn::PopulationCount(hn::And(bits, hn::Load(d, here + bit * stride))));
  }
  return hn::SumsOf8(count);
}

// kBytes at a time, and what is left 8 at a time: behind a head lies another, which may be being written.
template <size_t kBytes>
HWY_INLINE uint32_t one_head(const SiftQuery& query, const std::byte* head, size_t plane_bytes) {
  const hn::CappedTag<uint8_t, kBytes> wide;
  const hn::CappedTag<uint8_t, kPlaneBytes> narrow;
  const hn::Repartition<uint64_t, decltype(wide)> d64;
  const size_t stride = padded_plane(plane_bytes);
  auto sum = hn::Zero(d64);
  size_t at = 0;
  for (; at + hn::Lanes(wide) <= plane_bytes; at += hn::Lanes(wide)) sum = hn::Add(sum, shared(wide, query, head, at, stride));
  auto all = hn::GetLane(hn::SumOfLanes(d64, sum));
  for (; at < plane_bytes; at += hn::Lanes(narrow)) all += hn::GetLane(shared(narrow, query, head, at, stride));
  return static_cast<uint32_t>(all);
}

template <size_t kBytes>
size_t sift_by(const SiftQuery& query, const std::byte* const* heads, const float* bases, size_t count, size_t all, size_t blocks, float bar,
            uint32_t* kept) {
  constexpr size_t kAhead = 16, kGroup = 64;
  const hn::CappedTag<float, kSiftSpare> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t bytes = kHeadTail + blocks * kPlaneBytes;
  alignas(kLine) int32_t sums[kGroup] = {};
  alignas(kLine) float owns[kGroup] = {}, near[kGroup] = {};
  alignas(kLine) uint32_t others[kGroup] = {};  // scale below, doubt above
  size_t found = 0;
  for (size_t i = 0; i < std::min(kAhead, count); ++i) fetch(heads[i], bytes);
  for (size_t first = 0; first < count; first += kGroup) {
    const size_t some = std::min(kGroup, count - first);
    for (size_t i = 0; i < some; ++i) {
      if (first + i + kAhead < all) fetch(heads[first + i + kAhead], bytes);
      const std::byte* const head = heads[first + i];
      sums[i] = static_cast<int32_t>(one_head<kBytes>(query, head, blocks * kPlaneBytes));
      near[i] = bases[first + i];
      std::memcpy(&owns[i], head, sizeof(float));
      std::memcpy(&others[i], head + sizeof(float), sizeof(uint32_t));
    }
    for (size_t i = 0; i < some; i += hn::Lanes(d)) {
      const auto sum = hn::ConvertTo(d, hn::Load(di, sums + i));
      const auto other = hn::Load(du, others + i);
      const auto scale = hn::BitCast(d, hn::ShiftLeft<16>(other)), doubt = hn::BitCast(d, hn::And(other, hn::Set(du, 0xFFFF0000)));
      const auto own = hn::MulAdd(hn::Set(d, query.own_weight), hn::Load(d, owns + i), hn::Load(d, near + i));
      const auto estimate = hn::MulAdd(scale, hn::MulAdd(hn::Set(d, query.slope), sum, hn::Set(d, query.shift)), own);
      const auto reach = hn::Add(hn::Max(estimate, hn::Zero(d)), doubt);
      const auto rounding = hn::Mul(hn::Set(d, query.rounding), hn::Mul(scale, scale));
      const auto square = hn::MulAdd(doubt, hn::MulAdd(hn::Set(d, query.doubt_weight), reach, hn::Set(d, query.doubt_base)), rounding);
      const auto above = hn::Max(hn::Sub(estimate, hn::Set(d, bar)), hn::Zero(d));
      const auto may = hn::AndNot(hn::Gt(hn::Mul(above, above), square), hn::FirstN(d, some - i));  // so too if one is NaN
      const auto places = hn::Iota(du, static_cast<uint32_t>(first + i));
      found += hn::CompressStore(places, hn::RebindMask(du, may), du, kept + found);
    }
  }
  return found;
}

size_t sift(const SiftQuery& query, const std::byte* const* heads, const float* bases, size_t count, size_t all, size_t blocks, float bar,
            uint32_t* kept) {
  return (blocks * kPlaneBytes <= 16 ? sift_by<16> : sift_by<kPlaneStep>)(query, heads, bases, count, all, blocks, bar, kept);
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
                                  rows<Product, float>, rows<Product, hwy::float16_t>, round, scan, sift, encode};
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
