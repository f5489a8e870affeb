// A tenant's clustering tree (TCT), explicit: exactly those nodes of the global tree below which the tenant sees something.
//
// Shape. A part stands for a node. It is a shortlist (slots in the store's order) when it holds at most `shortlist_max` slots or the node is
// a leaf, else it has a child part for each child node below which there is something. So the shape follows from the set of slots
// alone, whatever order they came and went in, and the invariants of Curator hold: each slot is in one shortlist, on its path, and no
// two shortlists lie on one path.
//
// Versions. A part never changes once it is made. A batch of changes makes new parts from the root to the places of change and shares all
// others; it is published by one store of the root, and what it replaced waits for readers to leave. Whoever loads a root has the
// tenant as it was at one moment.
#pragma once

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
  uint32_t count;   // slots in it or below
  NodeId node;
  uint32_t fanout;  // 0: a shortlist

  bool is_list() const { return fanout == 0; }
  std::span<const Slot> list() const { return {reinterpret_cast<const Slot*>(this + 1), count}; }
  std::span<const Child> parts() const { return {reinterpret_cast<const Child*>(reinterpret_cast<const char*>(this) + 16), fanout}; }  // by path
};
static_assert(sizeof(Part) == 12 && sizeof(Child) == 16);

// visit(const Part& list) for every shortlist, in the store's order.
template <typename F>
void each_list(const Part* part, F&& visit) {
  if (part == nullptr) return;
  if (part->is_list()) return visit(*part);
  for (const Child& child : part->parts()) each_list(child.part, visit);
}
std::vector<Slot> slots_of(const Part* part);

// Makes and retires parts. Const members may be called by readers.
class Parts {
 public:
  Parts(const Options& options, const Store& store, const Tree& tree, Epochs& epochs)
      : shortlist_max_(options.shortlist_max), store_(store), tree_(tree), epochs_(epochs) {}

  // The part for `node` over slots below it, sorted in the store's order; nullptr for none. A reader's own one (a temporary tree) is freed
  // by free_tree().
  Part* build(NodeId node, std::span<const Slot> slots) const;
  static void free_tree(Part* part);
  bool holds(const Part* root, Slot slot) const;

  // The writer's: the part (maybe nullptr) that stands for `node` in place of `part` (maybe nullptr) without `gone`, which it holds, and
  // with `come`, which it does not; both sorted. The leaves of slots that come may be other than when the part was made.
  Part* change(Part* part, NodeId node, std::span<const Slot> gone, std::span<const Slot> come);
  void retire_tree(Part* part);

 private:
  Part* change_children(Part* part, NodeId node, std::span<const Slot> gone, std::span<const Slot> come);
  std::span<const Slot> take_below(std::span<const Slot>& slots, NodeId node) const;
  bool fits(NodeId node, size_t count, Slot any) const {
    return count <= shortlist_max_ || tree_.node(store_.leaf(any)).depth <= tree_.node(node).depth;
  }
  void retire(Part* part);

  const uint32_t shortlist_max_;
  const Store& store_;
  const Tree& tree_;
  Epochs& epochs_;
};

}  // namespace curator
