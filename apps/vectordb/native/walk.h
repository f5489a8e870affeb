// The way of a search through tenants' trees: shortlists in the order of promise, best first by the distance to the centroids of their nodes.
#pragma once

#include <vector>

#include "index.h"

namespace curator {

// A shortlist, and the distance from the query to the reference of its codes: squared, or the negative product. Lists of the root mix
// vectors of several references: mixed.
struct Shortlist {
  const Part* part;
  float reference;
  bool mixed;
};

class Walk {
 public:
  // Under a guard. May be used again for another query of the same index.
  void start(const Index& index, const float* query, std::span<const Part* const> roots);
  // The next shortlist, or part == nullptr after the last.
  Shortlist next();
  // Distances from the query to centroids.
  void measure(std::span<const NodeId> nodes, float* out) const;

 private:
  struct Place {
    float distance;
    Shortlist list;  // or what will lead to some
  };
  void expand(const Shortlist& from);
  void push(float distance, const Shortlist& list);

  const Index* index_ = nullptr;
  const float* query_ = nullptr;
  std::vector<Place> heap_;
};

}  // namespace curator
