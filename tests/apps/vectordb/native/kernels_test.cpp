// Every kernel of every instruction set this CPU has, beside plain loops.
#include "simd/kernels.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "half.h"
#include "types.h"

namespace curator {
namespace {

struct Case {
  std::vector<float> query;
  std::vector<std::byte> memory;  // rows aligned to an element, no more
  std::vector<const std::byte*> rows;
  std::vector<std::vector<float>> values;
};

Case make(size_t count, size_t dim, bool half, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Case made;
  made.query.resize(dim);
  for (float& value : made.query) value = normal(random);
  const size_t element = half ? 2 : 4, bytes = dim * element, stride = bytes + element;
  made.memory.resize((count + 1) * stride);
  for (size_t i = 0; i < count; ++i) {
    std::byte* row = made.memory.data() + element + i * stride;
    auto& values = made.values.emplace_back(dim);
    for (size_t j = 0; j < dim; ++j) {
      const float value = normal(random);
      const uint16_t bits = to_half(value);
      values[j] = half ? from_half(bits) : value;
      half ? std::memcpy(row + 2 * j, &bits, 2) : std::memcpy(row + 4 * j, &value, 4);
    }
    made.rows.push_back(row);
  }
  return made;
}

TEST_CASE("rows: all targets agree with plain loops, at every length and alignment") {
  std::mt19937 random(1);
  for (const Kernels* k : every_kernels()) {
    CAPTURE(k->target);
    for (const size_t dim : {1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 128, 129, 784}) {
      for (const bool half : {false, true}) {
        const Case with = make(5, dim, half, random);
        float squared[5], product[5];
        (half ? k->squared_half : k->squared)(with.query.data(), with.rows.data(), 5, dim, squared);
        (half ? k->product_half : k->product)(with.query.data(), with.rows.data(), 5, dim, product);
        for (size_t i = 0; i < 5; ++i) {
          double square = 0, dot = 0;
          for (size_t j = 0; j < dim; ++j) {
            square += std::pow(double{with.query[j]} - double{with.values[i][j]}, 2);
            dot += double{with.query[j]} * double{with.values[i][j]};
          }
          CHECK(squared[i] == doctest::Approx(square).epsilon(1e-4));
          CHECK(std::fabs(product[i] - dot) < 1e-4 * static_cast<double>(dim));
        }
      }
    }
  }
}

// Heads and rests of random bits, not aligned; the first has all bits set.
struct Codes {
  Codes(size_t count, size_t blocks, std::mt19937& random)
      : head_stride(kHeadTail + blocks * kPlaneBytes + 4), rest_stride(kRestPlanes * blocks * kPlaneBytes + kRestTail + 2),
        heads(count * head_stride, std::byte{0xFF}), rests(count * rest_stride, std::byte{0xFF}) {
    for (size_t at = head_stride; at < heads.size(); ++at) heads[at] = static_cast<std::byte>(random());
    for (size_t at = rest_stride; at < rests.size(); ++at) rests[at] = static_cast<std::byte>(random());
    for (size_t i = 0; i < count; ++i) codes.push_back({heads.data() + i * head_stride, rests.data() + i * rest_stride});
  }
  static int bit(const std::byte* plane, size_t j) { return static_cast<int>(plane[j / 8] >> (j % 8)) & 1; }
  int head(size_t i, size_t j) const { return bit(codes[i].head + kHeadTail, j); }
  int nibble(size_t i, size_t j) const {
    const std::byte* const rest = codes[i].rest + j / kBlockDims * kRestPlanes * kPlaneBytes;
    const size_t at = j % kBlockDims;
    return 8 * head(i, j) + 4 * bit(rest, at) + 2 * bit(rest + kPlaneBytes, at) + bit(rest + 2 * kPlaneBytes, at);
  }

