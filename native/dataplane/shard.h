// One shard: steps its ports, links and timers to completion in bounded turns. A turn makes no system call but those of
// World and of the TCP transport, so a test can step a shard with no thread.
#pragma once

#include <atomic>
#include <mutex>

#include "dataplane/client_side.h"
#include "dataplane/server_side.h"
#include "dataplane/takeover_state.h"
#include "transport/tcp/tcp.h"

namespace mrpc::dataplane {

// What a shard tells its control thread. Called on the shard's thread; must not block.
class ShardObserver {
 public:
  virtual ~ShardObserver() = default;
  virtual void on_violation(uint32_t attachment, const std::string& text) = 0;
  // Something happened that operators want to see. `kind` as in the control plane's events.
  virtual void on_event(const std::string& kind, const std::string& peer, const std::string& service, const std::string& text) = 0;
  // A port's doorbell is to be watched from now on, or no longer.
  virtual void on_port(uint32_t shard, uint32_t attachment, int doorbell, bool added) = 0;
  virtual void on_posted(uint32_t shard) = 0;  // any thread: wake the shard
  // A policy ("chain/policy") says something of a call.
  virtual void on_log(std::string_view policy, std::string_view client, std::string_view service, std::string_view text) {
    (void)policy, (void)client, (void)service, (void)text;
  }
  // A schema came on offer for which the policies in force lack programs.
  virtual void on_program_needed(const std::string& service, uint64_t fingerprint) { (void)service, (void)fingerprint; }
};

struct PeerView {
  uint64_t id = 0;
  std::string address, node, error;
  bool up = false, accepted = false;
  std::vector<std::string> services;
};

class TakeoverWriter;
class TakeoverReader;

class Shard final : public ShardCore {
 public:
  Shard(uint32_t index, const Config& config, World& world, const EngineCatalog& catalog, ShardObserver& observer);
  ~Shard() override;

  // Any thread: runs `command` between two turns of this shard.
  void post(std::function<void()> command) override;
  // True when there was something to do.
  bool turn();

  // ---- everything below: this shard's thread only ----
  void add_port(std::shared_ptr<Attachment> attachment);
  void remove_port(uint32_t id, const std::string& reason);
  void bind(uint32_t port, uint32_t handle_base, std::vector<std::shared_ptr<BoundMethod>> methods);
  void offer(uint32_t port, uint32_t handle_base, std::shared_ptr<const ServiceVariant> variant);
  void withdraw(uint32_t port, const std::string& service);
  // Switches to `set` between two turns; returns how long that took. Each route gets its chain at its next call, or, when it has none, in one
  // of the next turns.
  uint64_t apply_chains(std::shared_ptr<const ChainSet> set);
  // Whether some route is still without a chain of the set in force.
  bool refreshing() const { return refresh_at_ != refresh_.size(); }
  void set_try_again(std::function<void(ReplyStore::CallKey)> try_again) { try_again_ = std::move(try_again); }
  void log(std::string_view policy, const mrpc_call& call, std::string_view text) override;
  void try_again(const std::vector<ReplyStore::CallKey>& calls) override;
  void resume(ReplyStore::CallKey call);  // that waited for a stored reply

  Result<std::string> listen(const std::string& address);
  Result<uint64_t> connect_peer(const std::string& address);  // the peer's id
  void remove_peer(uint64_t id);
  void adopt(int fd, std::vector<std::byte> received);
  // In place of TCP, before anything needs it: what a simulation joins daemons by.
  void set_remote(std::unique_ptr<transport::Transport> remote) { remote_ = std::move(remote); }
  void set_hand_over(std::function<void(uint32_t, int, std::vector<std::byte>)> hand_over) { hand_over_ = std::move(hand_over); }

  // ---- waiting ----
  void ring(uint32_t port) override;
  // Declares every port asleep. False when something came meanwhile: turn again.
  bool prepare_sleep();
  uint64_t next_wake_ns() const;  // when to turn again though nothing rings; UINT64_MAX: never
  int tcp_fd() const { return tcp_ ? tcp_->poll_fd() : -1; }

