// Every kernel of every instruction set this CPU has, beside plain loops.
#include "simd/kernels.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>

#include "half.h"

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

TEST_CASE("scan: all targets sum exactly, up to the largest sum an int32 holds") {
  std::mt19937 random(2);
  for (const Kernels* k : every_kernels()) {
    CAPTURE(k->target);
    for (const size_t blocks : {1, 2, 3, 13}) {
      const size_t bytes = blocks * kBlockBytes, stride = bytes + kTailBytes + 2, count = 21;
      std::vector<std::byte> memory(count * stride, std::byte{0xFF});
      std::vector<const std::byte*> codes;
      for (size_t i = 0; i < count; ++i) {
        codes.push_back(memory.data() + i * stride);
        for (size_t at = 0; i > 0 && at < bytes; ++at) memory[i * stride + at] = static_cast<std::byte>(random());  // the first has all bits set
      }
      std::vector<int16_t> query(blocks * kBlockDims);
      const int top = blocks == 1 ? 32767 : 9000;
      for (auto& level : query) level = static_cast<int16_t>(static_cast<int>(random() % static_cast<unsigned>(2 * top + 1)) - top);
      if (blocks == 1) std::fill(query.begin(), query.end(), static_cast<int16_t>(top));
      std::vector<int32_t> sums(count);
      k->scan(query.data(), codes.data(), count, blocks, sums.data());
      for (size_t i = 0; i < count; ++i) {
        int32_t sum = 0;
        for (size_t j = 0; j < query.size(); ++j) {
          uint16_t word;
          std::memcpy(&word, codes[i] + 2 * (j / kBlockDims * kBlockWords + j % kBlockWords), 2);
          sum += query[j] * (word >> (4 * (j % kBlockDims / kBlockWords)) & 15);
        }
        CHECK(sums[i] == sum);
      }
    }
  }
}

TEST_CASE("nothing asked, nothing touched") {
  for (const Kernels* k : every_kernels()) {
    k->squared(nullptr, nullptr, 0, 8, nullptr);
    k->scan(nullptr, nullptr, 0, 2, nullptr);
  }
}

}  // namespace
}  // namespace curator
