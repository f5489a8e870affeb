#include "index.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <tuple>

#include "half.h"

namespace curator {
namespace {

Error not_found(VectorId id) {
  return {mrpc::StatusCode::kNotFound, "there is no vector " + std::to_string(id)};
}

Error twice(VectorId id) {
  return {mrpc::StatusCode::kAlreadyExists, "vector " + std::to_string(id) + " is given twice"};
}

// A bad row by its number, or a scale by which it is stored: a double, since that of a tiny row is no float.
Result<double> scale_of(const Options& options, const float* row, size_t number) {
  double square = 0;
  float largest = 0;
  for (uint32_t i = 0; i < options.dim; ++i) {
    square += double{row[i]} * double{row[i]};
    largest = std::max(largest, std::fabs(row[i]));
  }
  const auto bad = [&](const char* text) { return mrpc::invalid_argument("vector " + std::to_string(number) + " " + text); };
  if (!std::isfinite(square)) return bad("holds NaN or infinity");
  if (options.metric == Metric::kCosine) {
    if (square == 0) return bad("is zero, and has no direction for the cosine metric");
    return 1 / std::sqrt(square);
  }
  if (square > FLT_MAX / 4) return bad("is so large that distances would overflow");
  if (options.element == Element::kFloat16 && largest > kHalfMax) return bad("does not fit float16 (65504 at most)");
  return 1.0;
}

// Any id that is given twice.
Status check_distinct(std::span<const VectorId> ids) {
  if (ids.size() < 2) return mrpc::ok_status();
  Epochs epochs;
  HashIndex<RowId> seen({ids.data()}, epochs);
  seen.reserve(ids.size());
  for (uint32_t row = 0; row < ids.size(); ++row) {
    if (seen.find(ids[row]) != kNone) return twice(ids[row]);
    seen.insert(ids[row], row);
  }
  return mrpc::ok_status();
}

}  // namespace

Index::Index(const Options& options)
    : options_(options),
      codec_(options_),
      store_(options_, codec_),
      tree_(options_, store_, epochs_),
      parts_(options_, store_, tree_, epochs_),
      ids_({&store_}, epochs_),
      tenants_({&tenant_records_}, epochs_) {}

Index::~Index() {
  if (half_done_) epochs_.forsake();  // some of it is still in trees, which are freed next
  else epochs_.drop_all();
  for (uint32_t i = 0; i < tenants_used_; ++i) Parts::free_tree(tenant_records_[i].root.load(std::memory_order_relaxed));
}

Status Index::check_options(const Options& options) {
  const auto within = [](uint32_t value, uint32_t low, uint32_t high) { return value >= low && value <= high; };
  if (!within(options.dim, 1, 65536)) return mrpc::invalid_argument("dim must be 1 to 65536");
  if (!within(options.shortlist_max, 1, 65536)) return mrpc::invalid_argument("shortlist_max must be 1 to 65536");
  if (!within(options.leaf_max, 4, 65536)) return mrpc::invalid_argument("leaf_max must be 4 to 65536");
  if (!within(options.branching, 2, kFanoutMax)) return mrpc::invalid_argument("branching must be 2 to 32");
  if (!(options.recall > 0 && options.recall <= 1)) return mrpc::invalid_argument("recall must be above 0 and at most 1");
  return mrpc::ok_status();
}

Result<const float*> Index::check_rows(size_t count, const float* rows, std::vector<float>& space) const {
  const uint32_t dim = options_.dim;
  if (options_.metric == Metric::kCosine) space.resize(count * dim);
  for (size_t i = 0; i < count; ++i) {
    const auto scale = scale_of(options_, rows + i * dim, i);
    if (!scale) return scale.error();
    if (space.empty()) continue;
    for (uint32_t d = 0; d < dim; ++d) space[i * dim + d] = static_cast<float>(rows[i * dim + d] * *scale);
  }
  return space.empty() ? rows : space.data();
}

Status Index::prepare_query(const float* vector, float* out) const {
  const auto scale = scale_of(options_, vector, 0);
  if (!scale) return scale.error();
  for (uint32_t d = 0; d < options_.dim; ++d) out[d] = static_cast<float>(vector[d] * *scale);
  return mrpc::ok_status();
}

Status Index::check_new(std::span<const VectorId> ids, std::span<const TenantId> owners) const {
  for (const VectorId id : ids) {
    if (ids_.find(id) != kNone) {
      return Error{mrpc::StatusCode::kAlreadyExists, "vector " + std::to_string(id) + " is there already: update it instead"};
    }
  }
  const Status distinct = check_distinct(ids);
  return distinct ? check_loaded(owners) : distinct;
}

Result<std::vector<Slot>> Index::check_known(std::span<const VectorId> ids) const {
  std::vector<Slot> slots(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    slots[i] = ids_.find(ids[i]);
    if (slots[i] == kNone) return not_found(ids[i]);
  }
  return slots;
}

Error unloaded_error(TenantId id) {
  return {mrpc::StatusCode::kFailedPrecondition, "tenant " + std::to_string(id) + " is unloaded: reload it first"};
}

Status Index::check_loaded(std::span<const TenantId> tenants) const {
  for (const TenantId id : tenants) {
    const Tenant* known = tenant(id);
    if (known == nullptr || !known->unloaded) continue;
    return unloaded_error(id);
  }
  return mrpc::ok_status();
}

Status Index::insert(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole;
  std::vector<float> space;
  const auto stored = check_rows(ids.size(), rows, space);
  if (!stored) return stored.error();
  if (const Status fresh = check_new(ids, owners); !fresh) return fresh;
  half_done_ = true;
  const bool most = ids.size() > options_.leaf_max && ids.size() >= ids_.size();  // the tree is trained once, on all of them
  ids_.reserve(ids_.size() + ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const float* row = *stored + i * options_.dim;
    put(ids[i], row, owners.subspan(i, 1), tree_.descend(row));
    if (!most) settle();
  }
  if (most) recluster(kRoot);
  settle();
  commit();
  return mrpc::ok_status();
}

Status Index::update(std::span<const VectorId> ids, const float* rows) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole;
  std::vector<float> space;
  const auto stored = check_rows(ids.size(), rows, space);
  if (!stored) return stored.error();
  if (const auto known = check_known(ids); !known) return known.error();
  if (const Status distinct = check_distinct(ids); !distinct) return distinct;
  half_done_ = true;
  for (size_t i = 0; i < ids.size(); ++i) {
    const Slot slot = ids_.find(ids[i]);  // an earlier row may have moved it
    const auto set = store_.access(slot).of(slot % kChunk);
    const std::vector<TenantId> access(set.begin(), set.end());
    const float* row = *stored + i * options_.dim;
    ids_.move(ids[i], place(ids[i], row, access, tree_.descend(row)));  // readers find the id at any moment
    displace(slot);
    settle();
  }
  commit();
  return mrpc::ok_status();
}

