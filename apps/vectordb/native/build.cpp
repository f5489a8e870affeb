// A batch build: the tree is trained on all vectors, which are then placed leaf by leaf, so that slots are in the order of paths from the start
// and each tenant's slots come out sorted.
#include <malloc.h>

#include <algorithm>
#include <numeric>

#include "index.h"

namespace curator {
Status Index::build(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners, std::span<const VectorId> grant_ids,
                    std::span<const TenantId> grant_tenants) {
  const std::lock_guard lock(writer_);
  const Status built = build_locked(ids, rows, owners, grant_ids, grant_tenants);
  ::malloc_trim(0);  // what that took for itself
  return built;
}

Status Index::build_locked(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners, std::span<const VectorId> grant_ids,
                           std::span<const TenantId> grant_tenants) {
  if (const Status whole = check_whole(); !whole) return whole;
  if (ids_.size() > 0) return mrpc::invalid_argument("build() wants an empty index: insert() adds to one that is not");
  std::vector<float> space;
  const auto stored = check_rows(ids.size(), rows, space);
  if (!stored) return stored.error();
  if (const Status fresh = check_new(ids, owners); !fresh) return fresh;
  if (const Status loaded = check_loaded(grant_tenants); !loaded) return loaded;
  Epochs unread;
  HashIndex<RowId> row_of({ids.data()}, unread);
  row_of.reserve(ids.size());
  for (uint32_t row = 0; row < ids.size(); ++row) row_of.insert(ids[row], row);
  for (const VectorId id : grant_ids) {
    if (row_of.find(id) == kNone) return Error{mrpc::StatusCode::kNotFound, "grant of vector " + std::to_string(id) + ", which is not among the ids"};
  }

  half_done_ = true;
  const Matrix matrix{*stored, options_.dim};
  clear_below(kRoot);
  tree_.vacate(kRoot);
  std::vector<uint32_t> all(ids.size());
  std::iota(all.begin(), all.end(), 0);
  Leaves leaves;
  train(kRoot, matrix, std::move(all), leaves);

  ids_.reserve(ids.size());
  store_.expect(ids.size());
  for (const auto& [leaf, members] : leaves) {
    for (const uint32_t row : members) {
      const Slot slot = tree_.place(leaf);
      store_.write(slot, ids[row], matrix.row(row), tree_.centroid(tree_.node(leaf).reference));
      ids_.insert(ids[row], slot);
    }
    tree_.count(leaf, static_cast<int32_t>(members.size()));
  }
  std::vector<Slot> granted(grant_ids.size());
  std::vector<uint32_t> grants_in(store_.chunks(), kChunk);  // and as many owners: blocks are made once, in their size
  for (size_t i = 0; i < granted.size(); ++i) ++grants_in[(granted[i] = ids_.find(grant_ids[i])) / kChunk];
  for (uint32_t chunk = 0; chunk < grants_in.size(); ++chunk) store_.access(chunk * kChunk).reserve(grants_in[chunk]);
  for (size_t row = 0; row < ids.size(); ++row) {
    const Slot slot = ids_.find(ids[row]);
    store_.access(slot).assign(slot % kChunk, owners.subspan(row, 1));
  }
  for (size_t i = 0; i < granted.size(); ++i) {
    AccessSets& access = store_.access(granted[i]);
    if (!access.holds(granted[i] % kChunk, grant_tenants[i])) access.add(granted[i] % kChunk, grant_tenants[i]);
  }
  Seen seen;
  for (const Slot slot : tree_.slots(kRoot)) {
    for (const TenantId tenant : store_.access(slot).of(slot % kChunk)) see(tenant, slot, seen);
  }
  publish_all(seen);
  commit();
  return mrpc::ok_status();
}

bool Index::see(TenantId tenant, Slot slot, Seen& seen) {
  const uint32_t record = record_of(tenant);
  if (seen.size() <= record) seen.resize(record + 1);
  std::vector<Slot>& slots = seen[record];
  if (!slots.empty() && slots.back() == slot) return false;
  slots.push_back(slot);
  return true;
}

void Index::publish_all(const Seen& seen) {
  std::vector<Made> made;
  for (uint32_t record = 0; record < seen.size(); ++record) {
    const std::vector<Slot>& slots = seen[record];
    if (slots.empty()) continue;
    made.push_back({record, tenant_records_[record].unloaded ? nullptr : parts_.build(kRoot, slots), static_cast<uint32_t>(slots.size())});
  }
  publish(made);
}

}  // namespace curator
