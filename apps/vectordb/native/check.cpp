// The invariants, each looked at from the data that it does not rest on: tenants' trees are compared with access sets, counts with live slots.
#include <algorithm>
#include <map>

#include "index.h"

namespace curator {

class Checker {
 public:
  explicit Checker(const Index& index) : index_(index), store_(index.store_), tree_(index.tree_) {}

  Status run() {
    owner_.assign(store_.chunks(), kNone);
    if (Status tree = check_node(kRoot); !tree) return tree;
    uint32_t found = 0;
    for (NodeId id = 0; id < tree_.capacity(); ++id) found += tree_.alive(id);
    if (found != nodes_) return fail("a node is alive that the root does not lead to");
    for (uint32_t chunk = 0; chunk < store_.chunks(); ++chunk) {
      if (owner_[chunk] == kNone && store_.live(chunk) != 0) return fail("chunk " + std::to_string(chunk) + " holds vectors and belongs to no leaf");
    }
    if (vectors_ != index_.ids_.size()) return fail("the tree counts other vectors than the id map");
    return check_tenants();
  }

 private:
  static Status fail(std::string text) { return mrpc::internal_error(std::move(text)); }

  Status check_node(NodeId id) {
    const Node& node = tree_.node(id);
    const auto bad = [&](const char* text) { return fail("node " + std::to_string(id) + ": " + text); };
    if (!tree_.alive(id)) return bad("is linked, but not alive");
    ++nodes_;
    if (node.leaf) return check_leaf(id);
    if (!node.chunks.empty()) return bad("is inner, and has chunks");
    uint64_t below_it = 0;
    for (uint32_t child = 0; child < node.children.size(); ++child) {
      if (node.children[child] == kNone) continue;
      const Node& under = tree_.node(node.children[child]);
      if (under.parent != id || under.depth != node.depth + 1) return bad("has a child that does not know it");
      if (under.path != extend(node.path, node.depth, child)) return bad("has a child on another path");
      if (under.reference != (id == kRoot ? node.children[child] : node.reference)) return bad("has a child with another reference");
      if (Status good = check_node(node.children[child]); !good) return good;
      below_it += under.count;
    }
    if (tree_.fanout(id) == 0) return bad("is inner, and has no children");
    return below_it == node.count ? mrpc::ok_status() : bad("miscounts what is below it");
  }

  Status check_leaf(NodeId id) {
    const Node& leaf = tree_.node(id);
    const auto bad = [&](const char* text) { return fail("leaf " + std::to_string(id) + ": " + text); };
    if (!leaf.children.empty()) return bad("has children");
    uint32_t live = 0;
    for (const uint32_t chunk : leaf.chunks) {
      if (chunk >= owner_.size() || owner_[chunk] != kNone) return bad("shares a chunk");
      owner_[chunk] = id;
      if (store_.leaf(chunk * kChunk) != id || store_.path(chunk * kChunk) != leaf.path || store_.orphaned(chunk)) return bad("has a chunk that is not its own");
      if ((store_.live(chunk) & store_.waiting(chunk)) != 0) return bad("has a lane both live and waiting");
      live += static_cast<uint32_t>(std::popcount(store_.live(chunk)));
    }
    if (live != leaf.count) return bad("miscounts its vectors");
    vectors_ += live;
    if (live > std::max(index_.options_.leaf_max, leaf.split_at)) return bad("should have been split");
    for (const Slot slot : tree_.slots(id)) {
      if (Status good = check_slot(slot); !good) return good;
    }
    return mrpc::ok_status();
  }

  Status check_slot(Slot slot) {
    const auto bad = [&](const char* text) { return fail("slot " + std::to_string(slot) + " of vector " + std::to_string(store_.id(slot)) + ": " + text); };
    if (index_.ids_.find(store_.id(slot)) != slot) return bad("the id map says otherwise");
    const auto set = store_.access(slot).of(slot % kChunk);
    if (set.empty()) return bad("has no owner");
    std::vector<TenantId> sorted(set.begin(), set.end());
    std::sort(sorted.begin(), sorted.end());
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) return bad("names a tenant twice");
    for (const TenantId tenant : sorted) seen_[tenant].push_back(slot);
    return mrpc::ok_status();
  }

  Status check_tenants() {
    for (auto& [id, slots] : seen_) {
      const Tenant* known = index_.tenant(id);
      const auto bad = [id = id](const char* text) { return fail("tenant " + std::to_string(id) + ": " + text); };
      if (known == nullptr) return bad("is not known, but may see vectors");
      if (known->count != slots.size()) return bad("is counted wrongly");
      if (known->unloaded) continue;
      std::sort(slots.begin(), slots.end(), [this](Slot a, Slot b) { return store_.before(a, b); });
      const Part* root = index_.root(*known);
      std::span<const Slot> rest(slots);
      if (root == nullptr || root->node != kRoot || !same(*root, rest) || !rest.empty()) return bad("its tree is not what its grants make");
    }
    for (uint32_t record = 0; record < index_.tenants_used_; ++record) {
      const Tenant& known = index_.tenant_records_[record];
      if (index_.tenants_.find(known.id) != record || known.count == 0) continue;
      if (!seen_.contains(known.id)) return fail("tenant " + std::to_string(known.id) + " sees what is not there");
    }
    return mrpc::ok_status();
  }

  // Takes the part's slots off the front of `rest`, if the part is as it should be.
  bool same(const Part& part, std::span<const Slot>& rest) const {
    if (part.count == 0 || part.count > rest.size() || !tree_.alive(part.node)) return false;
    const Node& node = tree_.node(part.node);
    const auto mine = rest.first(part.count);
    if (!std::all_of(mine.begin(), mine.end(), [&](Slot slot) { return below(store_.path(slot), node.path, node.depth); })) return false;
    if (part.is_list() != (part.count <= index_.options_.shortlist_max || node.leaf)) return false;
    if (part.is_list()) {
      rest = rest.subspan(part.count);
      return std::equal(mine.begin(), mine.end(), part.list().begin());
    }
    uint32_t count = 0;
    for (const Child& child : part.parts()) {
      count += child.count;
      if (child.part->node != child.node || child.part->count != child.count || tree_.node(child.node).parent != part.node) return false;
      if (!same(*child.part, rest)) return false;
    }
    return count == part.count;
  }

  const Index& index_;
  const Store& store_;
  const Tree& tree_;
  std::vector<NodeId> owner_;  // of chunks
  std::map<TenantId, std::vector<Slot>> seen_;
  uint32_t nodes_ = 0;
  size_t vectors_ = 0;
};

Status Index::check() const {
  const std::lock_guard lock(writer_);
  const Status whole = check_whole();
  return whole ? Checker(*this).run() : whole;
}

}  // namespace curator
