// Small indexes with many splits, for tests.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <set>
#include <vector>

#include "index.h"

namespace curator::test {

inline Options small_options(uint32_t dim = 4) {
  Options options;
  options.dim = dim;
  options.shortlist_max = 8;
  options.leaf_max = 16;
  options.branching = 4;
  return options;
}

inline std::vector<float> random_rows(size_t count, uint32_t dim, std::mt19937& random, float centre = 0) {
  std::normal_distribution<float> normal(centre, 1);
  std::vector<float> rows(count * dim);
  for (float& x : rows) x = normal(random);
  return rows;
}

inline std::vector<VectorId> range(VectorId from, VectorId to) {
  std::vector<VectorId> ids;
  for (VectorId id = from; id < to; ++id) ids.push_back(id);
  return ids;
}

inline void must(const Status& status) {
  INFO((status.ok() ? "" : status.error().text));
  REQUIRE(status.ok());
}

inline std::set<VectorId> view(const Index& index, TenantId tenant) {
  const auto ids = index.ids(tenant, std::nullopt, SIZE_MAX);
  REQUIRE(ids.ok());
  return {ids->begin(), ids->end()};
}

}  // namespace curator::test
