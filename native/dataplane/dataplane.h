// The data plane as one object: shards, the attach server, and what the control plane asks of them. Every method may be
// called from any thread and may take milliseconds; none is on the path of a call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/attach_server.h"
#include "dataplane/chain.h"
#include "dataplane/events.h"
#include "dataplane/policy/dry_run.h"
#include "dataplane/policy/moved_rows.h"
#include "dataplane/registrar.h"
#include "dataplane/shard_thread.h"
#include "dataplane/system_world.h"

namespace mrpc::dataplane {

struct ShardApplied {
  uint32_t index = 0;
  uint64_t pause_ns = 0;         // how long it took to switch
  uint64_t calls_in_flight = 0;  // open on it at that moment; each ends by the chain that it entered by
  uint64_t rows_carried = 0;     // of state, from policies of the same name
};
struct AppliedChains {
  uint64_t epoch = 0;
  uint64_t pause_ns_max = 0;
  std::vector<ShardApplied> shards;
};

struct LeaseView {
  std::string chain, policy, lease;
  double rate_per_s = 0, burst = 0, share = 0;  // as configured
  LeaseAccount::Use use;
};

struct PolicyView {
  std::string chain, policy, use;
  uint64_t evaluations = 0, denied = 0, ns_total = 0, faults = 0, rows = 0, evicted = 0;
};

struct EdgeView {
  std::string client, server, service, method;
  EdgeStats stats;
  std::vector<PolicyView> policies;  // of the route; the same on each of its edges
};

struct EndpointView {
  std::string service, app, node;
  uint64_t attachment = 0;
  uint32_t open_calls = 0;
  std::vector<std::string> methods;
};

struct AttachmentView {
  std::shared_ptr<Attachment> attachment;
  uint64_t open_calls = 0;
};

struct ShardView {
  uint32_t index = 0;
  ShardCounters counters;
  uint64_t client_calls = 0, server_calls = 0;
  transport::TcpStats tcp;
};

struct Snapshot {
  uint64_t uptime_ns = 0, epoch = 0;
  Histogram pauses;  // of shards, for switching chains
  std::vector<AttachmentView> attachments;
  std::vector<EndpointView> endpoints;
  std::vector<EdgeView> edges;
  std::vector<PeerView> peers;  // of shard 0; the others' links go the same ways
  std::vector<ShardView> shards;
};

// What a frozen data plane hands over. The descriptors are borrowed, and good while it is frozen and this lives.
struct FrozenState {
  std::vector<std::byte> bytes;
  std::vector<int> fds;
  std::shared_ptr<void> keep;
};

class Dataplane final : public ShardObserver, public ShardGate {
 public:
  explicit Dataplane(Config config);
  ~Dataplane() override;

  Status start();
  // Refuses new calls, waits at most `grace_ns` for open ones, ends every attachment.
  void stop(uint64_t grace_ns);

  Registrar& registrar() { return registrar_; }
  EventQueue& events() { return events_; }

  // All or nothing. Errors: what does not compile on any route or offered service that a chain selects.
  Result<AppliedChains> apply_chains(std::vector<ChainSpec> chains, std::vector<Binding> bindings = {});
  // Programs for methods that came on offer since. Offers that waited for them become visible to callers.
  Status add_bindings(std::vector<Binding> bindings);
  // No program can be made for this schema: its offers become visible, and chains that want one refuse their calls with `reason`.
  Status give_up_bindings(const std::string& service, uint64_t fingerprint, const std::string& reason);
  // Budgets that policies take from. What they took counts from the last call of this.
  std::vector<LeaseView> leases();
  // Adds to what may be taken. A policy that is no longer in force has nothing to add to.
  void grant_lease(const std::string& chain, const std::string& policy, const std::string& lease, double tokens, bool shared);
  // The state of a chain's policies, for another daemon, and what came from one. Both in pieces that hold a shard up for less than a turn;
  // the second says how many rows found their policy and scope. A policy that has no program yet has its rows put when a change gives it one.
  std::vector<MovedRow> policy_rows(const std::string& chain);
  size_t put_policy_rows(const std::string& chain, const std::vector<MovedRow>& rows, bool adds);
  // What chains would have said to the calls that were recorded. Nothing in force changes. Errors as of apply_chains.
  Result<DryRun> dry_run(std::vector<ChainSpec> chains, std::vector<Binding> bindings);
  void configure_recorder(const RecorderConfig& config);
  Recorder::Calls recorded();  // of all shards, the oldest first
  Result<std::string> listen(const std::string& address);
  Result<uint64_t> add_peer(const std::string& address);
  void remove_peer(uint64_t id);
  Snapshot snapshot();

