#include "codes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace curator {
namespace {

constexpr float kRounding = 1e-5f;     // what floats may lose, as a share of |x|²
constexpr float kDoubtSquared = kDoubt * kDoubt;

struct Tail {
  float own, scale, doubt;
};
static_assert(sizeof(Tail) == kRestTail);

struct HeadTail {
  float own;
  uint16_t scale, doubt;  // upper halves of floats
};
static_assert(sizeof(HeadTail) == kHeadTail);

uint16_t upper_half(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }
float from_upper_half(uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }

// |x|² less what is kept of it, a dimension.
float doubt_of(float norm, float quality, uint32_t dim) { return norm * std::max(kRounding, norm / quality - 1) / static_cast<float>(dim); }

}  // namespace

Codec::Codec(const Options& options)
    : dim_(options.dim), metric_(options.metric), blocks_(static_cast<uint32_t>((options.dim + kBlockDims - 1) / kBlockDims)) {}

void Codec::encode(const float* vector, const float* reference, std::byte* head, std::byte* rest) const {
  thread_local std::vector<float> space;
  const size_t padded = blocks_ * kBlockDims;
  space.assign(3 * padded, 0);
  float* const x = space.data() + 2 * padded;
  std::copy_n(vector, dim_, space.data());
  std::copy_n(reference, dim_, space.data() + padded);
  const Coded code = kernels().encode(space.data(), space.data() + padded, dim_, blocks_, x, head, rest);
  Tail tail{code.norm, 0, 0};
  HeadTail first{code.norm, 0, 0};
  if (const float quality = code.quality(); quality > 0) {
    tail.scale = code.norm / code.along;
    tail.own = code.norm + 2 * tail.scale * code.across;
    tail.doubt = doubt_of(code.norm, quality, dim_);
    // `own` makes up for a rounded scale where that matters most, at the vector itself.
    first.scale = upper_half(code.norm / code.head_along);
    first.own = 2 * from_upper_half(first.scale) * (code.head_across + code.head_along) - code.norm;
    const float kept = 4 * code.head_along * code.head_along / static_cast<float>(dim_);
    first.doubt = upper_half(doubt_of(code.norm, kept, dim_) * 1.01f);  // rounded up
  }
  std::memcpy(rest + blocks_ * kRestPlanes * kPlaneBytes, &tail, sizeof tail);
  std::memcpy(head, &first, sizeof first);
}

void Codec::prepare(const float* query, CodeQuery& out) const {
  out.blocks_ = blocks_;
  out.padded_.resize(blocks_ * kBlockDims);
  out.levels_.resize(blocks_);
  out.planes_.resize((1 + kSiftBits) * padded_plane(blocks_ * kPlaneBytes) / kPlaneStep);
  std::fill(std::copy_n(query, dim_, out.padded_.begin()), out.padded_.end(), 0.0f);
  const float most = std::min(32767.0f, std::floor(2e9f / (15.0f * static_cast<float>(blocks_ * kBlockDims))));  // see ScanKernel
  const Levels made = kernels().round(out.padded_.data(), blocks_, most, out.levels_.front().levels, out.planes_.front().bytes);
  // Under cosine vectors have length 1, and 1 - cos is half of the squared distance. An inner product has no use for lengths.
  const bool product = metric_ == Metric::kInnerProduct;
  out.unit_ = metric_ == Metric::kCosine ? 0.5f : 1.0f;
  const float weight = product ? 1 : 2 * out.unit_;
  out.own_weight_ = product ? 0 : out.unit_;
  out.slope_ = -weight * made.step;
  out.shift_ = weight * made.step * kMiddle * static_cast<float>(made.sum);
  out.head_slope_ = -weight * made.head_step;
  out.head_shift_ = weight * made.head_step * (static_cast<float>(made.head_below) + 0.5f * static_cast<float>(made.head_sum));
  out.rounding_ = kDoubtSquared * weight * weight * made.head_step * made.head_step / 12 * static_cast<float>(dim_) / 4;
  out.doubt_weight_ = kDoubtSquared * (product ? 0 : 4 * out.unit_);
  out.doubt_base_ = kDoubtSquared * (product ? made.norm : 0);
}

void CodeQuery::sift(const HeadsAt& heads, const Slot* slots, size_t count, float base, float doubt, float* estimates,
                     float* doubts) const {
  const float share = doubt * doubt / kDoubtSquared;
  const SiftQuery query{planes_.front().bytes, own_weight_, head_slope_, head_shift_, share * doubt_weight_, share * doubt_base_, share * rounding_};
  kernels().sift(query, heads, slots, count, blocks_, base, estimates, doubts);
}

void CodeQuery::estimate(const CodeAt* codes, const float* bases, size_t count, float* estimates, float* doubts) const {
  constexpr size_t kBatch = 256;
  int32_t sums[kBatch];
  const ScanKernel scan = kernels().scan;
  for (size_t first = 0; first < count; first += kBatch) {
    const size_t some = std::min(kBatch, count - first);
    scan(levels_.front().levels, codes + first, some, blocks_, sums);
    for (size_t i = 0; i < some; ++i) {
      Tail tail;
      std::memcpy(&tail, codes[first + i].rest + blocks_ * kRestPlanes * kPlaneBytes, sizeof tail);
      const float estimate = bases[first + i] + own_weight_ * tail.own + tail.scale * (slope_ * static_cast<float>(sums[i]) + shift_);
      estimates[first + i] = estimate;
      // A distance within its own error is better taken for that error than for the nothing, or less, that the estimate says.
      doubts[first + i] = tail.doubt * (doubt_weight_ * (std::max(estimate, 0.0f) + tail.doubt) + doubt_base_);
    }
  }
}

}  // namespace curator
