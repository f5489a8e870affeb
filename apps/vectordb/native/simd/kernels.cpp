#include "simd/kernels.h"

#include <algorithm>
#include <cstring>

#include <hwy/cache_control.h>

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

// Four codes stand in a word of 16 bits; each nibble becomes an int16 of its own by a shift and a mask, and meets the query in a
// multiply-and-add of pairs, which any x86 since SSE2 has. (Bytes by bytes, as VNNI has it, would round the query to 8 bits.)
HWY_INLINE int32_t one_code(const int16_t* query, const uint16_t* code, size_t blocks) {
  const hn::CappedTag<uint16_t, kBlockWords> d16;
  const hn::RebindToSigned<decltype(d16)> di16;
  const hn::Repartition<int32_t, decltype(d16)> d32;
  const auto nibble = hn::Set(d16, 15);
  auto even = hn::Zero(d32), odd = hn::Zero(d32), rest = hn::Zero(d32);
  for (size_t block = 0; block < blocks; ++block, code += kBlockWords, query += kBlockDims) {
    for (size_t word = 0; word < kBlockWords; word += hn::Lanes(d16)) {
      const auto words = hn::LoadU(d16, code + word);
      const auto at = [&](size_t part) HWY_ATTR { return hn::LoadU(di16, query + part * kBlockWords + word); };
      even = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(di16, hn::And(words, nibble)), at(0), even, rest);
      odd = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(di16, hn::And(hn::ShiftRight<4>(words), nibble)), at(1), odd, rest);
      even = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(di16, hn::And(hn::ShiftRight<8>(words), nibble)), at(2), even, rest);
      odd = hn::ReorderWidenMulAccumulate(d32, hn::BitCast(di16, hn::ShiftRight<12>(words)), at(3), odd, rest);
    }
  }
  return hn::GetLane(hn::SumOfLanes(d32, hn::Add(hn::Add(even, odd), rest)));
}

void scan(const int16_t* query, const std::byte* const* codes, size_t count, size_t blocks, int32_t* out) {
  constexpr size_t kAhead = 16;
  const size_t bytes = blocks * kBlockBytes + kTailBytes;
  for (size_t i = 0; i < std::min(kAhead, count); ++i) fetch(codes[i], bytes);
  for (size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) fetch(codes[i + kAhead], bytes);
    out[i] = one_code(query, reinterpret_cast<const uint16_t*>(codes[i]), blocks);
  }
}

// The nibbles of x, as integers.
template <class D>
HWY_INLINE hn::VFromD<hn::RebindToSigned<D>> nibbles(D d, const float* x, float per_step) {
  const auto steps = hn::MulAdd(hn::LoadU(d, x), hn::Set(d, per_step), hn::Set(d, kMiddle + 0.5f));
  return hn::ConvertTo(hn::RebindToSigned<D>(), hn::Min(hn::Max(steps, hn::Zero(d)), hn::Set(d, 15.0f)));
}

// {x·u, u·u}
HWY_INLINE Coded fit(const float* x, size_t dim, size_t padded, float per_step) {
  const hn::CappedTag<float, kBlockWords> d;
  auto along = hn::Zero(d), length = hn::Zero(d);
  for (size_t j = 0; j < padded; j += hn::Lanes(d)) {
    const auto u = hn::Sub(hn::ConvertTo(d, nibbles(d, x + j, per_step)), hn::Set(d, kMiddle));
    along = hn::MulAdd(hn::LoadU(d, x + j), u, along);
    length = hn::MulAdd(u, u, length);
  }
  const float surplus = 0.25f * static_cast<float>(padded - dim);  // where x is 0, u is a half
  return {.along = hn::GetLane(hn::SumOfLanes(d, along)), .length = hn::GetLane(hn::SumOfLanes(d, length)) - surplus};
}

// Writes the code; reference·u.
HWY_INLINE float pack(const float* x, const float* reference, size_t blocks, float per_step, uint16_t* words) {
  const hn::CappedTag<float, kBlockWords> d;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  auto across = hn::Zero(d);
  for (size_t block = 0; block < blocks; ++block, x += kBlockDims, reference += kBlockDims, words += kBlockWords) {
    for (size_t word = 0; word < kBlockWords; word += hn::Lanes(d)) {
      const auto at = [&](size_t part) HWY_ATTR {
        const auto levels = nibbles(d, x + part * kBlockWords + word, per_step);
        const auto u = hn::Sub(hn::ConvertTo(d, levels), hn::Set(d, kMiddle));
        across = hn::MulAdd(hn::LoadU(d, reference + part * kBlockWords + word), u, across);
        return hn::DemoteTo(d16, levels);
      };
      const auto low = hn::Or(at(0), hn::ShiftLeft<4>(at(1))), high = hn::Or(hn::ShiftLeft<8>(at(2)), hn::ShiftLeft<12>(at(3)));
      hn::StoreU(hn::Or(low, high), d16, words + word);
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, across));
}

Coded encode(const float* vector, const float* reference, size_t dim, size_t blocks, float* x, uint16_t* words) {
  const hn::CappedTag<float, kBlockWords> d;
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
  best.across = pack(x, reference, blocks, per_step, words);
  return best;
}

const Kernels* table() {
  static const Kernels kTable{hwy::TargetName(HWY_TARGET), rows<Squared, float>, rows<Squared, hwy::float16_t>,
                                  rows<Product, float>, rows<Product, hwy::float16_t>, scan, encode};
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
