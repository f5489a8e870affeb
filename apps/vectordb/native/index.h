// The index: vectors stored once, each tenant's view of them a tree of its own.
//
// Who writes what, when. A change takes the writer's lock, checks all of its arguments, and then works as one batch: slots are written and
// retired, access sets changed, leaves split or merged, and what this means for tenants is noted as edits. commit() makes new trees of
// them, publishes the roots of all changed tenants, and advances the epoch. A reader holds an Epochs::Guard (read()) for as long as it uses
// slots, nodes or parts; what it loads by seen_by() is one tenant at one moment. It takes no lock and never waits for the writer.
//
// A vector that moves has another slot from then on, so trees of two moments do not agree on where it is. Whoever needs several tenants
// loads them by roots(): the writer holds published_ odd while it stores the roots of a batch, and what was loaded between two looks that
// found the same even number is of one moment. Where publishing never pauses, publishing_ makes it.
//
// From its first change to the end of commit() a batch is half done. If memory runs out there, it stays so: readers go on with what is published,
// since nothing that they know is dropped any more, and all changes, cut() and check() are refused.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "codes.h"
#include "crew.h"
#include "epoch.h"
#include "hash_index.h"
#include "kmeans.h"
#include "stop.h"
#include "store.h"
#include "tenant.h"
#include "tree.h"
#include "types.h"

namespace curator {

using mrpc::Error;
using mrpc::Result;
using mrpc::Status;

struct Tenant {
  TenantId id = 0;
  std::atomic<Part*> root{nullptr};
  std::atomic<bool> unloaded{false};
  std::atomic<uint32_t> count{0};  // vectors that it may see, unloaded or not
  std::atomic<uint64_t> changed{0};  // another after every change; set after the root
};

Error unloaded_error(TenantId id);

// A slot that a tenant sees from the end of this batch on, or no longer.
struct Edit {
  TenantId tenant;
  Slot slot;
  Path path;  // of the slot
  bool comes;
};

struct Stats {
  size_t vectors, grants, tenants, unloaded, nodes, leaves, shortlists, depth, leaf_splits, leaf_merges, reclusters, waiting;
  size_t bytes_vectors, bytes_codes, bytes_ids, bytes_access, bytes_tree, bytes_tenants;
};

class Index;

// The index as of one moment, to be saved while it changes. What it needs of the index waits for it to go.
class Cut {
 public:
  Status save(const std::string& path) const;

 private:
  friend class Index;
  explicit Cut(const Index& index);
  void add_node(NodeId id, uint32_t child);

  const Index& index_;
  const Epochs::Guard guard_;
  std::string tree_;               // the section of the image
  std::vector<Slot> slots_;        // in the order of leaves
  std::vector<uint32_t> access_;   // for each of them: how many, and who
  std::vector<TenantId> unloaded_;
  std::string learnt_;
};

class Index {
 public:
  explicit Index(const Options& options);
  ~Index();
  static Status check_options(const Options& options);

  // Changes. `rows` are ids.size() vectors of dim float32; arguments are checked before anything changes.
  Status build(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners, std::span<const VectorId> grant_ids,
               std::span<const TenantId> grant_tenants);
  Status insert(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners);
  Status update(std::span<const VectorId> ids, const float* rows);
  Status remove(std::span<const VectorId> ids);
  Result<uint64_t> grant(std::span<const VectorId> ids, std::span<const TenantId> tenants);
  Result<uint64_t> revoke(std::span<const VectorId> ids, std::span<const TenantId> tenants);
  Result<uint64_t> drop_tenant(TenantId tenant);
  bool maintain(uint64_t budget);

  // Readers': under a guard of read().
  Epochs::Guard read() const { return Epochs::Guard(epochs_); }
  const Options& options() const { return options_; }
  const Store& store() const { return store_; }
  const Tree& tree() const { return tree_; }
  const Codec& codec() const { return codec_; }
  const Parts& parts() const { return parts_; }
  Stops& stops() const { return stops_; }
  Crew& crew() const { return crew_; }                                 // for batches of searches
  template <typename F>
  bool each_tenant(bool wait, F&& visit) const {  // visit(const Tenant&); false: a writer is at work, and it was not to wait
    std::unique_lock lock(writer_, std::defer_lock);
    if (wait) lock.lock();
    else if (!lock.try_lock()) return false;
    for (uint32_t record = 0; record < tenants_used_; ++record) {
      if (tenant_records_[record].count > 0) visit(tenant_records_[record]);
    }
    return true;
  }
  Slot find(VectorId id) const { return ids_.find(id); }               // kNone: unknown
  const Tenant* tenant(TenantId id) const;                             // nullptr: never heard of, or holds nothing
  Result<const Part*> seen_by(TenantId id) const;                      // its tree, nullptr for nothing; an error for an unloaded tenant
  // The trees of these tenants at one moment, nullptr for nothing; an error where one is unloaded.
  Status roots(std::span<const TenantId> ids, std::vector<const Part*>& roots) const;
  const Part* root(const Tenant& tenant) const { return tenant.root.load(std::memory_order_seq_cst); }
  uint64_t version() const { return epochs_.now(); }                   // another after every change
  size_t size() const { return ids_.size(); }
  uint64_t pairs() const { return pairs_.load(std::memory_order_relaxed); }  // of a tenant and a vector that it may see
  Status prepare_query(const float* vector, float* out) const;         // checked; normalised under cosine

