// A tenant's clustering tree (TCT), explicit: exactly those nodes of the global tree below which the tenant sees something.
//
// Shape. A part stands for a node. It is a shortlist (slots in the store's order) when it holds at most `shortlist_max` slots or the node is
// a leaf, else it has a child part for each child node below which there is something. So the shape follows from the set of slots
// alone, whatever order they came and went in, and the invariants of Curator hold: each slot is in one shortlist, on its path, and no
// two shortlists lie on one path.
//
// Versions. A published part never changes. The writer copies the parts from the root to the place of a change, once a batch: parts
// stamped with the present batch are its own and are changed in place. The batch ends by storing the new root, and what was replaced
// waits for readers to leave. Whoever loads a root has the tenant as it was at one moment.
#pragma once

#include <atomic>
#include <cstring>
#include <span>
#include <vector>

#include "tree.h"

namespace curator {

struct Part;

struct Child {
  Part* part;
  NodeId node;
  uint32_t count;  // of the part
};

struct Part {
  uint64_t stamp : 56;
  uint64_t fanout : 8;  // 0: a shortlist
  uint32_t count;       // slots in it or below
  NodeId node;

  bool is_list() const { return fanout == 0; }
  Slot* slots() { return reinterpret_cast<Slot*>(this + 1); }
  Child* children() { return reinterpret_cast<Child*>(this + 1); }
  std::span<const Slot> list() const { return {reinterpret_cast<const Slot*>(this + 1), count}; }
  std::span<const Child> parts() const { return {reinterpret_cast<const Child*>(this + 1), fanout}; }  // in the order of paths
};
static_assert(sizeof(Part) == 16 && sizeof(Child) == 16);

// Everything below a part, in the store's order.
template <typename F>
void each_list(const Part* part, F&& visit) {
  if (part == nullptr) return;
  if (part->is_list()) return visit(*part);
  for (const Child& child : part->parts()) each_list(child.part, visit);
}
std::vector<Slot> slots_of(const Part* part);

// Whether the tenant sees the slot. A reader's, as is everything above.
bool holds(const Part* root, Slot slot, const Store& store, const Tree& tree);

// The writer's way to change parts. It counts their bytes.
class Parts {
 public:
  Parts(const Options& options, const Store& store, const Tree& tree, Epochs& epochs);

  // A tree over slots, sorted in the store's order, as a part for `node`; nullptr for none. Given a stamp of 0 it is a reader's own
  // (a temporary tree): free it with free_tree().
  Part* build(NodeId node, std::span<const Slot> slots, uint64_t stamp) const;
  static void free_tree(Part* part);

  // Each returns the part that now stands for the same node, maybe nullptr, and sets `changed`.
  Part* add(Part* part, Slot slot, bool& changed);
  Part* remove(Part* part, Slot slot, bool& changed);
  // Slots of node `at`, or below it, give way to `after` (sorted): leaves were split, merged or clustered anew.
  Part* replace(Part* part, NodeId at, std::span<const Slot> before, std::span<const Slot> after);
  void retire_tree(Part* part);

  void begin_batch() { ++stamp_; }
  uint64_t stamp() const { return stamp_; }

 private:
  Part* own(Part* part, size_t bytes);
  Part* as_list(Part* part);
  void retire(Part* part);

  const uint32_t shortlist_max_;
  const Store& store_;
  const Tree& tree_;
  Epochs& epochs_;
  uint64_t stamp_ = 0;
};

}  // namespace curator
