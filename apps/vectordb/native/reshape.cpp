// The shape of the global tree: training, and what writes and maintain() do to keep it good while data drifts.
//
// A leaf that outgrows leaf_max is split in two, beside it under its parent, or below it when the parent is full. A leaf that shrinks
// below leaf_max / 8 is dissolved into its siblings, or the parent becomes a leaf when all below fits half of one. Both are bounded: at most
// a leaf's vectors move. maintain() looks at sub-trees whose content has doubled or halved since they were last looked at, and trains those anew
// whose vectors have moved away from their centroids, large ones over many calls.
#include <algorithm>
#include <random>

#include "index.h"

namespace curator {
namespace {

constexpr uint32_t kIterations = 12, kSampleRows = 256;  // of k-means: rounds, rows a centroid
constexpr uint32_t kTrialRows = 64, kTrialIterations = 4;  // the same when it is only to be seen what it would bring
constexpr float kWorthwhile = 0.93f;  // of the squared distances to centroids must be left at most

std::vector<uint32_t> sample(const std::vector<uint32_t>& rows, size_t count, uint64_t seed) {
  if (rows.size() <= count) return rows;
  std::vector<uint32_t> chosen;
  std::mt19937_64 random(seed);
  std::sample(rows.begin(), rows.end(), std::back_inserter(chosen), count, random);
  return chosen;
}

}  // namespace

// each: how many vectors a row stands for.
void Index::train(NodeId node, const Matrix& matrix, std::vector<uint32_t> rows, Leaves& leaves, uint32_t each) {
  const size_t content = rows.size() * each;
  tree_.node(node).grown = static_cast<uint32_t>(content);
  std::vector<float> centroids;
  if (content > options_.leaf_max && tree_.node(node).depth < kDepthMax) {
    const auto wanted = static_cast<uint32_t>(content / (options_.leaf_max * 3 / 5) + 1);
    const auto told_apart = each == 1 ? wanted : static_cast<uint32_t>(rows.size() / 4);
    const uint32_t k = std::min({options_.branching, wanted, told_apart});
    const uint64_t seed = options_.seed * 0x9E3779B97F4A7C15ull + tree_.node(node).path + rows.size();
    centroids = kmeans(matrix, sample(rows, size_t{kSampleRows} * k, seed), k, kIterations, seed);
  }
  const auto k = static_cast<uint32_t>(centroids.size() / matrix.dim);
  if (k < 2) {
    tree_.node(node).split_at = each == 1 && rows.size() > options_.leaf_max ? static_cast<uint32_t>(2 * rows.size()) : 0;
    leaves.emplace_back(node, std::move(rows));
    return;
  }
  std::vector<std::vector<uint32_t>> members(k);
  const auto centres = pointers(centroids, matrix.dim);
  for (const uint32_t row : rows) members[nearest(centres, matrix.row(row), matrix.dim).which].push_back(row);
  rows = {};
  for (uint32_t c = 0; c < k; ++c) {
    if (members[c].empty()) continue;
    train(tree_.add(node, tree_.free_child(node), centres[c]), matrix, std::move(members[c]), leaves, each);
  }
}

std::vector<float> Index::rows_of(std::span<const Slot> slots) const {
  std::vector<float> rows(slots.size() * options_.dim);
  for (size_t i = 0; i < slots.size(); ++i) store_.load(slots[i], rows.data() + i * options_.dim);
  return rows;
}

// Slots that are about to be moved no longer count where they are.
void Index::detach(std::span<const Slot> slots) {
  for (const Slot slot : slots) tree_.count(store_.leaf(slot), -1);
}

void Index::move(Slot slot, NodeId leaf) {
  const Slot to = tree_.place(leaf);
  store_.copy(slot, to, tree_.centroid(tree_.node(leaf).reference));
  ids_.move(store_.id(slot), to);
  tree_.count(leaf, 1);
  note(to, true);
  retire(slot);
}

void Index::settle() {
  while (!crowded_.empty() || !sparse_.empty()) {
    std::vector<NodeId>& queue = crowded_.empty() ? sparse_ : crowded_;
    const bool splits = &queue == &crowded_;
    const NodeId id = queue.back();
    queue.pop_back();
    if (!tree_.alive(id) || !tree_.node(id).leaf) continue;
    if (splits && tree_.node(id).count > std::max(options_.leaf_max, tree_.node(id).split_at)) split(id);
    if (!splits && tree_.node(id).count < options_.leaf_max / 8 + 1) merge(id);
  }
}

// Where k-means would cut off a few outliers, the leaf is halved along the line between the two centroids.
void Index::split(NodeId leaf) {
  const std::vector<Slot> slots = tree_.slots(leaf);
  const std::vector<float> rows = rows_of(slots);
  const Matrix matrix{rows.data(), options_.dim};
  std::vector<uint32_t> all(slots.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto centroids = kmeans(matrix, all, 2, kIterations, options_.seed + slots.size());
  Node& node = tree_.node(leaf);
  const NodeId above = node.parent;
  const auto siblings = above == kNone ? kFanoutMax : tree_.fanout(above);
  const NodeId parent = siblings + 2 <= kFanoutMax && above != mending_ ? above : leaf;  // mend() wants the room
  if (centroids.size() < 2 * size_t{options_.dim} || tree_.node(parent).depth == kDepthMax) {
    node.split_at = 2 * node.count;  // the rows cannot be told apart, or the tree is at its end
    return;
  }
  std::vector<float> lean(slots.size());
  for (uint32_t i = 0; i < lean.size(); ++i) {
    lean[i] = squared_distance(matrix.row(i), centroids.data(), matrix.dim) - squared_distance(matrix.row(i), centroids.data() + matrix.dim, matrix.dim);
  }
  std::sort(all.begin(), all.end(), [&](uint32_t a, uint32_t b) { return lean[a] < lean[b]; });
  size_t cut = static_cast<size_t>(std::partition_point(all.begin(), all.end(), [&](uint32_t i) { return lean[i] <= 0; }) - all.begin());
  if (std::min(cut, all.size() - cut) < all.size() / 8) cut = all.size() / 2;

  detach(slots);
  const std::span<const uint32_t> halves[2] = {{all.data(), cut}, {all.data() + cut, all.size() - cut}};
  if (parent == leaf) tree_.vacate(leaf);
  for (const auto& half : halves) {
    const auto centre = kmeans(matrix, half, 1, 1, 0);
    const NodeId child = tree_.add(parent, tree_.free_child(parent), centre.data());
    for (const uint32_t i : half) move(slots[i], child);
    crowded_.push_back(child);  // one that had waited for its double may still be
  }
  if (parent != leaf) tree_.remove(leaf);
  else tree_.node(leaf).grown = tree_.node(leaf).count;
  ++leaf_splits_;
}

void Index::merge(NodeId leaf) {
  const NodeId parent = tree_.node(leaf).parent;
  if (parent == kNone) return;
  if (tree_.node(parent).count <= options_.leaf_max / 2) recluster(parent);  // into a leaf
  else dissolve(leaf);
  sparse_.push_back(parent);  // a leaf now, if that was its last child
  ++leaf_merges_;
}

void Index::dissolve(NodeId leaf) {
  const std::vector<Slot> slots = tree_.slots(leaf);
  const NodeId parent = tree_.node(leaf).parent;
  const std::vector<float> rows = rows_of(slots);
  detach(slots);
  tree_.remove(leaf);
  for (size_t i = 0; i < slots.size(); ++i) {
    const NodeId target = tree_.descend(rows.data() + i * options_.dim, parent);
    move(slots[i], target);
    crowded_.push_back(target);
  }
}

void Index::clear_below(NodeId id) {
  const std::vector<NodeId> children = tree_.node(id).children;
  for (const NodeId child : children) {
    if (child == kNone) continue;
    clear_below(child);
    tree_.remove(child);
  }
}

void Index::recluster(NodeId id) {
  const std::vector<Slot> slots = tree_.slots(id);
  const std::vector<float> rows = rows_of(slots);
  detach(slots);
  clear_below(id);
  std::vector<uint32_t> all(slots.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  Leaves leaves;
  train(id, {rows.data(), options_.dim}, std::move(all), leaves);
  for (const auto& [leaf, members] : leaves) {
    for (const uint32_t i : members) move(slots[i], leaf);
  }
}

bool Index::stale(NodeId id) const {
  if (!tree_.alive(id) || tree_.node(id).leaf) return false;
  const Node& node = tree_.node(id);
  if (mending_ != kNone && below(node.path, tree_.node(mending_).path, tree_.node(mending_).depth)) return false;
  return node.count > 2 * node.grown || 2 * node.count < node.grown;
}

// Whether a node's vectors lie so far from its children's centroids, by a sample, that children trained anew would serve them better. One that
// has grown in its place would be trained for nothing: moving its vectors is what costs.
bool Index::worth_training(NodeId id) const {
  const Node& node = tree_.node(id);
  if (node.count < node.grown || node.count <= options_.leaf_max) return true;
  std::vector<Slot> slots = tree_.slots(id);
  const size_t each = slots.size() / (size_t{kTrialRows} * options_.branching) + 1;
  for (size_t i = 0; i * each < slots.size(); ++i) slots[i] = slots[i * each];
  slots.resize((slots.size() + each - 1) / each);
  const std::vector<float> rows = rows_of(slots);
  const Matrix matrix{rows.data(), options_.dim};
  std::vector<uint32_t> all(slots.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  const auto trained = kmeans(matrix, all, options_.branching, kTrialIterations, options_.seed + slots.size());
  const auto centres = pointers(trained, matrix.dim);
  double now = 0, then = 0;
  for (const uint32_t i : all) {
    now += squared_distance(matrix.row(i), tree_.centroid(tree_.ancestor(store_.leaf(slots[i]), node.depth + 1)), matrix.dim);
    then += nearest(centres, matrix.row(i), matrix.dim).distance;
  }
  return then < kWorthwhile * now;
}

// New children of the node, with all that a sample says is to be below them, and empty. False: there is nothing to tell apart.
bool Index::train_beside(NodeId id, uint32_t children) {
  const std::vector<NodeId> old = tree_.node(id).children;
  std::vector<Slot> slots = tree_.slots(id);
  const auto each = static_cast<uint32_t>(slots.size() / (size_t{kSampleRows} * children) + 1);
  for (size_t i = 0; i * each < slots.size(); ++i) slots[i] = slots[i * each];
  slots.resize((slots.size() + each - 1) / each);
  const std::vector<float> rows = rows_of(slots);
  std::vector<uint32_t> all(slots.size());
  for (uint32_t i = 0; i < all.size(); ++i) all[i] = i;
  const uint32_t before = tree_.fanout(id);
  Leaves leaves;
  train(id, {rows.data(), options_.dim}, std::move(all), leaves, each);
  if (tree_.fanout(id) == before) return false;
  for (const NodeId child : old) {
    if (child != kNone) tree_.node(child).draining = true;
  }
  return true;
}

// Moves what is below `from`, up to the budget, to where it belongs below `into`, and takes away what that empties.
uint64_t Index::drain(NodeId from, NodeId into, uint64_t budget) {
  for (uint64_t moved = 0;;) {
    NodeId leaf = from;
    while (!tree_.node(leaf).leaf) leaf = *std::ranges::find_if(tree_.node(leaf).children, [](NodeId child) { return child != kNone; });
    std::vector<Slot> slots = tree_.slots(leaf);
    slots.resize(std::min<size_t>(slots.size(), budget - moved));
    const std::vector<float> rows = rows_of(slots);
    detach(slots);
    for (size_t i = 0; i < slots.size(); ++i) {
      const NodeId target = tree_.descend(rows.data() + i * options_.dim, into);
      move(slots[i], target);
      crowded_.push_back(target);
      settle();
    }
    moved += slots.size();
    if (tree_.node(leaf).count == 0) tree_.remove(leaf);
    if (leaf == from || moved == budget) return moved;
  }
}

// A node larger than the budget is clustered anew in steps: it gets new children, trained on a sample, and what is below the old ones moves
// to them. If there is no room for as many, the smallest of the old ones are emptied into the others first. A search finds by centroids
// what is below either.
uint64_t Index::mend(uint64_t budget) {
  const NodeId id = mending_;
  const uint32_t wanted = std::min(options_.branching, kFanoutMax / 2);
  const auto draining = [this](NodeId child) { return child == kNone || tree_.node(child).draining; };
  if (trained_ && std::ranges::all_of(tree_.node(id).children, draining)) {  // the new ones are gone again
    trained_ = false;
    for (const NodeId child : tree_.node(id).children) {
      if (child != kNone) tree_.node(child).draining = false;
    }
  }
  if (!trained_ && tree_.fanout(id) + wanted <= kFanoutMax) {
    trained_ = true;
    if (!train_beside(id, wanted)) return mended(id), 0;
  }
  std::vector<NodeId> old;
  for (const NodeId child : tree_.node(id).children) {
    if (child != kNone && (!trained_ || tree_.node(child).draining)) old.push_back(child);
  }
  if (!trained_) {
    std::ranges::sort(old, {}, [this](NodeId child) { return tree_.node(child).count; });
    old.resize(tree_.fanout(id) + wanted - kFanoutMax);
    for (const NodeId child : old) tree_.node(child).draining = true;
  }
  uint64_t moved = 0;
  for (size_t i = 0; i < old.size() && moved < budget; ++i) moved += drain(old[i], id, budget - moved);
  if (trained_ && (old.empty() || !tree_.alive(old.back()))) mended(id);
  return moved;
}

void Index::mended(NodeId id) {
  Node& node = tree_.node(id);
  if (id == mending_) mending_ = kNone, trained_ = false, ++reclusters_;
  node.grown = node.count;
  if (node.leaf) return sparse_.push_back(id);
  for (const NodeId child : std::vector(node.children)) {
    if (child != kNone) mended(child);
  }
}

// The smallest first: it is the cheapest. One beyond the budget takes what is left of it, and is gone on with next time.
bool Index::maintain(uint64_t budget) {
  const std::lock_guard lock(writer_);
  if (half_done_) return false;
  half_done_ = true;
  if (mending_ != kNone && (!tree_.alive(mending_) || tree_.node(mending_).leaf)) mending_ = kNone, trained_ = false;
  budget = std::max<uint64_t>(budget, 1);
  for (uint64_t moved = 0;;) {
    NodeId best = kNone;
    for (NodeId id = 0; id < tree_.capacity(); ++id) {
      if (stale(id) && (best == kNone || tree_.node(id).count < tree_.node(best).count)) best = id;
    }
    if (best == kNone && mending_ == kNone) {
      commit();
      return false;
    }
    if (best != kNone && !worth_training(best)) {
      tree_.node(best).grown = tree_.node(best).count;
      moved += kTrialRows * options_.branching / 4;  // so long did it take
      if (moved >= budget) {
        commit();
        return true;
      }
    } else if (best != kNone && moved + tree_.node(best).count <= budget) {
      moved += tree_.node(best).count;
      recluster(best);
      ++reclusters_;
    } else {
      if (mending_ == kNone && tree_.node(best).count > budget) mending_ = best;
      if (mending_ != kNone && moved < budget) mend(budget - moved), settle();
      commit();
      return true;
    }
  }
}

}  // namespace curator
