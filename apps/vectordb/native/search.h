// Searches: a reader's side of the index.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "index.h"

namespace curator {

struct Hit {
  VectorId id;
  float distance;
};

// The k nearest of what any of the tenants sees, each once, nearest first.
Result<std::vector<Hit>> search(const Index& index, const float* vector, size_t k, std::span<const TenantId> tenants);

}  // namespace curator