  Result<std::vector<VectorId>> ids(TenantId tenant, std::optional<VectorId> after, size_t limit) const;  // ascending
  Result<std::vector<uint8_t>> rows(std::span<const VectorId> ids) const;                                 // as stored

  // Reads that take the writer's lock.
  Result<TenantId> owner(VectorId id) const;
  Result<std::vector<TenantId>> tenants(VectorId id) const;
  Result<std::vector<float>> centroid(NodeId node) const;
  Stats stats() const;
  Status check() const;

  // Tenants that rest, and the whole on disk.
  Result<std::string> unload(TenantId tenant);
  Status reload(TenantId tenant, std::string_view blob);
  Result<std::unique_ptr<Cut>> cut() const;
  static Result<std::unique_ptr<Index>> load(const std::string& path);
  static Result<std::unique_ptr<Index>> from_image(std::string_view image);

 private:
  friend class Checker;
  friend class Cut;
  friend class Image;
  struct IdOf { const Store* store; uint64_t operator()(uint32_t slot) const { return store->id(slot); } };
  using Tenants = Segmented<Tenant, 64, 1u << 20>;
  struct TenantOf { const Tenants* tenants; uint64_t operator()(uint32_t index) const { return (*tenants)[index].id; } };

  // Arguments. Rows come out as they are stored, normalised into `space` where the metric asks for it.
  Result<const float*> check_rows(size_t count, const float* rows, std::vector<float>& space) const;
  Status check_new(std::span<const VectorId> ids, std::span<const TenantId> owners) const;
  Result<std::vector<Slot>> check_known(std::span<const VectorId> ids) const;
  Status check_loaded(std::span<const TenantId> tenants) const;

  Status build_locked(std::span<const VectorId> ids, const float* rows, std::span<const TenantId> owners, std::span<const VectorId> grant_ids,
                      std::span<const TenantId> grant_tenants);

  // A batch.
  Status check_whole() const;  // an error: an earlier batch is half done
  void put(VectorId id, const float* row, std::span<const TenantId> access, NodeId leaf);
  void take_out(Slot slot);
  Slot place(VectorId id, const float* row, std::span<const TenantId> access, NodeId leaf);  // put() but for the id map
  void displace(Slot slot);                                                                 // take_out() but for the id map
  void retire(Slot slot);
  void note(Slot slot, bool comes);  // for everybody who sees it
  void note(TenantId tenant, Slot slot, bool comes) { edits_.push_back({tenant, slot, store_.path(slot), comes}); }
  void commit();
  struct Made { uint32_t record; Part* root; uint32_t count; };  // a tenant's next tree
  Made apply(TenantId id, std::span<const Edit> edits);
  void publish(std::span<const Made> made);
  // What every tenant sees, by record, in the store's order, to publish all at once.
  using Seen = std::vector<std::vector<Slot>>;
  bool see(TenantId tenant, Slot slot, Seen& seen);  // false: it was the last that this tenant was noted to see
  void publish_all(const Seen& seen);
  uint32_t record_of(TenantId id);   // made where there is none
  void forget(uint32_t record);

  // The shape of the tree (reshape.cpp).
  using Leaves = std::vector<std::pair<NodeId, std::vector<uint32_t>>>;  // rows by leaf, in the order of paths
  void train(NodeId node, const Matrix& matrix, std::vector<uint32_t> rows, Leaves& leaves, uint32_t each = 1);
  std::vector<float> rows_of(std::span<const Slot> slots) const;
  void detach(std::span<const Slot> slots);
  void move(Slot slot, NodeId leaf);
  void settle();                     // splits what is crowded, merges what is sparse
  void split(NodeId leaf);
  void merge(NodeId leaf);
  void dissolve(NodeId leaf);
  void recluster(NodeId node);
  void clear_below(NodeId node);
  bool stale(NodeId node) const;
  bool worth_training(NodeId node) const;
  uint64_t mend(uint64_t budget);
  bool train_beside(NodeId node, uint32_t children);
  uint64_t drain(NodeId from, NodeId into, uint64_t budget);
  void mended(NodeId node);

  const Options options_;
  const Codec codec_;
  mutable Epochs epochs_;
  Store store_;
  Tree tree_;
  Parts parts_;
  HashIndex<IdOf> ids_;
  Tenants tenant_records_;
  HashIndex<TenantOf> tenants_;
  mutable std::mutex writer_;
  mutable std::mutex publishing_;         // held while roots are stored; nothing else is waited for under it
  std::atomic<uint64_t> published_{0};    // odd while roots are stored
  std::atomic<uint64_t> pairs_{0};
  mutable Stops stops_;
  mutable Crew crew_;
  bool half_done_ = false;                // from the first change of a batch to its commit()
  std::vector<Edit> edits_;               // of this batch
  std::vector<uint32_t> free_tenants_;
  uint32_t tenants_used_ = 0;
  std::vector<NodeId> crowded_, sparse_;  // leaves to look at before the batch ends
  NodeId mending_ = kNone;                // an inner node whose content moves to new children, over several batches
  bool trained_ = false;                  // it has them
  size_t leaf_splits_ = 0, leaf_merges_ = 0, reclusters_ = 0;
};

}  // namespace curator