  // ---- hot restart (takeover/dataplane_takeover.cpp opens with who calls what) ----
  // Errors: kUnavailable when what is under way does not end within `bound_ns`; everything goes on then.
  Status freeze(uint64_t bound_ns);
  Result<FrozenState> frozen(uint32_t version);
  void thaw();
  void abandon();
  // Before start(), after apply_chains(). Errors: a state that cannot be, or not be served with this configuration; this object is of no
  // use then.
  Status take_over(std::span<const std::byte> bytes, std::vector<Fd> fds);

  std::shared_ptr<const message::Schema> schema(const std::string& service);
  // Of each service on offer each schema once, by name and fingerprint.
  std::vector<std::shared_ptr<const ServiceVariant>> schemas();

 private:
  // ShardObserver
  void on_violation(uint32_t attachment, const std::string& text) override;
  void on_event(const std::string& kind, const std::string& peer, const std::string& service, const std::string& text) override;
  void on_port(uint32_t shard, uint32_t attachment, int doorbell, bool added) override;
  void on_posted(uint32_t shard) override;
  // ShardGate
  void add_port(std::shared_ptr<Attachment> attachment) override;
  void remove_port(std::shared_ptr<Attachment> attachment, const std::string& reason) override;
  void bind(uint32_t port, uint32_t shard, uint32_t handle_base, std::vector<std::shared_ptr<BoundMethod>> methods) override;
  void offer(uint32_t port, uint32_t handle_base, std::shared_ptr<const ServiceVariant> variant) override;
  void withdraw(uint32_t port, const std::string& service) override;

  void on_log(std::string_view policy, std::string_view client, std::string_view service, std::string_view text) override;
  void on_program_needed(const std::string& service, uint64_t fingerprint) override;

  // `set`'s instances from its chains and bindings, with the state of `before`'s.
  Status build_instances(ChainSet& set, const ChainSet& before);
  Result<std::shared_ptr<const Program>> load(const Binding& binding);
  Status try_compile(const ChainSet& set);
  AppliedChains switch_to(std::shared_ptr<const ChainSet> set);
  Status replace(std::shared_ptr<ChainSet> set);
  void retire(const ChainSet& set);
  void collect(ShardThread& thread, Snapshot& into);
  void wait_idle(uint64_t grace_ns);

  const Config config_;
  const EngineCatalog catalog_ = native_engines();
  SystemWorld world_;
  EventQueue events_;
  Registrar registrar_;
  std::vector<std::unique_ptr<ShardThread>> shards_;
  AttachServer attach_server_;
  std::mutex operator_mutex_;  // one operator's change at a time
  std::shared_ptr<const ChainSet> chains_ = std::make_shared<ChainSet>();
  // Of policies that are no longer in force: kept until no shard holds them, so that none has to unload a program or free its rows.
  std::vector<std::shared_ptr<const PolicyInstance>> retired_;
  std::map<std::pair<std::string, std::string>, std::vector<MovedRow>> rows_to_put_;  // for policies without programs, until the next change
  std::map<std::string, std::weak_ptr<const Program>> programs_;  // by the object's path
  Histogram pauses_;
  std::map<uint64_t, std::vector<uint64_t>> peers_;  // id -> link of each shard
  uint64_t started_ns_ = 0;
  double cycles_per_ns_ = 1;
  bool running_ = false;
  bool taken_over_ = false;  // what it serves came from another process
  std::unique_lock<std::mutex> frozen_;
};

}  // namespace mrpc::dataplane
