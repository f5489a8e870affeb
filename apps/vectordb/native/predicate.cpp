#include "predicate.h"

#include <algorithm>
#include <iterator>

namespace curator {
namespace {

void collect(const Expression& expression, std::vector<TenantId>& named) {
  if (expression.kind == Expression::Kind::kTenant) named.push_back(expression.tenant);
  for (const Expression& part : expression.parts) collect(part, named);
}

// What is seen below any of the roots.
template <typename F>
std::vector<Slot> slots_where(std::span<const Part* const> roots, F&& wanted) {
  std::vector<Slot> slots;
  for (const Part* root : roots) {
    each_list(root, [&](const Part& list) { std::copy_if(list.list().begin(), list.list().end(), std::back_inserter(slots), wanted); });
  }
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  return slots;
}

std::vector<Slot> slots_of(std::span<const Part* const> roots) {
  return slots_where(roots, [](Slot) { return true; });
}

}  // namespace

Predicate::Predicate(Expression expression) : expression_(std::move(expression)), row_of_({nullptr}, unread_) { collect(expression_, named_); }

Predicate::Predicate(std::vector<VectorId> ids) : ids_(std::move(ids)), row_of_({ids_.data()}, unread_) {
  row_of_.reserve(ids_.size());
  uint32_t kept = 0;
  for (const VectorId id : ids_) {
    if (row_of_.find(id) != kNone) continue;
    ids_[kept] = id;
    row_of_.insert(id, kept++);
  }
  ids_.resize(kept);
}

Predicate::Set Predicate::meet(const Set& a, const Set& b) {
  if (a.complement && !b.complement) return meet(b, a);
  Set both;
  const auto out = std::back_inserter(both.slots);
  both.complement = a.complement;
  if (a.complement) std::set_union(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(), out);
  else if (b.complement) std::set_difference(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(), out);
  else std::set_intersection(a.slots.begin(), a.slots.end(), b.slots.begin(), b.slots.end(), out);
  return both;
}

Predicate::Set Predicate::evaluate(const Expression& expression, std::span<const Part* const>& named) {
  if (expression.kind == Expression::Kind::kTenant) {
    const auto root = named.first(1);
    named = named.subspan(1);
    return {slots_of(root)};
  }
  // "or" is the complement of the complements' meeting.
  const bool flip = expression.kind != Expression::Kind::kAnd;
  Set all{{}, true};
  for (const Expression& part : expression.parts) {
    Set set = evaluate(part, named);
    set.complement ^= flip;
    all = meet(all, set);
  }
  all.complement ^= expression.kind == Expression::Kind::kOr;
  return all;
}

// A few ids are looked up. The id map may be ahead of the roots: with an id whose slot none of them holds, which has moved or is not for these
// tenants to see, all that they see is gone through, and so it is for many ids.
std::vector<Slot> Predicate::listed(const Index& index, std::span<const Part* const> roots) const {
  constexpr size_t kLookUp = 16;  // times as long as for a slot to go through
  uint64_t visible = 0;
  for (const Part* root : roots) visible += root == nullptr ? 0 : root->count;
  std::vector<Slot> slots;
  bool sure = ids_.size() * kLookUp < visible;
  for (size_t i = 0; sure && i < ids_.size(); ++i) {
    const Slot slot = index.find(ids_[i]);
    if (slot == kNone) continue;
    sure = std::ranges::any_of(roots, [&](const Part* root) { return index.parts().holds(root, slot); });
    slots.push_back(slot);
  }
  return sure ? slots : slots_where(roots, [&](Slot slot) { return row_of_.find(index.store().id(slot)) != kNone; });
}

Predicate::Key Predicate::key(const Index& index, std::span<const TenantId> tenants) const {
  Key key;
  for (const std::span<const TenantId> some : {tenants, std::span<const TenantId>(named_)}) {
    for (const TenantId id : some) {
      const Tenant* tenant = index.tenant(id);
      key.emplace_back(id, tenant == nullptr ? 0 : tenant->changed.load(std::memory_order_acquire));
    }
  }
  return key;
}

Result<std::shared_ptr<const Predicate::Tree>> Predicate::within(const Index& index, std::span<const TenantId> tenants) const {
  const Key now = key(index, tenants);  // before the roots are read: they are as new as this, or newer
  {
    const std::lock_guard lock(cache_lock_);
    if (cached_ != nullptr && cached_for_ == now) return cached_;
  }
  std::vector<TenantId> all(tenants.begin(), tenants.end());
  all.insert(all.end(), named_.begin(), named_.end());
  std::vector<const Part*> roots;
  if (const Status good = index.roots(all, roots); !good) return good.error();
  const auto universe = std::span<const Part* const>(roots).first(tenants.size());
  auto named = std::span<const Part* const>(roots).subspan(tenants.size());
  Set set;
  if (!named_.empty()) set = meet({slots_of(universe)}, evaluate(expression_, named));
  else set.slots = listed(index, universe);
  std::sort(set.slots.begin(), set.slots.end(), [&](Slot a, Slot b) { return index.store().before(a, b); });
  auto tree = std::make_shared<Tree>();
  tree->root = index.parts().build(kRoot, set.slots);
  const std::lock_guard lock(cache_lock_);
  cached_for_ = now;
  cached_ = tree;
  return cached_;
}

Result<size_t> Predicate::size(const Index& index) const {
  const Epochs::Guard guard = index.read();
  if (named_.empty()) return static_cast<size_t>(std::ranges::count_if(ids_, [&](VectorId id) { return index.find(id) != kNone; }));
  std::vector<const Part*> roots;
  if (const Status good = index.roots(named_, roots); !good) return good.error();
  auto named = std::span<const Part* const>(roots);
  const Set set = evaluate(expression_, named);
  if (!set.complement) return set.slots.size();
  const size_t size = index.size();  // of another moment
  return size - std::min(size, set.slots.size());
}

}  // namespace curator
