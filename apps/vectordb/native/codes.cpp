#include "codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/kernels.h"

namespace curator {
namespace {

constexpr float kRounding = 1e-5f;     // what floats may lose, as a share of |x|²
constexpr float kDoubtSquared = 6.25f;  // 2.5 standard deviations

struct Tail {
  float own, scale, doubt;
};
static_assert(sizeof(Tail) == kTailBytes);

}  // namespace

Codec::Codec(const Options& options)
    : dim_(options.dim), metric_(options.metric), blocks_(static_cast<uint32_t>((options.dim + kBlockDims - 1) / kBlockDims)),
      bytes_(blocks_ * static_cast<uint32_t>(kBlockBytes) + static_cast<uint32_t>(kTailBytes)) {}

void Codec::encode(const float* vector, const float* reference, std::byte* out) const {
  thread_local std::vector<float> space;
  const size_t padded = blocks_ * kBlockDims;
  space.assign(3 * padded, 0);
  float* const x = space.data() + 2 * padded;
  std::copy_n(vector, dim_, space.data());
  std::copy_n(reference, dim_, space.data() + padded);
  const Coded code = kernels().encode(space.data(), space.data() + padded, dim_, blocks_, x, reinterpret_cast<uint16_t*>(out));
  Tail tail{code.norm, 0, 0};
  if (const float quality = code.quality(); quality > 0) {
    tail.scale = code.norm / code.along;
    tail.own = code.norm + 2 * tail.scale * code.across;
    tail.doubt = code.norm * std::max(kRounding, code.norm / quality - 1) / static_cast<float>(dim_);
  }
  std::memcpy(out + blocks_ * kBlockBytes, &tail, sizeof tail);
}

void Codec::prepare(const float* query, CodeQuery& out) const {
  out.blocks_ = blocks_;
  out.levels_.assign(blocks_ * kBlockDims, 0);
  float norm = 0, largest = 0;
  for (uint32_t j = 0; j < dim_; ++j) {
    norm += query[j] * query[j];
    largest = std::max(largest, std::fabs(query[j]));
  }
  const float top = std::min(32767.0f, std::floor(2e9f / (15.0f * static_cast<float>(blocks_ * kBlockDims))));  // see ScanKernel
  const float step = largest > 0 ? largest / top : 1, per_step = 1 / step;
  int32_t sum = 0;
  for (uint32_t j = 0; j < dim_; ++j) {
    const int32_t level = static_cast<int32_t>(std::clamp(query[j] * per_step, -top, top) + 32768.5f) - 32768;  // rounds
    out.levels_[j] = static_cast<int16_t>(level);
    sum += level;
  }
  // Under cosine vectors have length 1, and 1 - cos is half of the squared distance. An inner product has no use for lengths.
  const bool product = metric_ == Metric::kInnerProduct;
  out.unit_ = metric_ == Metric::kCosine ? 0.5f : 1.0f;
  const float weight = product ? 1 : 2 * out.unit_;
  out.own_weight_ = product ? 0 : out.unit_;
  out.slope_ = -weight * step;
  out.shift_ = weight * step * kMiddle * static_cast<float>(sum);
  out.doubt_weight_ = kDoubtSquared * (product ? 0 : 4 * out.unit_);
  out.doubt_base_ = kDoubtSquared * (product ? norm : 0);
}

void CodeQuery::estimate(const std::byte* const* codes, const float* bases, size_t count, float* estimates, float* doubts) const {
  constexpr size_t kBatch = 64;
  int32_t sums[kBatch];
  const ScanKernel scan = kernels().scan;
  for (size_t first = 0; first < count; first += kBatch) {
    const size_t some = std::min(kBatch, count - first);
    scan(levels_.data(), codes + first, some, blocks_, sums);
    for (size_t i = 0; i < some; ++i) {
      Tail tail;
      std::memcpy(&tail, codes[first + i] + blocks_ * kBlockBytes, sizeof tail);
      const float estimate = bases[first + i] + own_weight_ * tail.own + tail.scale * (slope_ * static_cast<float>(sums[i]) + shift_);
      estimates[first + i] = estimate;
      // A distance within its own error is better taken for that error than for the nothing, or less, that the estimate says.
      doubts[first + i] = tail.doubt * (doubt_weight_ * (std::max(estimate, 0.0f) + tail.doubt) + doubt_base_);
    }
  }
}

}  // namespace curator
