// k-means over rows chosen by an index list.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace curator {

// Rows of dim floats; row i is at rows + i * dim.
struct Matrix {
  const float* rows;
  uint32_t dim;
  const float* row(size_t i) const { return rows + i * dim; }
};

inline constexpr uint32_t kCentroidsMax = 64;

float squared_distance(const float* a, const float* b, uint32_t dim);

// At most k (up to kCentroidsMax) centroids for the chosen rows, as k' * dim floats: fewer where rows coincide, never one without a row nearest to it. One
// centroid (or none) means that the rows cannot be told apart.
std::vector<float> kmeans(const Matrix& matrix, std::span<const uint32_t> chosen, uint32_t k, uint32_t iterations, uint64_t seed);

struct Nearest {
  uint32_t which;
  float distance;  // squared
};

// The nearest of the centroids (at least one, at most kCentroidsMax); the first of equals.
Nearest nearest(std::span<const float* const> centroids, const float* vector, uint32_t dim);
std::vector<const float*> pointers(const std::vector<float>& centroids, uint32_t dim);

}  // namespace curator
