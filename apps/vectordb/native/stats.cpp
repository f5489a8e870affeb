// What is where, and how much of it.
#include <malloc.h>

#include "index.h"

namespace curator {
namespace {

// A part as the allocator has it, with its header.
size_t bytes_of(const Part* part) { return part == nullptr ? 0 : ::malloc_usable_size(const_cast<Part*>(part)) + sizeof(size_t); }

void count_parts(const Part* part, Stats& stats) {
  if (part == nullptr) return;
  stats.bytes_tenants += bytes_of(part);
  stats.shortlists += part->is_list();
  for (const Child& child : part->parts()) count_parts(child.part, stats);
}

}  // namespace

Stats Index::stats() const {
  const std::lock_guard lock(writer_);
  Stats stats{};
  stats.vectors = ids_.size();
  stats.leaf_splits = leaf_splits_, stats.leaf_merges = leaf_merges_, stats.reclusters = reclusters_;
  stats.waiting = epochs_.waiting();
  for (NodeId id = 0; id < tree_.capacity(); ++id) {
    if (!tree_.alive(id)) continue;
    ++stats.nodes;
    stats.leaves += tree_.node(id).leaf;
    stats.depth = std::max<size_t>(stats.depth, tree_.node(id).depth);
  }
  stats.bytes_tenants = tenants_.bytes() + tenant_records_.capacity() * sizeof(Tenant);
  for (uint32_t record = 0; record < tenants_used_; ++record) {
    const Tenant& tenant = tenant_records_[record];
    if (tenants_.find(tenant.id) != record) continue;
    ++stats.tenants;
    stats.unloaded += tenant.unloaded;
    stats.grants += tenant.count;
    count_parts(root(tenant), stats);
  }
  stats.bytes_vectors = store_.bytes_rows();
  stats.bytes_codes = store_.bytes_codes();
  stats.bytes_access = store_.bytes_access();
  stats.bytes_ids = ids_.bytes() + store_.bytes_other();
  stats.bytes_tree = tree_.bytes();
  return stats;
}

}  // namespace curator
