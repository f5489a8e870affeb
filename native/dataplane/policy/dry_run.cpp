#include "dataplane/policy/dry_run.h"

#include <algorithm>

namespace mrpc::dataplane {
namespace {

class DryRunner final : public EngineHost {
 public:
  DryRunner(const ChainSet& set, const EngineCatalog& catalog, uint64_t now_ns, uint64_t unix_ns)
      : set_(set), catalog_(catalog), now_ns_(now_ns), unix_ns_(unix_ns) {
    for (const ChainSpec& chain : set.chains)
      for (const PolicySpec& policy : chain.policies)
        if (!is_setting(policy.use)) result_.policies.push_back({.chain = chain.name, .policy = policy.name});
  }

  Result<DryRun> run(const Recorder::Calls& calls) {
    for (const auto& call : calls) {
      end_until(call->at_ns);
      const auto chain = chain_of(*call);
      if (!chain) return chain.error();
      if (*chain != nullptr && !(*chain)->stages().empty()) judge(call, *chain);
    }
    end_until(UINT64_MAX);
    for (const auto& [key, chain] : chains_)
      if (chain) add_counters(*chain);
    return std::move(result_);
  }

  // The same draws each time, so that a dry run can be repeated.
  uint64_t random() override { return random_ = random_ * 6364136223846793005ull + 1442695040888963407ull; }
  void log(std::string_view, const mrpc_call&, std::string_view) override {}
  void try_again(const std::vector<ReplyStore::CallKey>&) override {}

 private:
  struct Open {
    std::shared_ptr<const RecordedCall> call;
    std::unique_ptr<CallState> state;
    uint64_t id = 0;
  };
  using ChainKey = std::tuple<std::string, std::string, std::string, uint64_t, Place>;

  // Null when the chains have no program for this schema: it is no longer on offer.
  Result<std::shared_ptr<Chain>> chain_of(const RecordedCall& call) {
    const ServiceVariant& variant = *call.variant;
    const auto [at, fresh] = chains_.try_emplace({call.client, call.service, call.method, variant.fingerprint(), call.place});
    if (!fresh || !set_.lacking(*variant.layout, call.place).empty()) return at->second;
    const RouteInfo route{call.client, call.service, call.method};
    auto made = Chain::compile(set_, catalog_, route, call.place, {variant.schema, call.layout, variant.fingerprint()}, 0);
    if (!made) return made.error();
    return at->second = std::move(*made);
  }

  JudgedCall judged_call(const Open& open, uint64_t at_ns) {
    const RecordedCall& call = *open.call;
    JudgedCall judged(*this, *open.state);
    judged.key = {0, open.id};
    judged.layout = call.layout->request;
    judged.fingerprint = call.variant->fingerprint();
    judged.facts.now_ns = at_ns;
    judged.facts.unix_ns = unix_ns_ - std::min(unix_ns_, now_ns_ - std::min(now_ns_, at_ns));
    judged.facts.started_ns = call.at_ns;
    judged.facts.client = to_text(call.client);
    judged.facts.server = to_text(call.server);
    judged.facts.service = to_text(call.service);
    judged.facts.method = to_text(call.method);
    judged.facts.tenant = to_text(call.tenant);
    return judged;
  }

  void judge(const std::shared_ptr<const RecordedCall>& call, const std::shared_ptr<Chain>& chain) {
    Open open{call, std::make_unique<CallState>(), next_id_++};
    open.state->chain = chain;
    Message message = make_message(0, call->metadata, {}, call->request);
    JudgedCall judged = judged_call(open, call->at_ns);
    judged.message = &message;
    judged.facts.message_bytes = call->request_bytes;
    judged.facts.first = judged.facts.last = 1;
    Unknown unknown{call->withheld, call->metadata_withheld, {}};
    judged.unknown = &unknown;
    const auto goes_on = [&](Action action) {
      return action == Action::kDelay || (action == Action::kDeny && unknown.asked.count(judged.stage) != 0);
    };
    Action action = chain->judge(judged);
    while (goes_on(action)) action = chain->judge(judged, judged.stage + 1);
    result_.calls += 1;
    account(*call, *chain, judged, action);
    if (action == Action::kDeny) end(open, call->at_ns, judged.stage);
    else open_.emplace(call->at_ns + call->latency_ns, std::move(open));
  }

