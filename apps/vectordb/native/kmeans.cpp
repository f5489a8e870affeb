#include "kmeans.h"

#include <algorithm>
#include <random>

namespace curator {
namespace {

struct Clusters {
  std::vector<uint32_t> of;       // by position in `chosen`
  std::vector<uint32_t> sizes;
  std::vector<float> distances;   // to its centroid, by position
};

Clusters assign(const Matrix& matrix, std::span<const uint32_t> chosen, const std::vector<float>& centroids) {
  const auto k = static_cast<uint32_t>(centroids.size() / matrix.dim);
  Clusters clusters{std::vector<uint32_t>(chosen.size()), std::vector<uint32_t>(k), std::vector<float>(chosen.size())};
  for (size_t i = 0; i < chosen.size(); ++i) {
    const float* row = matrix.row(chosen[i]);
    const uint32_t own = nearest(centroids.data(), k, row, matrix.dim);
    clusters.of[i] = own;
    clusters.distances[i] = squared_distance(row, centroids.data() + size_t{own} * matrix.dim, matrix.dim);
    ++clusters.sizes[own];
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
  float sums[8] = {};
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    for (uint32_t lane = 0; lane < 8; ++lane) {
      const float difference = a[i + lane] - b[i + lane];
      sums[lane] += difference * difference;
    }
  }
  float sum = 0;
  for (; i < dim; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (const float part : sums) sum += part;
  return sum;
}

uint32_t nearest(const float* centroids, uint32_t count, const float* vector, uint32_t dim) {
  uint32_t best = 0;
  float best_distance = squared_distance(centroids, vector, dim);
  for (uint32_t c = 1; c < count; ++c) {
    const float distance = squared_distance(centroids + size_t{c} * dim, vector, dim);
    if (distance < best_distance) best = c, best_distance = distance;
  }
  return best;
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