  ClientSide& clients() { return clients_; }
  ServerSide& servers() { return servers_; }
  std::vector<PeerView> peers() const;
  const std::unordered_map<uint32_t, std::unique_ptr<Port>>& ports() const { return ports_; }
  const transport::TcpStats* tcp_stats() const { return tcp_ ? &tcp_->stats() : nullptr; }
  // ---- hot restart (takeover/): while the shard's thread is parked, by the one that parked it ----
  // Ends what is under way inside the shard, as far as that goes without looking at applications and peers; `pump`: also what waits
  // for room. True when something moved. Nothing but parked deliveries, outboxes and sessions is left when it says false.
  bool settle(bool pump);
  bool works_long() const { return long_running_ > 0; }  // elsewhere
  void export_state(TakeoverWriter& into);
  // Into a shard that was never stepped. Touches no shared memory and no socket. Errors: kInvalidArgument, a state that cannot be.
  Status import_state(TakeoverReader& from);
  // Owns from now on what it imported.
  void begin();
  // Schemas learnt from peers, for callers that have none.
  std::shared_ptr<const message::Schema> schema_of(const std::string& service);

  transport::Transport& transport_of(transport::LinkId link) override;
  void violation(Port& port, const std::string& text) override;
  void on_frame(transport::LinkId link, transport::Frame&& frame) override;
  void on_unsent(transport::LinkId link, uint64_t call) override;

 private:
  friend class ShardExport;
  friend class ShardImport;

  bool run_commands();
  bool take_in();
  bool take_in_by_level();
  uint32_t intake(Port& port, uint32_t slots_max);
  bool handle(Port& port, const abi::Slot& slot, std::string& why);
  bool fetch_elsewhere(Port& port, const abi::Slot& slot);
  bool drain_local();
  bool drain_remote();
  bool pump_ports();
  void pause_when_slow(Port& port);
  bool expire_timers();
  void trim_idle_ports();
  bool refresh_routes();
  void hide_uncovered(Endpoint& endpoint);
  void show_covered();
  void flush();

  Status ensure_remote();
  void on_remote_event(transport::Event&& event);
  void on_link_up(transport::LinkId link, const transport::Event& event);
  void on_link_down(transport::LinkId link, const std::string& reason);
  void announce(transport::LinkId link, bool offered, const std::string& app, const message::ServiceLayout& service,
                const message::Schema& schema);
  void announce_everywhere(bool offered, const Endpoint& endpoint);
  void on_announcement(transport::LinkId link, std::span<const std::byte> bytes);
  std::shared_ptr<const ServiceVariant> variant_of(ServiceEntry& entry, std::shared_ptr<const message::Schema> schema);

  struct Peer : PeerView {
    transport::LinkId link = 0;
    size_t names_brought = 0;  // new to this shard's directory, which keeps them
  };
  bool has_room_for(const Peer& peer, uint64_t schema_bytes);
  void refuse_peer(Peer& peer, const std::string& text);

  ShardObserver& observer_;
  ClientSide clients_;
  ServerSide servers_;
  std::unique_ptr<transport::Transport> remote_;  // to other daemons; null until it is needed
  transport::TcpTransport* tcp_ = nullptr;        // the same, where it is TCP
  std::map<transport::LinkId, Peer> peers_;
  std::function<void(uint32_t, int, std::vector<std::byte>)> hand_over_;
  std::function<void(ReplyStore::CallKey)> try_again_;  // to other shards
  std::vector<Route*> refresh_;    // routes to get a chain of the set in force, from refresh_at_ on; routes are never forgotten
  size_t refresh_at_ = 0;
  std::vector<uint32_t> active_;   // ports that are polled
  uint64_t urgent_at_ns_ = 0;      // when an urgent call last came
  uint64_t trim_at_ns_ = UINT64_MAX;  // when to look for receive memory that nobody uses any more
  uint32_t with_deliveries_ = 0;   // ports that something waits for, at the last look

  std::mutex commands_mutex_;
  std::vector<std::function<void()>> commands_;
  std::atomic<bool> has_commands_{false};
};

}  // namespace mrpc::dataplane