  size_t head_stride, rest_stride;
  std::vector<std::byte> heads, rests;
  std::vector<CodeAt> codes;
};

size_t place(size_t j) { return j / kBlockDims * kBlockDims + level_place(j % kBlockDims); }

TEST_CASE("scan: all targets sum exactly, up to the largest sum an int32 holds") {
  std::mt19937 random(2);
  for (const Kernels* k : every_kernels()) {
    CAPTURE(k->target);
    for (const size_t blocks : {1, 2, 3, 13}) {
      constexpr size_t count = 21;
      const Codes made(count, blocks, random);
      std::vector<int16_t> query(blocks * kBlockDims);
      const int top = blocks == 1 ? 32767 : 9000;
      for (auto& level : query) level = static_cast<int16_t>(static_cast<int>(random() % static_cast<unsigned>(2 * top + 1)) - top);
      if (blocks == 1) std::fill(query.begin(), query.end(), static_cast<int16_t>(top));
      std::vector<int32_t> sums(count);
      k->scan(query.data(), made.codes.data(), count, blocks, sums.data());
      for (size_t i = 0; i < count; ++i) {
        int32_t sum = 0;
        for (size_t j = 0; j < query.size(); ++j) sum += query[place(j)] * made.nibble(i, j);
        CHECK(sums[i] == sum);
      }
    }
  }
}

TEST_CASE("round, sift and below: all targets estimate and keep what plain loops do") {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const Kernels* k : every_kernels()) {
    CAPTURE(k->target);
    for (const size_t blocks : {1, 2, 3, 4, 6, 8, 13}) {
      constexpr size_t count = 147;
      const size_t dims = blocks * kBlockDims;
      Codes made(count, blocks, random);
      std::vector<float> query(dims);
      for (float& x : query) x = normal(random);
      const float base = normal(random);
      std::vector<int16_t> levels(dims);
      struct alignas(kPlaneStep) Bytes { uint8_t bytes[kPlaneStep]; };
      std::vector<Bytes> planes((1 + kSiftBits) * padded_plane(blocks * kPlaneBytes) / kPlaneStep);
      const Levels rounded = k->round(query.data(), blocks, 5000, levels.data(), planes.front().bytes);
      std::vector<int> sizes(dims);
      int sum = 0, size_sum = 0, below = 0;
      for (size_t j = 0; j < dims; ++j) {
        CHECK(std::fabs(static_cast<float>(levels[place(j)]) * rounded.step - query[j]) <= 0.501f * rounded.step);
        sizes[j] = static_cast<int>(std::lrint(std::fabs(query[j]) / rounded.head_step)) * (query[j] < 0 ? -1 : 1);
        sum += levels[place(j)], size_sum += sizes[j], below += std::max(-sizes[j], 0);
      }
      CHECK(rounded.sum == sum);
      CHECK(rounded.head_sum == size_sum);
      CHECK(rounded.head_below == below);

      const SiftQuery asked{planes.front().bytes, 0.5f, -0.25f, 3, 0.75f, 0.125f, 0.0625f};
      std::vector<double> expected(count), squares(count);
      for (size_t i = 0; i < count; ++i) {
        const float own = normal(random), scale = 0.5f + static_cast<float>(i % 3), doubt = i % 2 == 0 ? 0.25f : 4;
        const uint32_t other = std::bit_cast<uint32_t>(doubt) | std::bit_cast<uint32_t>(scale) >> 16;
        std::byte* const head = made.heads.data() + i * made.head_stride;
        std::memcpy(head, &own, sizeof own);
        std::memcpy(head + sizeof own, &other, sizeof other);
        int shared = below;
        for (size_t j = 0; j < dims; ++j) shared += made.head(i, j) * sizes[j];
        expected[i] = base + asked.own_weight * own + scale * (asked.slope * static_cast<double>(shared) + asked.shift);
        squares[i] = doubt * (asked.doubt_weight * (std::max(expected[i], 0.0) + doubt) + asked.doubt_base) + asked.rounding * scale * scale;
      }
      // Odd slots lie in a second segment.
      std::vector<std::byte> second(made.heads);
      const std::byte* const segments[] = {made.heads.data(), second.data()};
      for (const size_t asks : {size_t{1}, size_t{65}, count}) {
        std::vector<Slot> slots(asks + kSpare, 0);
        for (uint32_t i = 0; i < asks; ++i) slots[i] = i % 2 << kHeadSegmentBits | i;
        std::vector<float> estimates(asks + kSpare), doubts(asks + kSpare);
        k->sift(asked, {segments, made.head_stride}, slots.data(), asks, blocks, base, estimates.data(), doubts.data());
        constexpr float bar = 1;
        std::vector<uint32_t> kept(asks + kSpare);
        const size_t found = k->below(estimates.data(), doubts.data(), asks, bar, kept.data());
        REQUIRE(found <= asks);
        kept.resize(found);
        CHECK(std::is_sorted(kept.begin(), kept.end()));
        for (uint32_t i = 0; i < asks; ++i) {
          CHECK(estimates[i] == doctest::Approx(expected[i]).epsilon(1e-4).scale(10));
          CHECK(doubts[i] == doctest::Approx(squares[i]).epsilon(1e-4));
          const double reach = std::sqrt(squares[i]) - std::max(expected[i] - bar, 0.0);
          if (std::fabs(reach) < 1e-3) continue;  // too near to tell
          CHECK(std::binary_search(kept.begin(), kept.end(), i) == (reach > 0));
        }
        kept.resize(asks + kSpare);
        CHECK(k->below(estimates.data(), doubts.data(), asks, INFINITY, kept.data()) == asks);
      }
    }
  }
}

TEST_CASE("least: all targets find the places of the least of each class") {
  std::mt19937 random(4);
  for (const Kernels* k : every_kernels()) {
    CAPTURE(k->target);
    for (const auto& [count, classes] : {std::pair<size_t, size_t>{16, 16}, {33, 32}, {100, 32}, {1000, 48}}) {
      std::vector<float> estimates(count + kSpare, INFINITY);
      for (size_t i = 0; i < count; ++i) estimates[i] = static_cast<float>(random());
      std::vector<uint32_t> places(classes);
      k->least(estimates.data(), count, classes, places.data());
      for (size_t of = 0; of < classes; ++of) {
        size_t best = of;
        for (size_t i = of; i < count; i += classes) best = estimates[i] < estimates[best] ? i : best;
        CHECK(places[of] == best);
      }
    }
  }
}

TEST_CASE("nothing asked, nothing touched") {
  for (const Kernels* k : every_kernels()) {
    k->squared(nullptr, nullptr, 0, 8, nullptr);
    k->scan(nullptr, nullptr, 0, 2, nullptr);
    k->sift({}, {}, nullptr, 0, 2, 0, nullptr, nullptr);
    CHECK(k->below(nullptr, nullptr, 0, 0, nullptr) == 0);
  }
}

}  // namespace
}  // namespace curator