Status Index::remove(std::span<const VectorId> ids) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole;
  if (const auto known = check_known(ids); !known) return known.error();
  if (const Status distinct = check_distinct(ids); !distinct) return distinct;
  half_done_ = true;
  for (const VectorId id : ids) take_out(ids_.find(id)), settle();
  commit();
  return mrpc::ok_status();
}

Result<uint64_t> Index::grant(std::span<const VectorId> ids, std::span<const TenantId> tenants) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole.error();
  const auto slots = check_known(ids);
  if (!slots) return slots.error();
  if (const Status loaded = check_loaded(tenants); !loaded) return loaded.error();
  half_done_ = true;
  uint64_t changed = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const Slot slot = (*slots)[i];
    if (store_.access(slot).holds(slot % kChunk, tenants[i])) continue;
    store_.access(slot).add(slot % kChunk, tenants[i]);
    note(tenants[i], slot, true);
    ++changed;
  }
  commit();
  return changed;
}

Result<uint64_t> Index::revoke(std::span<const VectorId> ids, std::span<const TenantId> tenants) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole.error();
  const auto slots = check_known(ids);
  if (!slots) return slots.error();
  if (const Status loaded = check_loaded(tenants); !loaded) return loaded.error();
  for (size_t i = 0; i < ids.size(); ++i) {
    const Slot slot = (*slots)[i];
    if (store_.access(slot).of(slot % kChunk).front() != tenants[i]) continue;
    return mrpc::invalid_argument("tenant " + std::to_string(tenants[i]) + " owns vector " + std::to_string(ids[i]) + ": delete it instead");
  }
  half_done_ = true;
  uint64_t changed = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const Slot slot = (*slots)[i];
    if (!store_.access(slot).remove(slot % kChunk, tenants[i])) continue;
    note(tenants[i], slot, false);
    ++changed;
  }
  commit();
  return changed;
}

Result<uint64_t> Index::drop_tenant(TenantId id) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole.error();
  if (const Status loaded = check_loaded({&id, 1}); !loaded) return loaded.error();
  const Tenant* known = tenant(id);
  if (known == nullptr) return uint64_t{0};
  half_done_ = true;
  std::vector<VectorId> owned;
  const std::vector<Slot> seen = slots_of(root(*known));
  for (const Slot slot : seen) {
    if (store_.access(slot).of(slot % kChunk).front() == id) {
      owned.push_back(store_.id(slot));
    } else {
      store_.access(slot).remove(slot % kChunk, id);
      note(id, slot, false);
    }
  }
  for (const VectorId each : owned) take_out(ids_.find(each)), settle();
  commit();
  return uint64_t{seen.size()};
}

