#include "tree.h"

#include <algorithm>

#include "kmeans.h"

namespace curator {

Tree::Tree(const Options& options, Store& store, Epochs& epochs) : dim_(options.dim), store_(store), epochs_(epochs) {
  add(kNone, 0, std::vector<float>(dim_).data());
}

NodeId Tree::add(NodeId parent, uint32_t child, const float* centroid) {
  NodeId id = nodes_used_;
  if (!free_nodes_.empty()) {
    id = free_nodes_.back();
    free_nodes_.pop_back();
  } else {
    if (id == nodes_.capacity()) nodes_.grow(), centroids_.grow(), centroids_[id / kRowsPerBlock].reset(new float[size_t{kRowsPerBlock} * dim_]);
    alive_.push_back(false);
    ++nodes_used_;
  }
  alive_[id] = true;
  Node& node = nodes_[id] = Node{};
  std::copy_n(centroid, dim_, centroids_[id / kRowsPerBlock].get() + size_t{id % kRowsPerBlock} * dim_);
  node.parent = parent;
  if (parent == kNone) return id;
  Node& above = nodes_[parent];
  MRPC_ASSERT(child < kFanoutMax && above.depth < kDepthMax);
  node.depth = above.depth + 1;
  node.path = extend(above.path, above.depth, child);
  node.reference = parent == kRoot ? id : above.reference;
  above.leaf = false;
  if (above.children.size() <= child) above.children.resize(child + 1, kNone);
  MRPC_ASSERT(above.children[child] == kNone);
  above.children[child] = id;
  return id;
}

void Tree::remove(NodeId id) {
  Node& node = nodes_[id];
  MRPC_ASSERT(id != kRoot && node.count == 0);
  vacate(id);
  Node& above = nodes_[node.parent];
  above.children[step(node.path, above.depth)] = kNone;
  if (std::all_of(above.children.begin(), above.children.end(), [](NodeId child) { return child == kNone; })) {
    above.children = {};
    above.leaf = true;
  }
  alive_[id] = false;
  epochs_.retire(drop_node, this, id);
}

void Tree::vacate(NodeId id) {
  for (const uint32_t chunk : nodes_[id].chunks) store_.orphan(chunk);
  nodes_[id].chunks = {};
  nodes_[id].free_lanes = 0;
}

void Tree::drop_node(void* tree, uint64_t id) { static_cast<Tree*>(tree)->free_nodes_.push_back(static_cast<NodeId>(id)); }

NodeId Tree::nearest_child(NodeId id, const float* vector) const {
  NodeId children[kFanoutMax];
  const float* centroids[kFanoutMax];
  size_t count = 0;
  for (const bool any : {false, true}) {  // any: for once all are draining
    for (const NodeId child : nodes_[id].children) {
      if (child != kNone && (any || !nodes_[child].draining)) children[count] = child, centroids[count++] = centroid(child);
    }
    if (count > 0) break;
  }
  return children[nearest({centroids, count}, vector, dim_).which];
}

uint32_t Tree::fanout(NodeId id) const {
  const auto& children = nodes_[id].children;
  return static_cast<uint32_t>(children.size() - static_cast<size_t>(std::count(children.begin(), children.end(), kNone)));
}

uint32_t Tree::free_child(NodeId id) const {
  const auto& children = nodes_[id].children;
  return static_cast<uint32_t>(std::find(children.begin(), children.end(), kNone) - children.begin());
}

NodeId Tree::descend(const float* vector, NodeId id) const {
  while (!nodes_[id].leaf) id = nearest_child(id, vector);
  return id;
}

Slot Tree::place(NodeId leaf) {
  Node& node = nodes_[leaf];
  MRPC_ASSERT(node.leaf);
  if (!node.chunks.empty()) {
    const Slot slot = store_.take(node.chunks.back());
    if (slot != kNone) return slot;
  }
  if (node.free_lanes > 0) {
    for (const uint32_t chunk : node.chunks) {
      const Slot slot = store_.take(chunk);
      if (slot != kNone) return --node.free_lanes, slot;
    }
  }
  const uint32_t chunk = store_.take_chunk(leaf, node.path);
  node.free_lanes = 0;
  node.chunks.push_back(chunk);
  return store_.take(chunk);
}

void Tree::gone(Slot slot) {
  const uint32_t chunk = slot / kChunk;
  const bool orphan = store_.orphaned(chunk), emptied = store_.release(slot);
  if (orphan) return;
  Node& node = nodes_[store_.leaf(slot)];
  ++node.free_lanes;
  if (!emptied) return;
  node.chunks.erase(std::find(node.chunks.begin(), node.chunks.end(), chunk));
  store_.free_chunk(chunk);
}

void Tree::count(NodeId leaf, int32_t change) {
  for (NodeId id = leaf; id != kNone; id = nodes_[id].parent) nodes_[id].count += static_cast<uint32_t>(change);
}

std::vector<Slot> Tree::slots(NodeId id) const {
  std::vector<Slot> slots;
  const Node& node = nodes_[id];
  if (node.leaf) {
    for (const uint32_t chunk : node.chunks) store_.each_live(chunk, [&](Slot slot) { slots.push_back(slot); });
    std::sort(slots.begin(), slots.end());
  }
  for (const NodeId child : node.children) {
    if (child == kNone) continue;
    const auto more = this->slots(child);
    slots.insert(slots.end(), more.begin(), more.end());
  }
  return slots;
}

size_t Tree::bytes() const {
  size_t bytes = nodes_.capacity() * (sizeof(Node) + size_t{dim_} * sizeof(float));
  for (NodeId id = 0; id < nodes_used_; ++id) {
    bytes += nodes_[id].chunks.capacity() * sizeof(uint32_t) + nodes_[id].children.capacity() * sizeof(NodeId);
  }
  return bytes;
}

}  // namespace curator
