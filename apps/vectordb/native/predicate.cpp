#include "predicate.h"

#include <algorithm>
#include <iterator>

namespace curator {
namespace {

void collect(const Expression& expression, std::vector<TenantId>& named) {
  if (expression.kind == Expression::Kind::kTenant) named.push_back(expression.tenant);
  for (const Expression& part : expression.parts) collect(part, named);
}

}  // namespace

Status roots_of(const Index& index, std::span<const TenantId> tenants, std::vector<const Part*>& roots) {
  roots.clear();
  for (const TenantId id : tenants) {
    const Tenant* tenant = index.tenant(id);
    if (tenant == nullptr) continue;
    if (tenant->unloaded) return unloaded_error(id);
    const Part* root = index.root(*tenant);
    if (root != nullptr && std::find(roots.begin(), roots.end(), root) == roots.end()) roots.push_back(root);
  }
  return mrpc::ok_status();
}

Predicate::Predicate(Expression expression) : expression_(std::move(expression)) { collect(expression_, named_); }

Result<Predicate::Set> Predicate::seen_by(const Index& index, std::span<const TenantId> tenants) {
  std::vector<const Part*> roots;
  if (const Status good = roots_of(index, tenants, roots); !good) return good.error();
  Set set;
  for (const Part* root : roots) each_list(root, [&](const Part& list) { set.slots.insert(set.slots.end(), list.list().begin(), list.list().end()); });
  std::sort(set.slots.begin(), set.slots.end());
  set.slots.erase(std::unique(set.slots.begin(), set.slots.end()), set.slots.end());
  return set;
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

Result<Predicate::Set> Predicate::evaluate(const Index& index, const Expression& expression) {
  if (expression.kind == Expression::Kind::kTenant) return seen_by(index, {&expression.tenant, 1});
  // "or" is the complement of the complements' meeting.
  const bool flip = expression.kind != Expression::Kind::kAnd;
  Set all{{}, true};
  for (const Expression& part : expression.parts) {
    auto set = evaluate(index, part);
    if (!set) return set.error();
    set->complement ^= flip;
    all = meet(all, *set);
  }
  all.complement ^= expression.kind == Expression::Kind::kOr;
  return all;
}

Result<Predicate::Set> Predicate::evaluate(const Index& index) const {
  if (!named_.empty()) return evaluate(index, expression_);
  Set set;
  for (const VectorId id : ids_) {
    if (const Slot slot = index.find(id); slot != kNone) set.slots.push_back(slot);
  }
  std::sort(set.slots.begin(), set.slots.end());
  set.slots.erase(std::unique(set.slots.begin(), set.slots.end()), set.slots.end());
  return set;
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
  const auto universe = seen_by(index, tenants);
  if (!universe) return universe.error();
  const auto own = evaluate(index);
  if (!own) return own.error();
  Set set = meet(*universe, *own);
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
  const auto set = evaluate(index);
  if (!set) return set.error();
  return set->complement ? index.size() - set->slots.size() : set->slots.size();
}

}  // namespace curator
