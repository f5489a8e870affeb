#include "codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/kernels.h"

namespace curator {
namespace {

constexpr float kMiddle = 7.5f;   // between the nibbles 7 and 8
constexpr float kRounding = 1e-5f;     // what floats may lose, as a share of |x|²
constexpr float kDoubtSquared = 6.25f;  // 2.5 standard deviations

struct Tail {
  float own, scale, doubt;
};
static_assert(sizeof(Tail) == kTailBytes);

struct Fit {
  float along = 0, length = 0;  // x·u, u·u
  float quality() const { return length > 0 ? along * along / length : 0; }  // of |x|², what u's direction keeps
};

uint32_t nibble(float value, float per_step) { return static_cast<uint32_t>(std::clamp(value * per_step + (kMiddle + 0.5f), 0.0f, 15.0f)); }

Fit fit(const float* x, uint32_t dim, float per_step) {
  Fit result;
  for (uint32_t j = 0; j < dim; ++j) {
    const float u = static_cast<float>(nibble(x[j], per_step)) - kMiddle;
    result.along += x[j] * u;
    result.length += u * u;
  }
  return result;
}

}  // namespace

Codec::Codec(const Options& options)
    : dim_(options.dim), metric_(options.metric), blocks_(static_cast<uint32_t>((options.dim + kBlockDims - 1) / kBlockDims)),
      bytes_(blocks_ * static_cast<uint32_t>(kBlockBytes) + static_cast<uint32_t>(kTailBytes)) {}

void Codec::encode(const float* vector, const float* reference, std::byte* out) const {
  thread_local std::vector<float> x;
  x.resize(dim_);
  float norm = 0, largest = 0;
  for (uint32_t j = 0; j < dim_; ++j) {
    x[j] = vector[j] - reference[j];
    norm += x[j] * x[j];
    largest = std::max(largest, std::fabs(x[j]));
  }
  std::memset(out, 0, bytes_);
  // The widest step spans all; where a few dimensions stick out, clipping them serves the others better.
  Fit best;
  float per_step = 0;
  for (const float part : {1.0f, 0.85f, 0.7f, 0.55f}) {
    const float candidate = largest > 0 ? kMiddle / (largest * part) : 0;
    const Fit now = fit(x.data(), dim_, candidate);
    if (now.quality() > best.quality()) best = now, per_step = candidate;
  }
  float across = 0;  // reference·u
  for (uint32_t j = 0; j < dim_; ++j) {
    const uint32_t level = nibble(x[j], per_step);
    across += reference[j] * (static_cast<float>(level) - kMiddle);
    const size_t in_block = j % kBlockDims, word = j / kBlockDims * kBlockWords + in_block % kBlockWords;
    uint16_t packed;
    std::memcpy(&packed, out + 2 * word, 2);
    packed = static_cast<uint16_t>(packed | level << (4 * (in_block / kBlockWords)));
    std::memcpy(out + 2 * word, &packed, 2);
  }
  Tail tail{norm, 0, 0};
  if (best.quality() > 0) {
    tail.scale = norm / best.along;
    tail.own = norm + 2 * tail.scale * across;
    tail.doubt = norm * std::max(kRounding, norm / best.quality() - 1) / static_cast<float>(dim_);
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
