// A compiled policy program as an engine: one policy on one route of one shard.
#pragma once

#include <span>

#include "dataplane/engine.h"
#include "dataplane/policy/instance.h"
#include "message/field_path.h"

namespace mrpc::dataplane {

// A field that a program may change.
struct FieldWrite {
  message::FieldPath path;
  bool of_reply = false;
  bool text = false;
};

// The calls of one client to one method, as chains select them.
struct RouteInfo {
  std::string_view client, service, method;
};

class ProgramEngine final : public Engine {
 public:
  // Errors: kFailedPrecondition when a field that the program changes is not in the messages of `method`.
  static Result<std::unique_ptr<Engine>> make(std::shared_ptr<const PolicyInstance> instance, std::shared_ptr<const Program> program,
                                              const RouteInfo& route, const message::MethodLayout& method, uint32_t shard);

  Action on_request(JudgedCall& call) override;
  Action on_reply(JudgedCall& call) override;
  void on_end(JudgedCall& call) override;
  bool judges_replies() const override { return reply_hook_ != nullptr; }
  bool wants_end() const override { return end_hook_ != nullptr; }
  bool reads_bytes() const override { return whole_; }
  bool reads_metadata() const override { return program_->spec().reads_metadata; }
  uint32_t rows_kept() const override { return rows_kept_; }
  uint32_t cells_kept() const override { return call_cells_; }
  void place(uint32_t first_row, uint32_t first_cell) override { first_row_ = first_row, first_cell_ = first_cell; }

  void carry(CallState& state, std::span<const std::string> keys) override;

  // ---- for the host functions ----
  const PolicyInstance& instance() const { return *instance_; }
  const Program& program() const { return *program_; }
  const FieldWrite* write(uint32_t index) const { return index < writes_.size() ? &writes_[index] : nullptr; }
  uint32_t shard() const { return shard_; }
  void log(JudgedCall& call, std::string_view text);
  // The texts by which rows and stored replies of `scope` are told apart, for this call.
  static void append_key(const Scope& scope, const JudgedCall& call, std::string& key);
  uint64_t faults() const override { return faults_; }

 private:
  ProgramEngine(std::shared_ptr<const PolicyInstance> instance, std::shared_ptr<const Program> program, uint32_t shard);
  Status resolve_writes(const message::MethodLayout& method);
  void find_constant_rows(const RouteInfo& route);
  void prepare(JudgedCall& call);
  bool take_rows(StateTable::Row** held);
  Action run(mrpc_hook hook, JudgedCall& call, bool replying);
  Action conclude(int32_t kind, const mrpc_verdict& verdict, JudgedCall& call, struct HookCall& self, bool replying);
  Action fault(const mrpc_verdict& verdict, JudgedCall& call);
  Action apply_edits(const mrpc_verdict& verdict, JudgedCall& call, Action then);
  void bring_up(mrpc_frame& frame, StateTable::Row** held);
  void init_row(StateTable::Row& row, const CellMap& map) const;

  // Of one scope of the state, what every hook needs.
  struct ScopeRow {
    StateTable* table = nullptr;  // null: the call's own cells
    RowPin row;                   // of all calls of the route (`constant`), or of the call before: mostly this one's, too
    std::string varying;          // what of the row's key differs from call to call of the route
    std::span<const ScopePart> parts;
    uint32_t version = 0;  // of the rows that this program has seen
    bool constant = false;
  };
  static void find_row(ScopeRow& scope, const JudgedCall& call);

  std::shared_ptr<const PolicyInstance> instance_;
  std::shared_ptr<const Program> program_;
  // What hooks need stands side by side: between two calls a core has forgotten most of what is scattered.
  mrpc_hook request_hook_ = nullptr, reply_hook_ = nullptr, end_hook_ = nullptr;
  mrpc_frame form_{};  // the same for all calls
  uint32_t rows_kept_ = 0, first_row_ = 0, first_cell_ = 0, scope_count_ = 0, call_cells_ = 0;
  const uint32_t shard_;
  bool whole_ = false, concurrent_ = false;
  std::array<ScopeRow, kScopesMax> scopes_;
  std::vector<FieldWrite> writes_;
  uint64_t faults_ = 0;
  double log_tokens_ = 0;
  uint64_t logged_ns_ = 0;
};

}  // namespace mrpc::dataplane
