#include "kmeans.h"

#include <algorithm>
#include <cstddef>
#include <random>

#include "base/assert.h"
#include "simd/kernels.h"

namespace curator {
namespace {

struct Clusters {
  std::vector<uint32_t> of;       // by position in `chosen`
  std::vector<uint32_t> sizes;
  std::vector<float> distances;   // to its centroid, by position
};

Clusters assign(const Matrix& matrix, std::span<const uint32_t> chosen, const std::vector<float>& centroids) {
  const auto rows = pointers(centroids, matrix.dim);
  Clusters clusters{std::vector<uint32_t>(chosen.size()), std::vector<uint32_t>(rows.size()), std::vector<float>(chosen.size())};
  for (size_t i = 0; i < chosen.size(); ++i) {
    const Nearest own = nearest(rows, matrix.row(chosen[i]), matrix.dim);
    clusters.of[i] = own.which;
    clusters.distances[i] = own.distance;
    ++clusters.sizes[own.which];
  }
  return clusters;
}

void means(const Matrix& matrix, std::span<const uint32_t> chosen, const Clusters& clusters, std::vector<float>& centroids) {
  std::fill(centroids.begin(), centroids.end(), 0.0f);
  for (size_t i = 0; i < chosen.size(); ++i) {
    const float* row = matrix.row(chosen[i]);
    float* sum = centroids.data() + size_t{clusters.of[i]} * matrix.dim;
    for (uint32_t d = 0; d < matrix.dim; ++d) sum[d] += row[d];
  }
  for (size_t i = 0; i < centroids.size(); ++i) centroids[i] /= static_cast<float>(std::max(1u, clusters.sizes[i / matrix.dim]));
}

// Centroids that nothing is nearest to move to the rows that are worst served; those that cannot (all rows are served exactly) are erased.
void mend_empty(const Matrix& matrix, std::span<const uint32_t> chosen, Clusters& clusters, std::vector<float>& centroids) {
  for (size_t c = clusters.sizes.size(); c-- > 0;) {
    if (clusters.sizes[c] > 0) continue;
    const auto worst = std::max_element(clusters.distances.begin(), clusters.distances.end());
    const auto at = centroids.begin() + static_cast<std::ptrdiff_t>(c * matrix.dim);
    if (*worst > 0) {
      std::copy_n(matrix.row(chosen[static_cast<size_t>(worst - clusters.distances.begin())]), matrix.dim, at);
      *worst = 0;
    } else {
      centroids.erase(at, at + matrix.dim);
    }
  }
}

}  // namespace

float squared_distance(const float* a, const float* b, uint32_t dim) {
  const auto* row = reinterpret_cast<const std::byte*>(b);
  float distance;
  kernels().squared(a, &row, 1, dim, &distance);
  return distance;
}

Nearest nearest(std::span<const float* const> centroids, const float* vector, uint32_t dim) {
  MRPC_ASSERT(!centroids.empty() && centroids.size() <= kCentroidsMax);
  float distances[kCentroidsMax];
  kernels().squared(vector, reinterpret_cast<const std::byte* const*>(centroids.data()), centroids.size(), dim, distances);
  const float* const best = std::min_element(distances, distances + centroids.size());
  return {static_cast<uint32_t>(best - distances), *best};
}

std::vector<const float*> pointers(const std::vector<float>& centroids, uint32_t dim) {
  std::vector<const float*> rows;
  for (size_t at = 0; at < centroids.size(); at += dim) rows.push_back(centroids.data() + at);
  return rows;
}

std::vector<float> kmeans(const Matrix& matrix, std::span<const uint32_t> chosen, uint32_t k, uint32_t iterations, uint64_t seed) {
  k = std::min<uint32_t>(k, static_cast<uint32_t>(chosen.size()));
  std::vector<uint32_t> seeds;
  std::mt19937_64 random(seed);
  std::sample(chosen.begin(), chosen.end(), std::back_inserter(seeds), k, random);
  std::vector<float> centroids;
  for (const uint32_t row : seeds) centroids.insert(centroids.end(), matrix.row(row), matrix.row(row) + matrix.dim);
  for (uint32_t round = 0; round < iterations; ++round) {
    Clusters clusters = assign(matrix, chosen, centroids);
    means(matrix, chosen, clusters, centroids);
    mend_empty(matrix, chosen, clusters, centroids);
  }
  // The last means may leave a centroid without rows: only those that serve stay.
  const Clusters clusters = assign(matrix, chosen, centroids);
  for (size_t c = clusters.sizes.size(); c-- > 0;) {
    const auto at = centroids.begin() + static_cast<std::ptrdiff_t>(c * matrix.dim);
    if (clusters.sizes[c] == 0) centroids.erase(at, at + matrix.dim);
  }
  return centroids;
}

}  // namespace curator
