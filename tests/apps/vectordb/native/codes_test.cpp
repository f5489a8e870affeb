// Codes: how far estimates are off, and that their doubts say so.
#include "codes.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

namespace curator {
namespace {

float distance(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0, dot = 0;
  for (size_t j = 0; j < a.size(); ++j) square += std::pow(double{a[j]} - double{b[j]}, 2), dot += double{a[j]} * double{b[j]};
  return static_cast<float>(metric == Metric::kL2 ? square : metric == Metric::kCosine ? 1 - dot : -dot);
}

struct Errors {
  double bias = 0, beyond = 0;  // means: in doubts; share of those past their doubt
  double lost = 0;              // share of heads that are told to be past the vector's own distance
};

// A code and its estimate.
struct Code {
  explicit Code(const Codec& codec) : head(codec.head_bytes()), rest(codec.rest_bytes()) {}
  void estimate(const CodeQuery& query, float base) {
    const CodeAt at{head.data(), rest.data()};
    query.estimate(&at, &base, 1, &distance, &doubt);
  }
  bool sifted(const CodeQuery& query, float base, float bar) const {
    const std::byte* const segment = head.data();
    const Slot slots[1 + kSpare] = {};
    float estimates[1 + kSpare], doubts[1 + kSpare];
    uint32_t kept[1 + kSpare];
    query.sift({&segment, head.size()}, slots, 1, base, kDoubt, estimates, doubts);
    return kernels().below(estimates, doubts, 1, bar, kept) == 1;
  }
  std::vector<std::byte> head, rest;
  float distance = 0, doubt = 0;
};

// Queries near vectors that lie around a far reference.
Errors measure(Metric metric, uint32_t dim, bool skewed) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const Codec codec(Options{.dim = dim, .metric = metric});
  std::vector<float> reference(dim), vector(dim), query(dim);
  Code code(codec);
  CodeQuery coded;
  Errors errors;
  constexpr int kTimes = 2000;
  for (int time = 0; time < kTimes; ++time) {
    const auto unit = [&](std::vector<float>& x) {
      double square = 0;
      for (const float value : x) square += double{value} * double{value};
      for (float& value : x) value = static_cast<float>(value / std::sqrt(square));
    };
    for (uint32_t j = 0; j < dim; ++j) {
      const float weight = skewed && j % 16 == 0 ? 6.0f : 1.0f;
      reference[j] = 3 * normal(random);
      vector[j] = reference[j] + weight * normal(random);
      query[j] = vector[j] + 0.7f * normal(random);
    }
    if (metric == Metric::kCosine) unit(vector), unit(query), unit(reference);
    codec.encode(vector.data(), reference.data(), code.head.data(), code.rest.data());
    codec.prepare(query.data(), coded);
    const float base = coded.base(distance(metric == Metric::kCosine ? Metric::kL2 : metric, query, reference));
    code.estimate(coded, base);
    const double truth = distance(metric, query, vector), off = code.distance - truth, allowed = std::sqrt(code.doubt);
    errors.bias += off / allowed / kTimes;
    errors.beyond += (std::fabs(off) > allowed) / double{kTimes};
    errors.lost += !code.sifted(coded, base, static_cast<float>(truth)) / double{kTimes};
  }
  return errors;
}

TEST_CASE("estimates are unbiased, and rarely off by more than their doubt") {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    for (const uint32_t dim : {5u, 64u, 100u, 256u}) {
      for (const bool skewed : {false, true}) {
        CAPTURE(static_cast<int>(metric));
        CAPTURE(dim);
        CAPTURE(skewed);
        const Errors errors = measure(metric, dim, skewed);
        CHECK(std::fabs(errors.bias) < 0.08);
        CHECK(errors.beyond < 0.05);
        CHECK(errors.lost < 0.02);
      }
    }
  }
}

TEST_CASE("a vector that is its reference has no doubt") {
  const Codec codec(Options{.dim = 70});
  const std::vector<float> reference(70, 2.0f), query(70, 1.0f);
  Code code(codec);
  codec.encode(reference.data(), reference.data(), code.head.data(), code.rest.data());
  CodeQuery coded;
  codec.prepare(query.data(), coded);
  const float base = coded.base(70);
  code.estimate(coded, base);
  CHECK(code.distance == 70);
  CHECK(code.doubt == 0);
  CHECK(code.sifted(coded, base, 70));
  CHECK(!code.sifted(coded, base, 69.9f));
}

TEST_CASE("the widest vectors allowed do not overflow a sum") {
  const uint32_t dim = 65536;
  const Codec codec(Options{.dim = dim});
  const std::vector<float> reference(dim, 0.0f), vector(dim, 1.0f), query(dim, 1.0f);
  Code code(codec);
  codec.encode(vector.data(), reference.data(), code.head.data(), code.rest.data());
  CodeQuery coded;
  codec.prepare(query.data(), coded);
  const float base = coded.base(dim);
  code.estimate(coded, base);
  CHECK(std::fabs(code.distance) < 1e-3 * dim);
  CHECK(code.sifted(coded, base, 0));
  CHECK(!code.sifted(coded, base, -0.01f * dim));
}

}  // namespace
}  // namespace curator
