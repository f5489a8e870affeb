#include "walk.h"

#include <algorithm>

#include "simd/kernels.h"

namespace curator {
namespace {

// Ties are broken by node, so that the same index answers the same.
constexpr auto kFarther = [](const auto& a, const auto& b) {
  return a.distance != b.distance ? a.distance > b.distance : a.list.part->node > b.list.part->node;
};

}  // namespace

void Walk::start(const Index& index, const float* query, std::span<const Part* const> roots) {
  index_ = &index;
  query_ = query;
  heap_.clear();
  for (const Part* root : roots) push(0, {root, 0, true});
}

void Walk::push(float distance, const Shortlist& list) {
  __builtin_prefetch(list.part);
  heap_.push_back({distance, list});
  std::push_heap(heap_.begin(), heap_.end(), kFarther);
}

Shortlist Walk::next() {
  while (!heap_.empty()) {
    const Shortlist list = heap_.front().list;
    std::pop_heap(heap_.begin(), heap_.end(), kFarther);
    heap_.pop_back();
    if (list.part->is_list()) return list;
    expand(list);
  }
  return {nullptr, 0, false};
}

void Walk::expand(const Shortlist& from) {
  NodeId nodes[kFanoutMax];
  float distances[kFanoutMax];
  const auto children = from.part->parts();
  for (size_t i = 0; i < children.size(); ++i) nodes[i] = children[i].node;
  measure({nodes, children.size()}, distances);
  for (size_t i = 0; i < children.size(); ++i) push(distances[i], {children[i].part, from.mixed ? distances[i] : from.reference, false});
}

void Walk::measure(std::span<const NodeId> nodes, float* out) const {
  const std::byte* centroids[kFanoutMax];
  for (size_t i = 0; i < nodes.size(); ++i) centroids[i] = reinterpret_cast<const std::byte*>(index_->tree().centroid(nodes[i]));
  const bool product = index_->options().metric == Metric::kInnerProduct;
  (product ? kernels().product : kernels().squared)(query_, centroids, nodes.size(), index_->options().dim, out);
  for (size_t i = 0; product && i < nodes.size(); ++i) out[i] = -out[i];
}

}  // namespace curator
