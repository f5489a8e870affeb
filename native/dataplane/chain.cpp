#include "dataplane/chain.h"

#include <x86intrin.h>

#include "dataplane/engines/engine_config.h"

namespace mrpc::dataplane {
namespace {

bool matches(const std::string& pattern, std::string_view value) { return pattern == "*" || pattern.empty() || pattern == value; }

Error at(const ChainSpec& chain, const PolicySpec& policy, const Error& error) {
  return {error.code, "chain '" + chain.name + "', policy '" + policy.name + "' (" + policy.use + "): " + error.text};
}

Result<Balancing> balancing_of(const EngineConfig& config) {
  ConfigReader reader(config);
  const std::string* algorithm = reader.find<std::string>("algorithm", "a text");
  const std::string name = algorithm == nullptr ? "round_robin" : *algorithm;
  reader.require(name == "round_robin" || name == "least_request", "'algorithm' must be round_robin or least_request");
  if (const Status done = reader.done(); !done) return done.error();
  return name == "least_request" ? Balancing::kLeastRequest : Balancing::kRoundRobin;
}

Result<QosClass> qos_of(const EngineConfig& config) {
  static const std::map<std::string, QosLevel> kLevels = {{"urgent", QosLevel::kUrgent}, {"normal", QosLevel::kNormal}, {"bulk", QosLevel::kBulk}};
  ConfigReader reader(config);
  QosClass made;
  const std::string* level = reader.find<std::string>("level", "a text");
  const std::string* group = reader.find<std::string>("per", "a text");
  made.weight = reader.number("weight", 1);
  reader.require(level == nullptr || kLevels.count(*level) != 0, "'level' must be urgent, normal or bulk");
  reader.require(group == nullptr || *group == "client" || *group == "tenant", "'per' must be client or tenant");
  reader.require(made.weight >= 0.001 && made.weight <= 1000, "'weight' must be between 0.001 and 1000");
  if (const Status done = reader.done(); !done) return done.error();
  if (level != nullptr) made.level = kLevels.at(*level);
  if (group != nullptr && *group == "tenant") made.group = QosGroup::kTenant;
  return made;
}

}  // namespace

bool ChainSet::orders_calls() const {
  for (const ChainSpec& chain : chains)
    for (const PolicySpec& policy : chain.policies)
      if (policy.use == "qos") return true;
  return false;
}

bool ChainSpec::selects(std::string_view client_app, std::string_view service_name, std::string_view method_name) const {
  return matches(client, client_app) && matches(service, service_name) && matches(method, method_name);
}

Result<std::shared_ptr<Chain>> Chain::compile(const ChainSet& set, const EngineCatalog& catalog, const CallInfo& route,
                                              std::shared_ptr<const message::MessageLayout> request) {
  auto chain = std::make_shared<Chain>();
  chain->epoch_ = set.epoch;
  for (const ChainSpec& spec : set.chains) {
    if (!spec.selects(route.client, route.service, route.method)) continue;
    for (const PolicySpec& policy : spec.policies) {
      if (policy.use == "metrics") continue;  // always on, and not a judge
      if (policy.use == "load_balancing") {
        const auto balancing = balancing_of(policy.config);
        if (!balancing) return at(spec, policy, balancing.error());
        chain->balancing_ = *balancing;
        continue;
      }
      if (policy.use == "qos") {
        const auto qos = qos_of(policy.config);
        if (!qos) return at(spec, policy, qos.error());
        chain->qos_ = *qos;
        continue;
      }
      const auto factory = catalog.find(policy.use);
      if (factory == catalog.end()) return at(spec, policy, invalid_argument("no such policy"));
      auto engine = factory->second(policy.config, *request);
      if (!engine) return at(spec, policy, engine.error());
      chain->reads_bytes_ |= (*engine)->reads_bytes();
      chain->stages_.push_back({spec.name, policy.name, policy.use, std::move(*engine)});
    }
  }
  chain->request_ = std::move(request);
  return chain;
}

std::shared_ptr<Chain> Chain::refusing(uint64_t epoch, Error error) {
  auto chain = std::make_shared<Chain>();
  chain->epoch_ = epoch;
  chain->refusal_ = std::move(error);
  return chain;
}

Verdict Chain::judge(const CallInfo& call, const message::MessageView& request) {
  if (refusal_) return {Error{StatusCode::kFailedPrecondition, "denied: " + refusal_->text}};
  uint64_t before = __rdtsc();
  for (Stage& stage : stages_) {
    Verdict verdict = stage.engine->on_request(call, request);
    const uint64_t after = __rdtsc();
    stage.cycles += after - before;
    before = after;
    stage.evaluations += 1;
    if (verdict.forwards()) continue;
    stage.denied += 1;
    verdict.denial->text = "denied by policy '" + stage.policy + "' of chain '" + stage.chain + "': " + verdict.denial->text;
    return verdict;
  }
  return {};
}

void Chain::adopt(const Chain& old) {
  for (Stage& stage : stages_) {
    for (const Stage& before : old.stages_) {
      if (before.policy != stage.policy || before.chain != stage.chain || before.use != stage.use) continue;
      stage.engine->adopt(*before.engine);
      stage.evaluations = before.evaluations;
      stage.denied = before.denied;
      stage.cycles = before.cycles;
    }
  }
}

}  // namespace mrpc::dataplane
