// Two daemons of one or two shards, their applications and the network between them, stepped by a seed: no thread, no system call that
// matters, one clock. Whatever happens is drawn from the seed, so a seed that fails fails again.
//
// Clients on the near daemon call servers there and on the far one: unary calls and streams, of some bytes and of hundreds of KiB, with
// deadlines, and cancelled at any time. Meanwhile chains are swapped on both daemons, datagrams are lost, doubled and reordered, the network is
// cut, the far daemon starts anew, servers and clients die. At last the network heals, servers answer, and everything must come to rest.
//
// What must hold (the names are those of the checks in simulation.cpp):
//   - each call of a client that lives ends exactly once, and nothing comes for it afterwards;
//   - no call is handed to a server twice, and one that ended well was handed to one;
//   - within a stream each message arrives once, in order, and whole; calls of a client that nothing delays, and that have not ended, reach a server in order;
//   - nothing is leaked: call tables, parked and pinned and held memory, receive blocks, counts of calls under way, policies' own counts.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "dataplane/policy_rig.h"
#include "transport/fake/fake.h"

namespace mrpc::dataplane::testing {

class Draw {  // splitmix64
 public:
  explicit Draw(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t value = state_ += 0x9e3779b97f4a7c15ull;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
  }
  uint64_t below(uint64_t end) { return next() % end; }
  bool one_in(uint64_t n) { return below(n) == 0; }
  template <typename T>
  T& any(std::vector<T>& of) { return of[below(of.size())]; }

 private:
  uint64_t state_;
};

struct SimDaemon {
  SimDaemon(transport::FakeNetwork& network, Config settings, size_t frames_queued_max);
  ~SimDaemon() { world.long_jobs.clear(); }  // they know its shards

  Config config;
  StepWorld world;
  Observed observed;
  EngineCatalog catalog = native_engines();
  std::shared_ptr<ChainSet> chains = std::make_shared<ChainSet>();
  std::vector<std::unique_ptr<Shard>> shards;
};

enum class Size : uint8_t { kSmall, kHeld, kLong, kBlob };

// An application, with all that it does on one shard.
class SimApp {
 public:
  SimApp(uint32_t id, abi::Role role, const std::string& name, SimDaemon& daemon, uint32_t shard);

  uint32_t id() const { return app_.attachment->id; }
  SimDaemon& daemon() { return *daemon_; }
  Shard& shard() { return *daemon_->shards[shard_]; }
  Port* port() { return shard().find_port(id()); }
  App& app() { return app_; }
  bool has_room() { return app_.submit.room() == shm::RingState::kOk; }
  void submit(SlotKind kind, uint64_t call, uint8_t flags = 0, uint64_t aux = 0, StatusCode code = StatusCode::kOk);
  // A Payload of this name, with data by which it is known again.
  void submit(SlotKind kind, uint64_t call, const std::string& name, Size size, uint8_t flags, uint32_t sequence, uint64_t aux = 0, uint32_t handle = 0);
  // The next completion that is no reclaim; its receive block is given back now, or by give_back().
  std::optional<Arrival> take(bool keep);
  void give_back();
  static std::string name_of(const Arrival& arrival);  // "": not whole
  size_t blocks_held() const { return held_.size(); }

 private:
  abi::Slot write(const std::string& name, Size size);

  SimDaemon* daemon_;
  uint32_t shard_;
  App app_;
  std::multiset<uint64_t> held_;  // send blocks that the daemon may still read
  std::vector<uint64_t> kept_;    // receive blocks
};

struct SimClient {
  struct Call {
    std::string name;
    uint32_t said = 0, heard = 0;
    uint64_t credit = abi::kStreamWindow;
    bool streams = false, half_closed = false, cancelled = false, delayed = false;
    std::optional<StatusCode> ended = std::nullopt;
  };
  std::unique_ptr<SimApp> app;
  std::map<uint64_t, Call> calls;  // all of them, by id
};

struct SimServer {
  struct Call {
    std::string name;
    uint32_t heard = 1, said = 0;
    uint64_t credit = abi::kStreamWindow;
    bool streams = false, half_closed = false;
  };
  std::unique_ptr<SimApp> app;
  std::map<uint64_t, Call> calls;                // not yet answered
  std::map<std::string, uint64_t> last_of;       // of each client, its last call that came here
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed, bool traced);
  void run();
  std::array<uint64_t, kStatusCodeMax + 1> codes{};

 private:
  struct Said { uint32_t messages = 0; bool half_closed = false; };

  void trace(const char* what, const std::string& who = "", uint64_t number = 0);
  void step();
  void turn(SimDaemon& daemon);
  void turn(Shard& shard);
  void pass_time();
  void start_far();
  SimServer start_server(SimDaemon& daemon, uint32_t shard, const std::string& name);
  SimClient start_client(uint32_t shard);
  void open(SimClient& client);
  void go_on(SimClient& client);
  void cancel(SimClient& client);
  void hear(SimClient& client, size_t arrivals_max);
  void on_arrival(SimClient& client, const Arrival& arrival);
  void end(SimClient::Call& call, const Arrival& arrival);
  void serve(SimServer& server, size_t arrivals_max);
  void on_arrival(SimServer& server, const Arrival& arrival);
  void answer(SimServer& server, bool at_once);
  void swap_policy(SimDaemon& daemon);
  void disturb();
  bool at_rest();
  void come_to_rest();
  void check_accounts();
  void check_accounts(Shard& shard);
  std::vector<SimServer*> servers();

  Draw draw_;
  const bool traced_;
  uint64_t now_ = 1'000'000'000;
  uint32_t shards_, next_id_ = 10;
  bool ordered_;  // nothing that happens lets one call of a client overtake another
  transport::FakeNetwork network_;
  std::unique_ptr<SimDaemon> near_, far_;
  std::vector<uint64_t> links_;
  std::vector<SimClient> clients_;
  std::vector<SimServer> near_servers_, far_servers_;
  std::map<std::string, uint32_t> handed_over_;  // by call
  std::set<std::string> over_;                   // calls that have ended, or whose client has
  std::map<std::string, Said> client_said_;
  std::map<std::string, uint32_t> server_said_;  // in streams that it ended well
};

}  // namespace mrpc::dataplane::testing
