// Searches: a reader's side of the index.
//
// A search walks the shortlists of its tenants' trees in the order of promise (walk.h), estimates distances from codes (codes.h), and stops when it
// has looked at as many as it takes, as the index has learnt from itself (stop.h). What may be among the k nearest is then measured
// exactly. A tenant no larger than that budget is looked at whole, without a walk; one of a few vectors is measured exactly at once.
// Only slots that stand in the tenants' own trees are ever touched, so neither results nor their number tell of others' vectors.
//
// Distances: squared L2; minus the inner product; 1 - cosine.
#pragma once

#include <span>
#include <vector>

#include "index.h"
#include "predicate.h"

namespace curator {

struct Hit {
  VectorId id;
  float distance;
};

struct Ask {
  size_t k = 10;
  bool exact = false;                 // measure everything
  uint32_t budget = 0;                // look at about so many vectors; 0: as many as `recall` takes
  uint32_t patience = 0;              // stop after so many lists in a row that improve nothing; 0: never
  float recall = 0;                   // the share of the k nearest to find; 0: the index's own
  const Predicate* where = nullptr;   // within this only
};
inline constexpr size_t kResultsMax = 65536;
Status check_ask(const Ask& ask);

// The k nearest of what any of the tenants sees, each once, nearest first (equal distances by id): min(k, visible) of them, always.
Result<std::vector<Hit>> search(const Index& index, const float* vector, const Ask& ask, std::span<const TenantId> tenants);

// What a batch of n searches finds: [n, k], of which row i is good up to counts[i].
struct Found {
  Found(size_t n, size_t k) : ids(n * k), distances(n * k), counts(n) {}
  std::vector<VectorId> ids;
  std::vector<float> distances;
  std::vector<uint32_t> counts;
};

// One search for each of `count` vectors, on this thread and up to `threads` - 1 others. tenants: one for all, or one each.
Result<Found> search_many(const Index& index, const float* vectors, size_t count, const Ask& ask, std::span<const TenantId> tenants,
                          size_t threads);

}  // namespace curator
