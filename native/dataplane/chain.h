// Chains of engines: what operators write (ChainSpec) and what runs on a route (Chain).
//
// A call enters by the chain that is in force at that moment and keeps it to its end: its later messages, its replies and its on_end go
// through the same engines. Requests pass the stages in order, replies in the opposite order, and the end again in order.
//
// TWO DAEMONS. A call between daemons carries the names of the chains of side `client` that its caller's daemon has judged it by. The
// endpoint's daemon leaves out its own chains of those names, if operators let that daemon judge (`judged_by`), and judges by them if the
// call does not carry their name. So a chain that is in force on both, on one with side `client`, on the other with `server` and
// `judged_by`, judges each call once; and that stays so at the moment when the caller's daemon takes its chain out of force, or back
// (docs/decisions/020-two-ended-changes.md).
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dataplane/engine.h"
#include "dataplane/policy/engine.h"
#include "dataplane/policy/instance.h"
#include "dataplane/qos.h"

namespace mrpc::dataplane {

enum class Balancing { kRoundRobin, kLeastRequest };

struct Compression {
  uint8_t level = 1;
  uint64_t above_bytes = 4096;  // of a message
};

struct PolicySpec {
  std::string name;
  std::string use;  // which engine
  EngineConfig config;
};

// Where a chain's calls are judged: by the caller's daemon, by the endpoint's, or by both. A call that stays on one daemon is judged once.
enum class ChainSide { kAny, kClient, kServer };
// Which ends of a call this daemon has.
enum class Place : uint8_t { kBothEnds, kCaller, kEndpoint };

struct ChainSpec {
  std::string name;
  std::string client = "*", service = "*", method = "*";  // '*' matches all
  std::vector<PolicySpec> policies;
  ChainSide side = ChainSide::kAny;
  std::vector<std::string> judged_by = {};  // nodes of callers' daemons that are believed when they say that they have judged by it

  bool selects(std::string_view client_app, std::string_view service_name, std::string_view method_name) const;
  bool judges_at(Place place) const {
    return side == ChainSide::kAny || place == Place::kBothEnds || (side == ChainSide::kClient) == (place == Place::kCaller);
  }
};

// Everything that operators have applied, with the programs that it needs, as one value. Shards swap it between two turns.
struct ChainSet {
  uint64_t epoch = 0;     // of what operators applied
  uint64_t revision = 0;  // higher whenever anything about it changed, bindings included
  std::vector<ChainSpec> chains;
  bool orders_calls() const;  // some policy is `qos`
  std::vector<Binding> bindings;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<PolicyInstance>> instances;  // by chain and policy
  std::map<std::pair<std::string, uint64_t>, std::string> given_up;  // why no program could be made, by service and fingerprint

  // What of the service's methods lacks a program; empty when nothing does.
  std::string lacking(const message::ServiceLayout& service, Place place) const;
  // Whether calls may be made by this schema: all programs are there, or have been given up.
  bool covers(const message::ServiceLayout& service, Place place) const {
    return instances.empty() || given_up.count({service.full_name, service.fingerprint}) != 0 || lacking(service, place).empty();
  }
};

struct Stage {
  std::string chain, policy, use;
  std::unique_ptr<Engine> engine;
  std::shared_ptr<const PolicyInstance> instance;  // null for a native engine
  uint64_t group = 0;  // its chain's bit in CallState::left_out; 0: never left out
  uint64_t evaluations = 0, denied = 0, faults_before = 0;
  uint64_t cycles = 0;  // time-stamp counter ticks spent in the engine

  uint64_t faults() const { return faults_before + engine->faults(); }
};

// What a route's messages are laid out by. `schema` keeps the layouts alive, which engines point into.
struct RouteSchema {
  std::shared_ptr<const message::Schema> schema;
  const message::MethodLayout* method = nullptr;
  uint64_t fingerprint = 0;
};

// The compiled chain of one route.
class Chain {
 public:
  // Engines for every policy of `set` that selects the route, in order. Errors: with chain and policy in the text.
  static Result<std::shared_ptr<Chain>> compile(const ChainSet& set, const EngineCatalog& catalog, const RouteInfo& route, Place place,
                                                RouteSchema schema, uint32_t shard);
  // Refuses every call: stands where compile() failed on a route that came to be after the set was applied.
  static std::shared_ptr<Chain> refusing(uint64_t revision, Error error);

