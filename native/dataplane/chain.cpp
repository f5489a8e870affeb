#include "dataplane/chain.h"

#include <x86intrin.h>

#include <algorithm>

#include "dataplane/engines/engine_config.h"
#include "dataplane/policy/message_edit.h"

namespace mrpc::dataplane {
namespace {

bool matches(const std::string& pattern, std::string_view value) { return pattern == "*" || pattern.empty() || pattern == value; }

constexpr size_t kGroupsMax = 64;  // bits of CallState::left_out

// Whether `name` is one of `names`, which commas separate.
bool is_among(std::string_view name, std::string_view names) {
  while (!names.empty()) {
    const size_t end = std::min(names.find(','), names.size());
    if (names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

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

Result<Compression> compression_of(const EngineConfig& config) {
  ConfigReader reader(config);
  const std::string* algorithm = reader.find<std::string>("algorithm", "a text");
  const double level = reader.number("level", 1), above_bytes = reader.number("above_bytes", 4096);
  reader.require(algorithm == nullptr || *algorithm == "zstd", "'algorithm' must be zstd");
  reader.require(level >= 1 && level <= 9, "'level' must be from 1 to 9");
  reader.require(above_bytes >= 0 && above_bytes <= 1e12, "'above_bytes' must not be negative");
  if (const Status done = reader.done(); !done) return done.error();
  return Compression{static_cast<uint8_t>(level), static_cast<uint64_t>(above_bytes)};
}

}  // namespace

bool ChainSet::orders_calls() const {
  for (const ChainSpec& chain : chains)
    for (const PolicySpec& policy : chain.policies)
      if (policy.use == "qos") return true;
  return false;
}

bool is_setting(std::string_view use) { return use == "metrics" || use == "load_balancing" || use == "qos" || use == "compression"; }

bool ChainSpec::selects(std::string_view client_app, std::string_view service_name, std::string_view method_name) const {
  return matches(client, client_app) && matches(service, service_name) && matches(method, method_name);
}

std::string ChainSet::lacking(const message::ServiceLayout& service, Place place) const {
  for (const ChainSpec& chain : chains) {
    if (!chain.judges_at(place)) continue;
    for (const message::MethodLayout& method : service.methods) {
      if (!chain.selects(chain.client, service.full_name, method.name)) continue;
      for (const PolicySpec& policy : chain.policies) {
        const auto instance = instances.find({chain.name, policy.name});
        if (instance == instances.end() || instance->second->program(service.full_name, method.name, service.fingerprint)) continue;
        return "chain '" + chain.name + "', policy '" + policy.name + "' has no program for " + service.full_name + "/" + method.name;
      }
    }
  }
  return {};
}

Result<std::shared_ptr<Chain>> Chain::compile(const ChainSet& set, const EngineCatalog& catalog, const RouteInfo& route, Place place,
                                              RouteSchema schema, uint32_t shard) {
  auto chain = std::make_shared<Chain>();
  chain->epoch_ = set.epoch;
  chain->revision_ = set.revision;
  chain->schema_ = std::move(schema);
  for (const ChainSpec& spec : set.chains) {
    if (!spec.selects(route.client, route.service, route.method)) continue;
    chain->same_anywhere_ &= spec.judges_at(Place::kCaller);
    if (!spec.judges_at(place)) continue;
    const size_t first_stage = chain->stages_.size();
    if (Status added = chain->add_stages(set, catalog, spec, route, shard); !added) return added.error();
    if (Status joined = chain->join_group(spec, place, first_stage); !joined) return joined.error();
  }
  chain->place_state();
  return chain;
}

Status Chain::add_stages(const ChainSet& set, const EngineCatalog& catalog, const ChainSpec& spec, const RouteInfo& route, uint32_t shard) {
  for (const PolicySpec& policy : spec.policies) {
    if (policy.use == "metrics") continue;  // always on, and not a judge
    if (policy.use == "load_balancing") {
      const auto balancing = balancing_of(policy.config);
      if (!balancing) return at(spec, policy, balancing.error());
      balancing_ = *balancing;
      continue;
    }
    if (policy.use == "qos") {
      const auto qos = qos_of(policy.config);
      if (!qos) return at(spec, policy, qos.error());
      qos_ = *qos;
      continue;
    }
    if (policy.use == "compression") {
      const auto compression = compression_of(policy.config);
      if (!compression) return at(spec, policy, compression.error());
      compression_ = *compression;
      continue;
    }
    std::shared_ptr<const PolicyInstance> instance;
    auto engine = make_engine(set, catalog, spec, policy, route, shard, instance);
    if (!engine) return at(spec, policy, engine.error());
    stages_.push_back({spec.name, policy.name, policy.use, std::move(*engine), std::move(instance)});
  }
  return ok_status();
}

// What two daemons tell each other about the chain.
Status Chain::join_group(const ChainSpec& spec, Place place, size_t first_stage) {
  if (first_stage == stages_.size()) return ok_status();
  if (place != Place::kEndpoint && spec.side == ChainSide::kClient) {  // a policy may choose another daemon's endpoint
    judges_ += (judges_.empty() ? "" : ",") + spec.name;
    if (judges_.size() > kJudgedBytesMax) return invalid_argument("chain '" + spec.name + "': too many chains of side 'client' select one method");
  }
  if (place != Place::kEndpoint || spec.judged_by.empty()) return ok_status();
  if (groups_.size() == kGroupsMax) return invalid_argument("chain '" + spec.name + "': too many chains with 'judged_by' select one method");
  for (size_t i = first_stage; i < stages_.size(); ++i) stages_[i].group = uint64_t{1} << groups_.size();
  groups_.push_back({spec.name, spec.judged_by});
  return ok_status();
}

Result<std::unique_ptr<Engine>> Chain::make_engine(const ChainSet& set, const EngineCatalog& catalog, const ChainSpec& spec,
                                                   const PolicySpec& policy, const RouteInfo& route, uint32_t shard,
                                                   std::shared_ptr<const PolicyInstance>& instance) {
  if (const auto known = set.instances.find({spec.name, policy.name}); known != set.instances.end()) {
    auto program = known->second->program(route.service, route.method, schema_.fingerprint);
    if (!program) {
      const auto why = set.given_up.find({std::string(route.service), schema_.fingerprint});
      return Error{StatusCode::kFailedPrecondition, why != set.given_up.end() ? why->second : "no program has been compiled for this method's messages"};
    }
    instance = known->second;
    return ProgramEngine::make(known->second, std::move(program), route, *schema_.method, shard);
  }
  const auto factory = catalog.find(policy.use);
  if (factory == catalog.end()) return invalid_argument("no such policy");
  return factory->second(policy.config, *schema_.method->request);
}

// Each engine its part of what a call keeps.
void Chain::place_state() {
  for (Stage& stage : stages_) {
    stage.engine->place(rows_, cells_);
    rows_ += stage.engine->rows_kept();
    cells_ += stage.engine->cells_kept();
    reads_bytes_ |= stage.engine->reads_bytes();
    judges_replies_ |= stage.engine->judges_replies();
    wants_end_ |= stage.engine->wants_end();
    reads_metadata_ |= stage.engine->reads_metadata();
  }
}

std::shared_ptr<Chain> Chain::refusing(uint64_t revision, Error error) {
  auto chain = std::make_shared<Chain>();
  chain->revision_ = revision;
  chain->refusal_ = std::move(error);
  return chain;
}

void Chain::prepare(JudgedCall& call) {
  CallState& state = call.state;
  if (rows_ != 0) state.rows.resize(rows_);
  if (cells_ != 0) state.cells = std::make_unique<uint64_t[]>(cells_);
  if (!reads_metadata_ || (call.facts.last && !judges_replies_ && !wants_end_)) return;
  const auto metadata = call.message->metadata();
  state.metadata.assign(metadata.begin(), metadata.end());
}

// Names who denied, and writes what was changed into the message.
Action Chain::conclude(JudgedCall& call, Action action) {
  if (action == Action::kDeny) {
    Stage& stage = stages_[call.stage];
    stage.denied += 1;
    call.verdict.denial->text = "denied by policy '" + stage.policy + "' of chain '" + stage.chain + "': " + call.verdict.denial->text;
  } else if (!call.metadata_edits.empty()) {
    edit_metadata(*call.message, call.metadata_edits);
    call.metadata_edits.clear();
  }
  return action;
}

void Chain::leave_out(CallState& state, std::string_view node, std::string_view claimed) const {
  for (size_t i = 0; i < groups_.size(); ++i) {
    const Group& group = groups_[i];
    if (!is_among(group.chain, claimed)) continue;
    if (std::find(group.judged_by.begin(), group.judged_by.end(), node) == group.judged_by.end()) continue;
    state.left_out |= uint64_t{1} << i;
    state.judged += (state.judged.empty() ? "" : ",") + group.chain;
  }
}

Action Chain::judge(JudgedCall& call, uint32_t from) {
  if (refusal_) {
    call.verdict.denial = Error{StatusCode::kFailedPrecondition, "denied: " + refusal_->text};
    return Action::kDeny;
  }
  const auto count = static_cast<uint32_t>(stages_.size());
  if (from == 0 && call.facts.first) prepare(call);
  uint64_t before = __rdtsc();
  for (uint32_t i = from; i < count; ++i) {
    Stage& stage = stages_[i];
    if ((stage.group & call.state.left_out) != 0) continue;
    call.stage = i;
    const Action action = stage.engine->on_request(call);
    const uint64_t after = __rdtsc();
    stage.cycles += after - before;
    before = after;
    stage.evaluations += 1;
    const bool passes = action == Action::kForward || action == Action::kDelay;
    if (passes && call.facts.first) call.state.passed = i + 1;
    if (action != Action::kForward) return conclude(call, action);
  }
  return call.metadata_edits.empty() ? Action::kForward : conclude(call, Action::kForward);
}

Action Chain::judge_reply(JudgedCall& call, uint32_t from) {
  for (uint32_t i = std::min(from, call.state.passed); i-- > 0;) {
    Stage& stage = stages_[i];
    if (!stage.engine->judges_replies() || (stage.group & call.state.left_out) != 0) continue;
    call.stage = i;
    const uint64_t before = __rdtsc();
    const Action action = stage.engine->on_reply(call);
    stage.cycles += __rdtsc() - before;
    if (action != Action::kForward) return conclude(call, action);
  }
  return call.metadata_edits.empty() ? Action::kForward : conclude(call, Action::kForward);
}

void Chain::end(JudgedCall& call, uint32_t denier) {
  for (uint32_t i = 0; i < call.state.passed; ++i) {
    Stage& stage = stages_[i];
    if (!stage.engine->wants_end() || (stage.group & call.state.left_out) != 0) continue;
    call.stage = i;
    call.facts.denied = denier != kNobody && denier > i;
    const uint64_t before = __rdtsc();
    stage.engine->on_end(call);
    stage.cycles += __rdtsc() - before;
  }
  call.state.passed = 0;
}

bool Chain::carry(CallState& state, uint32_t passed, std::span<const std::string> rows, std::span<const uint64_t> cells) {
  if (passed > stages_.size() || rows.size() != rows_ || cells.size() != cells_) return false;
  state.rows.resize(rows_);
  state.cells = std::make_unique<uint64_t[]>(cells_);
  std::copy(cells.begin(), cells.end(), state.cells.get());
  for (const Stage& stage : stages_)
    if (is_among(stage.chain, state.judged)) state.left_out |= stage.group;
  for (uint32_t i = 0; i < passed; ++i)
    if ((stages_[i].group & state.left_out) == 0) stages_[i].engine->carry(state, rows);
  state.passed = passed;
  return true;
}

void Chain::adopt(const Chain& old) {
  for (Stage& stage : stages_) {
    for (const Stage& before : old.stages_) {
      if (before.policy != stage.policy || before.chain != stage.chain || before.use != stage.use) continue;
      if ((before.instance == nullptr) == (stage.instance == nullptr)) stage.engine->adopt(*before.engine);
      stage.evaluations = before.evaluations;
      stage.denied = before.denied;
      stage.faults_before = before.faults();
      stage.cycles = before.cycles;
    }
  }
}

}  // namespace mrpc::dataplane
