// One policy of one chain as it was applied: its programs, its configuration, and the state, stores and leases that it takes over from the
// policy of the same chain and name that was in force before. Made by the control thread; shards only read it, but for what says otherwise.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <tuple>

#include "dataplane/engine.h"
#include "dataplane/policy/lease.h"
#include "dataplane/policy/program.h"
#include "dataplane/policy/reply_store.h"
#include "dataplane/policy/state_table.h"
#include "dataplane/policy/token.h"

namespace mrpc::dataplane {

// A compiled program for one policy of one chain, on the methods that it was compiled for. Without a service it fits every method.
struct Binding {
  std::string chain, policy, service, method;
  uint64_t fingerprint = 0;
  std::shared_ptr<const ProgramSpec> spec;
};

// The configuration as a program reads it. Owns what the block points to; neither moves nor changes.
class ConfigBlock {
 public:
  // Errors: kInvalidArgument for a field without a value, or of another type. Values that the program does not have are left out: they
  // were the compiler's.
  static Result<std::unique_ptr<const ConfigBlock>> build(const ProgramSpec& spec, const EngineConfig& values);
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(words_.data()); }
  int64_t integer(uint32_t offset) const;
  double number(uint32_t offset) const;
  std::string_view text(uint32_t offset) const;

 private:
  Status put(const ConfigFieldSpec& field, const ConfigValue& value);
  template <typename T>
  void put_at(uint32_t offset, const T& value);
  std::vector<uint64_t> words_;
  std::deque<std::string> texts_;
  std::deque<std::vector<int64_t>> ints_;
  std::deque<std::vector<mrpc_text>> lists_;
};

struct InstanceScope {
  std::shared_ptr<StateTable> table;  // null for the call's own
  std::shared_ptr<const CellMap> map;
};

class PolicyInstance {
 public:
  using ProgramKey = std::tuple<std::string, std::string, uint64_t>;  // service, method, fingerprint
  using Programs = std::map<ProgramKey, std::shared_ptr<const Program>>;

  // `programs` must agree on all but the object. `before`: the same policy of the set in force, or null. Errors: kInvalidArgument,
  // kFailedPrecondition.
  static Result<std::shared_ptr<PolicyInstance>> make(std::string chain, std::string policy, const EngineConfig& config, Programs programs,
                                                      uint32_t shards, const PolicyInstance* before);

  // Null when there is none for this method.
  std::shared_ptr<const Program> program(std::string_view service, std::string_view method, uint64_t fingerprint) const;
  bool has_program() const { return !programs_.empty(); }
  const Programs& programs() const { return programs_; }
  const std::string& chain() const { return chain_; }
  const std::string& policy() const { return policy_; }
  const ProgramSpec& spec() const { return programs_.begin()->second->spec(); }
  const ConfigBlock& config() const { return *config_; }
  const std::vector<InstanceScope>& scopes() const { return scopes_; }
  const std::vector<uint8_t>& take_order() const { return take_order_; }  // of scopes with a table
  const std::vector<uint16_t>& cells() const { return cells_; }          // mrpc_frame::cells
  const std::vector<uint16_t>& old_cells() const { return old_cells_; }  // mrpc_frame::old_cells
  uint32_t call_cells() const { return call_cells_; }
  uint64_t call_initial(uint32_t cell) const { return call_initials_[cell]; }
  const std::shared_ptr<ReplyStore>& store(size_t index) const { return stores_[index]; }
  LeaseAccount& lease(size_t index) const { return *leases_[index]; }
  // Each shard's own; only that shard may use it. Null when `offset` is no key set.
  TokenVerifier* verifier(uint32_t shard, uint32_t offset) const;

  double number(const std::string& field) const;  // of the configuration; 0 when it is no number
  uint64_t rows() const;
  uint64_t evicted() const;

 private:
  PolicyInstance(std::string chain, std::string policy, Programs programs)
      : chain_(std::move(chain)), policy_(std::move(policy)), programs_(std::move(programs)) {}
  Status build_state(uint32_t shards, const PolicyInstance* before);
  Status build_scope(const StateScopeSpec& scope, bool concurrent, const PolicyInstance* before);
  void place_old_fields();
  Result<uint64_t> initial_of(const StateFieldSpec& field) const;
  void adopt_stores(const PolicyInstance* before);
  Status build_verifiers(uint32_t shards);

  std::string chain_, policy_;
  Programs programs_;
  std::unique_ptr<const ConfigBlock> config_;
  std::vector<InstanceScope> scopes_;
  std::vector<uint8_t> take_order_;
  std::vector<uint16_t> cells_, old_cells_;
  std::vector<uint64_t> call_initials_;
  uint32_t call_cells_ = 0;
  std::vector<std::shared_ptr<ReplyStore>> stores_;
  std::vector<std::shared_ptr<LeaseAccount>> leases_;
  std::map<uint32_t, std::vector<std::unique_ptr<TokenVerifier>>> verifiers_;  // by offset, then shard
};

}  // namespace mrpc::dataplane