  // Judges a message of the request from stage `from` on; call.stage says where it stopped. A denial's text names chain, policy and reason.
  Action judge(JudgedCall& call, uint32_t from = 0);
  // Judges a message of the reply, from stage `from` down.
  Action judge_reply(JudgedCall& call, uint32_t from);
  Action judge_reply(JudgedCall& call) { return judge_reply(call, static_cast<uint32_t>(stages_.size())); }
  // The end of a call: tells the stages that let it pass. `denier`: the stage that denied it, or kNobody.
  void end(JudgedCall& call, uint32_t denier);
  static constexpr uint32_t kNobody = UINT32_MAX;

  // A call that came from the daemon `node`, which says that it has judged it by `claimed`.
  void leave_out(CallState& state, std::string_view node, std::string_view claimed) const;
  // What this side's daemon says of a call that it sends on: chains of side `client`, separated by commas.
  const std::string& judges() const { return judges_; }

  // A call that this chain let pass in the predecessor process. False when its state is not of this chain's form.
  bool carry(CallState& state, uint32_t passed, std::span<const std::string> rows, std::span<const uint64_t> cells);

  // Moves engine state and counters over from the chain that ran before, by policy name and kind.
  void adopt(const Chain& old);

  uint32_t cells() const { return cells_; }  // of its own that a call keeps
  bool empty() const { return stages_.empty() && !refusal_; }
  // Whether the same policies of its set judge, at the caller's daemon, calls that stay on it and calls that leave it.
  bool same_anywhere() const { return same_anywhere_; }
  // Whether judge() needs the whole image, blobs included, in private memory.
  bool reads_bytes() const { return reads_bytes_; }
  bool judges_replies() const { return judges_replies_; }
  bool wants_end() const { return wants_end_; }
  uint64_t revision() const { return revision_; }
  uint64_t epoch() const { return epoch_; }
  Balancing balancing() const { return balancing_; }
  const std::optional<QosClass>& qos() const { return qos_; }
  // Of a message of so many bytes that goes to another daemon; 0: none.
  uint8_t compression_level(uint64_t bytes) const { return compression_ && bytes >= compression_->above_bytes ? compression_->level : 0; }
  const std::vector<Stage>& stages() const { return stages_; }
  std::vector<Stage>& stages() { return stages_; }

 private:
  Status add_stages(const ChainSet& set, const EngineCatalog& catalog, const ChainSpec& spec, const RouteInfo& route, uint32_t shard);
  Result<std::unique_ptr<Engine>> make_engine(const ChainSet& set, const EngineCatalog& catalog, const ChainSpec& spec, const PolicySpec& policy,
                                              const RouteInfo& route, uint32_t shard, std::shared_ptr<const PolicyInstance>& instance);
  Status join_group(const ChainSpec& spec, Place place, size_t first_stage);
  void place_state();
  void prepare(JudgedCall& call);
  Action conclude(JudgedCall& call, Action action);

  uint64_t epoch_ = 0, revision_ = 0;
  bool same_anywhere_ = true;
  bool reads_bytes_ = false, judges_replies_ = false, wants_end_ = false, reads_metadata_ = false;
  uint32_t rows_ = 0, cells_ = 0;  // that a call keeps
  Balancing balancing_ = Balancing::kRoundRobin;
  std::optional<QosClass> qos_;
  std::optional<Compression> compression_;
  std::shared_ptr<const message::MessageLayout> request_;  // before the engines that point into it
  RouteSchema schema_;  // before the engines that point into it
  std::vector<Stage> stages_;
  struct Group { std::string chain; std::vector<std::string> judged_by; };
  std::vector<Group> groups_;  // of chains that may be left out
  std::string judges_;
  std::optional<Error> refusal_;
};

// Uses of a policy that are no judge: they say something about the route, or are always on.
bool is_setting(std::string_view use);

}  // namespace mrpc::dataplane
