// Reads that need no lock: a guard keeps what they look at.
#include <algorithm>
#include <cstring>

#include "index.h"

namespace curator {

Result<std::vector<VectorId>> Index::ids(TenantId id, std::optional<VectorId> after, size_t limit) const {
  const auto guard = read();
  const auto part = seen_by(id);
  if (!part) return part.error();
  std::vector<VectorId> ids;
  each_list(*part, [&](const Part& list) {
    for (const Slot slot : list.list()) {
      if (!after || store_.id(slot) > *after) ids.push_back(store_.id(slot));
    }
  });
  const size_t kept = std::min(limit, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), ids.end());
  ids.resize(kept);
  return ids;
}

Result<std::vector<uint8_t>> Index::rows(std::span<const VectorId> ids) const {
  const auto guard = read();
  const auto slots = check_known(ids);
  if (!slots) return slots.error();
  std::vector<uint8_t> rows(ids.size() * store_.row_bytes());
  for (size_t i = 0; i < ids.size(); ++i) std::memcpy(rows.data() + i * store_.row_bytes(), store_.row((*slots)[i]), store_.row_bytes());
  return rows;
}

// A tenant is marked before its root goes, and its root is back before the mark goes: without both, there is nothing.
Result<const Part*> Index::seen_by(TenantId id) const {
  const Tenant* known = tenant(id);
  if (known == nullptr) return nullptr;
  const Part* part = root(*known);
  if (part == nullptr && known->unloaded.load(std::memory_order_seq_cst)) return unloaded_error(id);
  return part != nullptr ? part : root(*known);
}

Status Index::roots(std::span<const TenantId> ids, std::vector<const Part*>& roots) const {
  constexpr int kTries = 8;
  const auto load = [&]() -> Status {
    roots.clear();
    for (const TenantId id : ids) {
      const auto part = seen_by(id);
      if (!part) return part.error();
      roots.push_back(*part);
    }
    return mrpc::ok_status();
  };
  if (ids.size() == 1) return load();
  for (int tries = 0; tries < kTries; ++tries) {
    const uint64_t before = published_.load(std::memory_order_seq_cst);
    Status loaded = load();
    if (before % 2 == 0 && published_.load(std::memory_order_seq_cst) == before) return loaded;
  }
  const std::lock_guard lock(publishing_);
  return load();
}

const Tenant* Index::tenant(TenantId id) const {
  const uint32_t record = tenants_.find(id);
  return record == kNone ? nullptr : &tenant_records_[record];
}

Result<std::vector<TenantId>> Index::tenants(VectorId id) const {
  const std::lock_guard lock(writer_);
  const auto slot = check_known({&id, 1});
  if (!slot) return slot.error();
  const auto set = store_.access(slot->front()).of(slot->front() % kChunk);
  std::vector<TenantId> sorted(set.begin(), set.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

Result<std::vector<float>> Index::centroid(NodeId node) const {
  const std::lock_guard lock(writer_);
  if (!tree_.alive(node)) return mrpc::invalid_argument("there is no node " + std::to_string(node) + " (any more)");
  return std::vector<float>(tree_.centroid(node), tree_.centroid(node) + options_.dim);
}

Result<TenantId> Index::owner(VectorId id) const {
  const std::lock_guard lock(writer_);
  const auto slot = check_known({&id, 1});
  if (!slot) return slot.error();
  return store_.access(slot->front()).of(slot->front() % kChunk).front();
}

}  // namespace curator
