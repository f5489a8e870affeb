// Sets of vectors to search in: expressions over tenants, or lists of ids.
//
// A search within a predicate never leaves what its tenants see: their slots and the predicate's are intersected, and a temporary tree of
// the result is built by binary search in the store's order, with no distance computed. It is kept until a tenant that takes part changes.
// All tenants are read at one moment, so that a vector is one slot to all of them.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "index.h"

namespace curator {

struct Expression {
  enum class Kind : uint8_t { kTenant, kAnd, kOr, kNot };
  static constexpr size_t kDepthMax = 32, kSizeMax = 1024;

  Kind kind = Kind::kTenant;
  TenantId tenant = 0;
  std::vector<Expression> parts;  // one or more; exactly one for kNot
};

class Predicate {
 public:
  explicit Predicate(Expression expression);
  explicit Predicate(std::vector<VectorId> ids);

  struct Tree {
    Part* root = nullptr;  // nullptr: nothing qualifies
    ~Tree() { Parts::free_tree(root); }
  };
  // What the tenants see of it. Under a guard, which must outlive the use of the tree's slots.
  Result<std::shared_ptr<const Tree>> within(const Index& index, std::span<const TenantId> tenants) const;
  // How many vectors of the index it names now, whoever sees them.
  Result<size_t> size(const Index& index) const;

 private:
  // Sorted slots, or all but those.
  struct Set {
    std::vector<Slot> slots;
    bool complement = false;
  };
  // Which change each tenant that takes part has seen last: while these are the same, so is the tree.
  using Key = std::vector<std::pair<TenantId, uint64_t>>;

  static Set meet(const Set& a, const Set& b);
  static Set evaluate(const Expression& expression, std::span<const Part* const>& named);
  std::vector<Slot> listed(const Index& index, std::span<const Part* const> roots) const;
  Key key(const Index& index, std::span<const TenantId> tenants) const;

  Expression expression_;
  std::vector<TenantId> named_;  // tenants of the expression, in the order of its evaluation
  std::vector<VectorId> ids_;    // distinct
  Epochs unread_;
  HashIndex<RowId> row_of_;      // of an id
  mutable std::mutex cache_lock_;
  mutable Key cached_for_;
  mutable std::shared_ptr<const Tree> cached_;
};

}  // namespace curator
