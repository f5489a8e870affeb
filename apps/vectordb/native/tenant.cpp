#include "tenant.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace curator {
namespace {

constexpr size_t kChildrenAt = 16;

template <typename T>
Part* make(NodeId node, uint32_t count, uint32_t fanout, size_t at, std::span<const T> content) {
  auto* part = static_cast<Part*>(std::malloc(at + content.size_bytes()));
  if (part == nullptr) throw std::bad_alloc();
  *part = {count, node, fanout};
  std::memcpy(reinterpret_cast<char*>(part) + at, content.data(), content.size_bytes());
  return part;
}

Part* make_list(NodeId node, std::span<const Slot> slots) { return make(node, static_cast<uint32_t>(slots.size()), 0, sizeof(Part), slots); }

Part* make_inner(NodeId node, std::span<const Child> children) {
  uint32_t count = 0;
  for (const Child& child : children) count += child.count;
  return make(node, count, static_cast<uint32_t>(children.size()), kChildrenAt, children);
}

}  // namespace

std::vector<Slot> slots_of(const Part* part) {
  std::vector<Slot> slots;
  if (part != nullptr) slots.reserve(part->count);
  each_list(part, [&](const Part& list) { slots.insert(slots.end(), list.list().begin(), list.list().end()); });
  return slots;
}

// Cuts off the front of `slots` what lies below the node.
std::span<const Slot> Parts::take_below(std::span<const Slot>& slots, NodeId node) const {
  const Node& top = tree_.node(node);
  const auto inside = [&](Slot slot) { return below(store_.path(slot), top.path, top.depth); };
  const auto end = std::partition_point(slots.begin(), slots.end(), inside);
  const std::span<const Slot> front(slots.begin(), end);
  slots = {end, slots.end()};
  return front;
}

Part* Parts::build(NodeId node, std::span<const Slot> slots) const {
  if (slots.empty()) return nullptr;
  if (fits(node, slots.size(), slots.front())) return make_list(node, slots);
  Child children[kFanoutMax];
  uint32_t fanout = 0;
  while (!slots.empty()) {
    const NodeId next = tree_.ancestor(store_.leaf(slots.front()), tree_.node(node).depth + 1);
    Part* const part = build(next, take_below(slots, next));
    children[fanout++] = {part, next, part->count};
  }
  return make_inner(node, {children, fanout});
}

void Parts::free_tree(Part* part) {
  if (part == nullptr) return;
  for (const Child& child : part->parts()) free_tree(child.part);
  std::free(part);
}

bool Parts::holds(const Part* part, Slot slot) const {
  if (part == nullptr) return false;
  if (part->is_list()) {
    return std::binary_search(part->list().begin(), part->list().end(), slot, [this](Slot a, Slot b) { return store_.before(a, b); });
  }
  const NodeId next = tree_.ancestor(store_.leaf(slot), tree_.node(part->node).depth + 1);
  for (const Child& child : part->parts()) {
    if (child.node == next) return holds(child.part, slot);
  }
  return false;
}

Part* Parts::change(Part* part, NodeId node, std::span<const Slot> gone, std::span<const Slot> come) {
  if (part == nullptr) {
    MRPC_ASSERT(gone.empty());
    return build(node, come);
  }
  if (gone.empty() && come.empty()) return part;
  const size_t count = part->count - gone.size() + come.size();
  const bool to_list = !come.empty() && fits(node, count, come.front());
  if (!part->is_list() && gone.size() < part->count && count > shortlist_max_ && !to_list) return change_children(part, node, gone, come);

  std::vector<Slot> kept, now;
  kept.reserve(part->count), now.reserve(count);
  each_list(part, [&, rest = gone](const Part& list) mutable {
    for (const Slot slot : list.list()) {
      if (!rest.empty() && slot == rest.front()) rest = rest.subspan(1);
      else kept.push_back(slot);
    }
  });
  auto from = kept.begin();
  for (const Slot slot : come) {
    const auto to = std::lower_bound(from, kept.end(), slot, [this](Slot a, Slot b) { return store_.before(a, b); });
    now.insert(now.end(), from, to);
    now.push_back(slot);
    from = to;
  }
  now.insert(now.end(), from, kept.end());
  MRPC_ASSERT(now.size() == count);
  retire_tree(part);
  return build(node, now);
}

// Only children with changes are looked at; the others are copied as they are. A removed node's place among its siblings may already be
// another's, which is why children are known by node, and paths only tell where a new one goes.
Part* Parts::change_children(Part* part, NodeId node, std::span<const Slot> gone, std::span<const Slot> come) {
  const uint32_t depth = tree_.node(node).depth + 1;
  std::vector<Child> children(part->parts().begin(), part->parts().end());
  while (!gone.empty() || !come.empty()) {
    const NodeId next_gone = gone.empty() ? kNone : tree_.ancestor(store_.leaf(gone.front()), depth);
    const NodeId next_come = come.empty() ? kNone : tree_.ancestor(store_.leaf(come.front()), depth);
    const bool gone_first = next_come == kNone || (next_gone != kNone && tree_.node(next_gone).path <= tree_.node(next_come).path);
    const NodeId next = gone_first ? next_gone : next_come;
    const auto gone_there = next == next_gone ? take_below(gone, next) : std::span<const Slot>();
    const auto come_there = next == next_come ? take_below(come, next) : std::span<const Slot>();
    auto at = std::find_if(children.begin(), children.end(), [next](const Child& child) { return child.node == next; });
    if (at == children.end()) {
      const Path path = tree_.node(next).path;
      at = std::find_if(children.begin(), children.end(), [&](const Child& child) { return tree_.node(child.node).path >= path; });
      at = children.insert(at, {nullptr, next, 0});
    }
    at->part = change(at->part, next, gone_there, come_there);
    at->count = at->part == nullptr ? 0 : at->part->count;
  }
  std::erase_if(children, [](const Child& child) { return child.part == nullptr; });
  retire(part);
  return make_inner(node, children);
}

void Parts::retire(Part* part) {
  epochs_.retire([](void*, uint64_t what) { std::free(reinterpret_cast<void*>(what)); }, nullptr, reinterpret_cast<uint64_t>(part));
}

void Parts::retire_tree(Part* part) {
  if (part == nullptr) return;
  for (const Child& child : part->parts()) retire_tree(child.part);
  retire(part);
}

}  // namespace curator