Status Index::check_whole() const {
  if (!half_done_) return mrpc::ok_status();
  return mrpc::resource_exhausted("memory ran out in the middle of an earlier change: searches go on, but nothing can be changed or saved. Load the "
                                  "index anew, or open the database again, which has all that was acknowledged");
}

void Index::put(VectorId id, const float* row, std::span<const TenantId> access, NodeId leaf) { ids_.insert(id, place(id, row, access, leaf)); }

void Index::take_out(Slot slot) {
  ids_.erase(store_.id(slot));
  displace(slot);
}

Slot Index::place(VectorId id, const float* row, std::span<const TenantId> access, NodeId leaf) {
  const Slot slot = tree_.place(leaf);
  store_.write(slot, id, row, tree_.centroid(tree_.node(leaf).reference));
  store_.access(slot).assign(slot % kChunk, access);
  tree_.count(leaf, 1);
  crowded_.push_back(leaf);
  note(slot, true);
  return slot;
}

void Index::displace(Slot slot) {
  const NodeId leaf = store_.leaf(slot);
  retire(slot);
  tree_.count(leaf, -1);
  sparse_.push_back(leaf);
}

void Index::retire(Slot slot) {
  note(slot, false);
  store_.retire(slot);
  epochs_.retire([](void* tree, uint64_t what) { static_cast<Tree*>(tree)->gone(static_cast<Slot>(what)); }, &tree_, slot);
}

void Index::note(Slot slot, bool comes) {
  for (const TenantId tenant : store_.access(slot).of(slot % kChunk)) note(tenant, slot, comes);
}

// A slot that came and went in one batch was never seen.
void Index::commit() {
  std::sort(edits_.begin(), edits_.end(), [](const Edit& a, const Edit& b) {
    return std::tie(a.tenant, a.path, a.slot) < std::tie(b.tenant, b.path, b.slot);
  });
  size_t kept = 0;
  for (size_t i = 0; i < edits_.size(); ++i) {
    const bool undone = kept > 0 && edits_[kept - 1].tenant == edits_[i].tenant && edits_[kept - 1].slot == edits_[i].slot;
    if (undone) --kept;
    else edits_[kept++] = edits_[i];
  }
  std::vector<Made> made;
  for (size_t i = 0, end; i < kept; i = end) {
    for (end = i; end < kept && edits_[end].tenant == edits_[i].tenant;) ++end;
    made.push_back(apply(edits_[i].tenant, std::span(edits_).subspan(i, end - i)));
  }
  publish(made);
  edits_.clear();
  epochs_.advance();
  epochs_.reclaim();
  half_done_ = false;
}

Index::Made Index::apply(TenantId id, std::span<const Edit> edits) {
  std::vector<Slot> gone, come;
  for (const Edit& edit : edits) (edit.comes ? come : gone).push_back(edit.slot);
  const uint32_t record = record_of(id);
  Tenant& known = tenant_records_[record];
  const auto count = static_cast<uint32_t>(known.count + come.size() - gone.size());
  return {record, known.unloaded ? nullptr : parts_.change(known.root, kRoot, gone, come), count};
}

void Index::publish(std::span<const Made> made) {
  if (made.empty()) return;
  {
    const std::lock_guard lock(publishing_);
    published_.fetch_add(1, std::memory_order_seq_cst);
    for (const auto& [record, root, count] : made) {
      Tenant& known = tenant_records_[record];
      known.root.store(root, std::memory_order_seq_cst);
      known.changed.store(epochs_.now(), std::memory_order_release);
      pairs_.fetch_add(uint64_t{count} - known.count, std::memory_order_relaxed);
      known.count.store(count, std::memory_order_relaxed);
    }
    published_.fetch_add(1, std::memory_order_seq_cst);
  }
  for (const Made& each : made) {
    if (each.count == 0 && !tenant_records_[each.record].unloaded) forget(each.record);
  }
}

uint32_t Index::record_of(TenantId id) {
  uint32_t record = tenants_.find(id);
  if (record != kNone) return record;
  if (!free_tenants_.empty()) {
    record = free_tenants_.back();
    free_tenants_.pop_back();
  } else {
    record = tenants_used_;
    if (record == tenant_records_.capacity()) tenant_records_.grow();
    ++tenants_used_;
  }
  tenant_records_[record].id = id;
  tenants_.insert(id, record);
  return record;
}

void Index::forget(uint32_t record) {
  tenants_.erase(tenant_records_[record].id);
  epochs_.retire([](void* free, uint64_t what) { static_cast<std::vector<uint32_t>*>(free)->push_back(static_cast<uint32_t>(what)); },
                 &free_tenants_, record);
}

}  // namespace curator
