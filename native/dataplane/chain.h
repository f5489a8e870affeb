// Chains of engines: what operators write (ChainSpec) and what runs on a route (Chain).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dataplane/engine.h"
#include "dataplane/qos.h"

namespace mrpc::dataplane {

enum class Balancing { kRoundRobin, kLeastRequest };

struct PolicySpec {
  std::string name;
  std::string use;  // which engine
  EngineConfig config;
};

struct ChainSpec {
  std::string name;
  std::string client = "*", service = "*", method = "*";  // '*' matches all
  std::vector<PolicySpec> policies;

  bool selects(std::string_view client_app, std::string_view service_name, std::string_view method_name) const;
};

// Everything that operators have applied, as one value. Shards swap it between two turns.
struct ChainSet {
  uint64_t epoch = 0;
  std::vector<ChainSpec> chains;

  bool orders_calls() const;  // some policy is `qos`
};

struct Stage {
  std::string chain, policy, use;
  std::unique_ptr<Engine> engine;
  uint64_t evaluations = 0, denied = 0;
  uint64_t cycles = 0;  // time-stamp counter ticks spent in the engine
};

// The compiled chain of one route. Calls hold the one that they entered by.
class Chain {
 public:
  // Engines for every policy of `set` that selects the route, in order. `request` shares its schema's life: engines point into
  // it, and the chain outlives the server that brought it. Errors: with chain and policy in the text.
  static Result<std::shared_ptr<Chain>> compile(const ChainSet& set, const EngineCatalog& catalog, const CallInfo& route,
                                                std::shared_ptr<const message::MessageLayout> request);
  // Refuses every call: stands where compile() failed on a route that came to be after the set was applied.
  static std::shared_ptr<Chain> refusing(uint64_t epoch, Error error);

  // Judges one request. A denial's text names chain, policy and reason.
  Verdict judge(const CallInfo& call, const message::MessageView& request);

  // Moves engine state over from the chain that ran before, by policy name and kind.
  void adopt(const Chain& old);

  // Whether judge() needs the whole image, blobs included, in private memory.
  bool reads_bytes() const { return reads_bytes_; }
  uint64_t epoch() const { return epoch_; }
  Balancing balancing() const { return balancing_; }
  const std::optional<QosClass>& qos() const { return qos_; }
  const std::vector<Stage>& stages() const { return stages_; }
  std::vector<Stage>& stages() { return stages_; }

 private:
  uint64_t epoch_ = 0;
  bool reads_bytes_ = false;
  Balancing balancing_ = Balancing::kRoundRobin;
  std::optional<QosClass> qos_;
  std::shared_ptr<const message::MessageLayout> request_;  // before the engines that point into it
  std::vector<Stage> stages_;
  std::optional<Error> refusal_;
};

}  // namespace mrpc::dataplane