  void account(const RecordedCall& call, const Chain& chain, const JudgedCall& judged, Action action) {
    const bool denied = action == Action::kDeny;
    result_.denied += denied;
    for (const auto& [stage, keys] : judged.unknown->asked) {
      DryRunPolicy& policy = policy_of(chain.stages()[stage]);
      policy.unjudged += 1;
      policy.withheld.insert(keys.begin(), keys.end());
    }
    if (denied && judged.stage < chain.stages().size()) policy_of(chain.stages()[judged.stage]).denied += 1;
    if (denied && !call.denied && judged.stage < chain.stages().size()) {
      DryRunPolicy& policy = policy_of(chain.stages()[judged.stage]);
      policy.newly_denied += 1;
      if (policy.examples.size() < kDryRunExamplesMax)
        policy.examples.push_back({call.client, call.service, call.method, judged.verdict.denial->text});
    }
    if (!call.denied) return;
    const size_t passed = denied ? judged.stage : chain.stages().size();
    for (uint32_t i = 0; i < passed; ++i)
      if (judged.unknown->asked.count(i) == 0 && chain.stages()[i].chain + "/" + chain.stages()[i].policy == call.denied_by) policy_of(chain.stages()[i]).newly_passed += 1;
  }

  DryRunPolicy& policy_of(const Stage& stage) {
    const auto at = std::find_if(result_.policies.begin(), result_.policies.end(),
                                 [&](const DryRunPolicy& policy) { return policy.chain == stage.chain && policy.policy == stage.policy; });
    MRPC_ASSERT(at != result_.policies.end());
    return *at;
  }

  void end_until(uint64_t until_ns) {
    for (; !open_.empty() && open_.begin()->first <= until_ns; open_.erase(open_.begin()))
      end(open_.begin()->second, open_.begin()->first, Chain::kNobody);
  }

  // `denier`: the stage that denied it.
  void end(Open& ended, uint64_t at_ns, uint32_t denier) {
    JudgedCall judged = judged_call(ended, at_ns);
    judged.facts.status = static_cast<int32_t>(denier == Chain::kNobody ? ended.call->status : StatusCode::kPermissionDenied);
    for (const ReplyClaim& claim : ended.state->claims) {
      if (claim.leads) claim.store->abandon(claim.key, judged.key);
      else claim.store->stop_waiting(claim.key, judged.key);
    }
    ended.state->chain->end(judged, denier);
  }

  void add_counters(const Chain& chain) {
    for (const Stage& stage : chain.stages()) {
      DryRunPolicy& policy = policy_of(stage);
      policy.evaluated += stage.evaluations;
      policy.faults += stage.faults();
    }
  }

  const ChainSet& set_;
  const EngineCatalog& catalog_;
  const uint64_t now_ns_, unix_ns_;
  std::map<ChainKey, std::shared_ptr<Chain>> chains_;
  std::multimap<uint64_t, Open> open_;  // that were let pass, by when they end
  uint64_t next_id_ = 1, random_ = 1;
  DryRun result_;
};

}  // namespace

Result<DryRun> dry_run(const ChainSet& set, const EngineCatalog& catalog, Recorder::Calls calls, uint64_t now_ns, uint64_t unix_ns) {
  std::erase_if(calls, [](const auto& call) { return call->request.empty(); });  // too long to have been recorded
  std::stable_sort(calls.begin(), calls.end(), [](const auto& a, const auto& b) { return a->at_ns < b->at_ns; });
  return DryRunner(set, catalog, now_ns, unix_ns).run(calls);
}

}  // namespace mrpc::dataplane
