#include "search.h"

#include <algorithm>
#include <tuple>

namespace curator {
namespace {

float distance(Metric metric, const float* a, const float* b, uint32_t dim) {
  if (metric == Metric::kL2) return squared_distance(a, b, dim);
  float product = 0;
  for (uint32_t i = 0; i < dim; ++i) product += a[i] * b[i];
  return metric == Metric::kCosine ? 1 - product : -product;
}

}  // namespace

Result<std::vector<Hit>> search(const Index& index, const float* vector, size_t k, std::span<const TenantId> tenants) {
  const Options& options = index.options();
  std::vector<float> query(options.dim), row(options.dim);
  if (const Status good = index.prepare_query(vector, query.data()); !good) return good.error();
  if (k < 1) return mrpc::invalid_argument("k must be at least 1");
  const Epochs::Guard guard = index.read();
  std::vector<Slot> slots;
  for (const TenantId id : tenants) {
    const Tenant* tenant = index.tenant(id);
    if (tenant == nullptr) continue;
    if (tenant->unloaded) return unloaded_error(id);
    const auto seen = slots_of(index.root(*tenant));
    slots.insert(slots.end(), seen.begin(), seen.end());
  }
  std::vector<Hit> hits;
  for (const Slot slot : slots) {
    index.store().load(slot, row.data());
    hits.push_back({index.store().id(slot), distance(options.metric, query.data(), row.data(), options.dim)});
  }
  const auto nearer = [](const Hit& a, const Hit& b) { return std::tie(a.distance, a.id) < std::tie(b.distance, b.id); };
  std::sort(hits.begin(), hits.end(), nearer);
  hits.erase(std::unique(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) { return a.id == b.id; }), hits.end());
  if (hits.size() > k) hits.resize(k);
  return hits;
}

}  // namespace curator
