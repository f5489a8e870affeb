// A rig whose chain is made of the compiled policies in policies/.
#pragma once

#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {

inline std::shared_ptr<ProgramSpec> spec_of(const std::string& object) {
  auto spec = std::make_shared<ProgramSpec>();
  spec->abi = MRPC_POLICY_ABI;
  spec->name = object;
  spec->source = object + ".py";
  spec->source_sha256 = object;
  spec->object = TEST_POLICIES "/" + object + ".so";
  spec->config_bytes = 32;
  spec->config = {{"mode", ConfigType::kInt, 0}, {"value", ConfigType::kInt, 8}, {"text", ConfigType::kText, 16}};
  return spec;
}

inline std::vector<StateFieldSpec> integers(std::initializer_list<const char*> names) {
  std::vector<StateFieldSpec> fields;
  for (const char* name : names) fields.push_back({name, CellType::kInt, 0, {}});
  return fields;
}

inline std::shared_ptr<ProgramSpec> probe() {
  auto spec = spec_of("probe");
  spec->state = {{{{ScopeKind::kGlobal, {}}}, integers({"requests", "replies", "ends", "denied_ends", "last_status", "in_flight"})},
                 {{{ScopeKind::kCall, {}}}, integers({"entered"})}};
  spec->stores = {{"replies", {{ScopeKind::kGlobal, {}}}}};
  spec->writes = {{"request.name", CellType::kInt, true}};
  return spec;
}

inline std::shared_ptr<ProgramSpec> moved() {
  auto spec = spec_of("moved");
  spec->state = {{{{ScopeKind::kGlobal, {}}}, integers({"doubled", "in_flight", "requests"})}};
  spec->old = {{{{ScopeKind::kGlobal, {}}}, "requests", CellType::kInt}};
  return spec;
}

inline std::shared_ptr<ProgramSpec> quota(Scope scope) {
  auto spec = spec_of("quota");
  spec->state = {{std::move(scope), {{"left", CellType::kInt, 0, "value"}}}};
  return spec;
}

// As in policies/probe.c.
enum Mode { kPass, kRefuse, kPause, kRouteApp, kRouteHash, kFail, kAnswer, kSetMetadata, kSetField, kRefuseLater, kRefuseReply, kPauseReply, kSay, kLeadOnly,
            kTenantLimit, kSetReply, kNeedMetadata };

struct Use {
  std::string name;
  std::shared_ptr<const ProgramSpec> spec;
  int64_t mode = kPass, value = 0;
  std::string text = {};
};

inline std::shared_ptr<ChainSet> chain_of(const ChainSet& before, const std::vector<Use>& uses, ChainSide side = ChainSide::kAny, uint32_t shards = 1) {
  auto set = std::make_shared<ChainSet>();
  set->epoch = set->revision = before.revision + 1;
  ChainSpec& chain = set->chains.emplace_back(ChainSpec{"c", "*", "*", "*", {}, side});
  for (const Use& use : uses) {
    chain.policies.push_back({use.name, use.spec->name, {{"mode", use.mode}, {"value", use.value}, {"text", use.text}}});
    auto program = Program::load(use.spec);
    REQUIRE_MESSAGE(program.ok(), program.error().text);
    const auto known = before.instances.find({"c", use.name});
    auto made = PolicyInstance::make("c", use.name, chain.policies.back().config, {{{"", "", 0}, *program}}, shards,
                                     known == before.instances.end() ? nullptr : known->second.get());
    REQUIRE_MESSAGE(made.ok(), made.error().text);
    set->instances[{"c", use.name}] = *made;
  }
  return set;
}

class PolicyRig : public Rig {
 public:
  explicit PolicyRig(const std::vector<Use>& uses, Config settings = {}) : Rig(std::move(settings)) { use(uses); }
  void use(const std::vector<Use>& uses) {
    shard.apply_chains(chain_of(*shard.chains, uses));
    settle();
  }
  // A field of the one row that a policy has in its first scope.
  int64_t state(const std::string& policy, const std::string& field) { return state_of(*shard.chains, policy, field); }
  static int64_t state_of(const ChainSet& set, const std::string& policy, const std::string& field) {
    const auto rows = set.instances.at({"c", policy})->scopes()[0].table->save();
    for (const auto& row : rows)
      for (const auto& cell : row.cells)
        if (cell.field == field) return static_cast<int64_t>(cell.bits);
    return -1;
  }
  void open(uint64_t call, const std::string& name = "x", uint64_t deadline = 0) {
    client.open(kHandles, call, payload(name), abi::kEnd, deadline);
    settle();
  }
  // The server's next call, not yet answered.
  std::optional<Arrival> arrived() {
    while (auto arrival = server.take())
      if (arrival->kind() != SlotKind::kReclaim) return arrival;
    return std::nullopt;
  }
  void answer(const Arrival& request, StatusCode code = StatusCode::kOk) {
    if (code == StatusCode::kOk) server.say(SlotKind::kStatus, request.slot.call_id, request.image);
    else server.say(SlotKind::kStatus, request.slot.call_id, {}, 0, code, "no");
    settle();
  }
  std::optional<Arrival> maybe_reply() {
    settle();
    while (auto arrival = client.take())
      if (arrival->kind() != SlotKind::kReclaim) return arrival;
    return std::nullopt;
  }
  void pass_time(uint64_t ns) {
    world.now += ns;
    settle();
  }
};

}  // namespace mrpc::dataplane::testing
