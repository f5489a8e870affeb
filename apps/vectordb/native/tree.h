// The global clustering tree: one for all tenants. It says where in space a vector belongs; who may see it is the tenants' trees' matter.
//
// What readers use of a node (path, parent, depth, reference, centroid) is written before the node is published and never changes; a
// node's id is used again only after readers have left. A leaf may become an inner node, an inner node a leaf; the rest is the writer's.
#pragma once

#include <span>
#include <vector>

#include "epoch.h"
#include "segmented.h"
#include "store.h"
#include "types.h"

namespace curator {

inline constexpr NodeId kRoot = 0;

struct Node {
  Path path = 0;
  NodeId parent = kNone;
  NodeId reference = kRoot;  // ancestor of depth 1 (the root's is the root) to whose centroid codes below are relative
  uint32_t depth = 0;

  // The writer's.
  bool leaf = true;
  uint32_t count = 0;                 // vectors in it or below
  uint32_t split_at = 0;              // a leaf: the count from which it is split
  uint32_t grown = 0;                 // an inner node: its count when its children were last clustered
  bool draining = false;              // its vectors are moving to its siblings: nothing comes to it any more
  uint32_t free_lanes = 0;            // a leaf: lanes to use again in chunks other than the last
  std::vector<uint32_t> chunks;       // a leaf's
  std::vector<NodeId> children;       // an inner node's, by child index; kNone where there is none
};

class Tree {
 public:
  Tree(const Options& options, Store& store, Epochs& epochs);

  // Readers'.
  const Node& node(NodeId id) const { return nodes_[id]; }
  const float* centroid(NodeId id) const { return centroids_[id / kRowsPerBlock].get() + size_t{id % kRowsPerBlock} * dim_; }
  NodeId ancestor(NodeId id, uint32_t depth) const {
    while (nodes_[id].depth > depth) id = nodes_[id].parent;
    return id;
  }

  // The writer's.
  Node& node(NodeId id) { return nodes_[id]; }
  NodeId add(NodeId parent, uint32_t child, const float* centroid);   // a leaf
  void remove(NodeId id);                                             // an empty leaf or an inner node without children
  NodeId descend(const float* vector, NodeId from = kRoot) const;     // the leaf where it belongs
  uint32_t fanout(NodeId id) const;
  uint32_t free_child(NodeId id) const;                               // an index that no child has
  NodeId nearest_child(NodeId id, const float* vector) const;
  Slot place(NodeId leaf);                                            // a slot in it
  void vacate(NodeId id);                                             // a leaf without live slots lets go of its chunks
  void gone(Slot slot);                                               // a slot was released by the epochs
  void count(NodeId leaf, int32_t change);                            // of vectors, up to the root
  std::vector<Slot> slots(NodeId id) const;                           // live ones below, in the order of leaves
  uint32_t nodes() const { return nodes_used_ - static_cast<uint32_t>(free_nodes_.size()); }
  uint32_t capacity() const { return nodes_used_; }
  bool alive(NodeId id) const { return id < nodes_used_ && alive_[id]; }
  size_t bytes() const;

 private:
  static constexpr uint32_t kRowsPerBlock = 64, kNodesPerBlock = 64, kBlocks = 1u << 20;
  static void drop_node(void* tree, uint64_t id);

  const uint32_t dim_;
  Store& store_;
  Epochs& epochs_;
  Segmented<Node, kNodesPerBlock, kBlocks> nodes_;
  Segmented<std::unique_ptr<float[]>, 1, kBlocks> centroids_;
  std::vector<NodeId> free_nodes_;
  std::vector<bool> alive_;
  uint32_t nodes_used_ = 0;
};

}  // namespace curator
