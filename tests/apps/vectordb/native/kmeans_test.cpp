#include "kmeans.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

using namespace curator;

namespace {

std::vector<uint32_t> all(size_t count) {
  std::vector<uint32_t> rows(count);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

std::set<uint32_t> used(const std::vector<float>& centroids, const std::vector<float>& rows, uint32_t dim) {
  std::set<uint32_t> used;
  for (size_t i = 0; i < rows.size() / dim; ++i) used.insert(nearest(pointers(centroids, dim), rows.data() + i * dim, dim).which);
  return used;
}

}  // namespace

TEST_CASE("every centroid has rows, however n and k stand and whatever coincides") {
  std::mt19937 random(1);
  for (uint32_t n = 1; n < 40; ++n) {
    for (const uint32_t distinct : {1u, 2u, 3u, n}) {
      std::vector<float> rows(n * 3);
      for (uint32_t i = 0; i < n; ++i) {
        for (uint32_t d = 0; d < 3; ++d) rows[i * 3 + d] = static_cast<float>((i % distinct) * (d + 1) % 17);
      }
      for (const uint32_t k : {1u, 2u, n, n + 5}) {
        const auto centroids = kmeans({rows.data(), 3}, all(n), k, 6, random());
        CHECK(centroids.size() / 3 >= 1);
        CHECK(centroids.size() / 3 <= std::min({k, n, distinct}));
        CHECK(used(centroids, rows, 3).size() == centroids.size() / 3);
      }
    }
  }
}

TEST_CASE("clusters that lie apart are told apart") {
  std::mt19937 random(2);
  std::normal_distribution<float> noise(0, 0.01f);
  std::vector<float> rows;
  for (int i = 0; i < 300; ++i) rows.insert(rows.end(), {static_cast<float>(i % 2 * 10) + noise(random), noise(random)});
  const auto centroids = kmeans({rows.data(), 2}, all(300), 2, 12, 7);
  REQUIRE(centroids.size() == 4);
  float worst = 0;
  for (int i = 0; i < 300; ++i) {
    worst = std::max(worst, nearest(pointers(centroids, 2), rows.data() + 2 * i, 2).distance);
  }
  CHECK(worst < 1);
}

TEST_CASE("no rows, no centroids") { CHECK(kmeans({nullptr, 3}, {}, 4, 5, 1).empty()); }

TEST_CASE("distances do not depend on how the loop is cut") {
  std::mt19937 random(3);
  for (uint32_t dim = 1; dim < 40; ++dim) {
    std::vector<float> a(dim), b(dim);
    float sum = 0;
    for (uint32_t d = 0; d < dim; ++d) {
      a[d] = static_cast<float>(random() % 9), b[d] = static_cast<float>(random() % 9);
      sum += (a[d] - b[d]) * (a[d] - b[d]);
    }
    CHECK(squared_distance(a.data(), b.data(), dim) == sum);
  }
}
