// Replacing what operators have applied: one transaction over all shards.
//
// Everything is built beside what is in force, on this thread: programs loaded, configuration laid out, state taken over by reference. Then each
// shard switches a pointer between two turns. Calls that are open keep the chains, programs and rows that they entered by;
// when the last of them has ended, the next change or snapshot frees them, here.
#include <algorithm>

#include "dataplane/dataplane.h"

namespace mrpc::dataplane {
namespace {

constexpr size_t kRowsAtOnce = 64;  // about 20 us

std::string name_of(const ChainSpec& chain, const PolicySpec& policy) { return "chain '" + chain.name + "', policy '" + policy.name + "'"; }

bool selects_binding(const Binding& binding, const ChainSpec& chain, const PolicySpec& policy) {
  return binding.chain == chain.name && binding.policy == policy.name;
}

}  // namespace

Result<std::shared_ptr<const Program>> Dataplane::load(const Binding& binding) {
  std::erase_if(programs_, [](const auto& known) { return known.second.expired(); });
  auto& known = programs_[binding.spec->object];
  if (auto program = known.lock()) return program;
  auto loaded = Program::load(binding.spec);
  if (!loaded) return loaded.error();
  known = *loaded;
  return *loaded;
}

Status Dataplane::build_instances(ChainSet& set, const ChainSet& before) {
  for (const ChainSpec& chain : set.chains) {
    for (const PolicySpec& policy : chain.policies) {
      if (is_setting(policy.use) || catalog_.count(policy.use) != 0) continue;
      if (set.instances.count({chain.name, policy.name}) != 0) return invalid_argument(name_of(chain, policy) + ": two policies of one chain have this name");
      PolicyInstance::Programs programs;
      for (const Binding& binding : set.bindings) {
        if (!selects_binding(binding, chain, policy)) continue;
        auto program = load(binding);
        if (!program) return invalid_argument(name_of(chain, policy) + ": " + program.error().text);
        programs[{binding.service, binding.method, binding.fingerprint}] = std::move(*program);
      }
      const auto known = before.instances.find({chain.name, policy.name});
      auto made = PolicyInstance::make(chain.name, policy.name, policy.config, std::move(programs), config_.shards,
                                       known == before.instances.end() ? nullptr : known->second.get());
      if (!made) return made.error();
      set.instances.emplace(std::pair(chain.name, policy.name), std::move(*made));
    }
  }
  return ok_status();
}

// Whatever is on offer must have its programs, and every chain must fit what it selects.
Status Dataplane::try_compile(const ChainSet& set) {
  struct Offer { std::shared_ptr<const ServiceVariant> variant; Place place; bool hidden; };
  std::vector<Offer> offers;
  shards_[0]->run_and_wait([&] {
    for (const auto& [name, entry] : shards_[0]->shard().directory.entries())
      for (const auto& endpoint : entry->endpoints) offers.push_back({endpoint->variant, endpoint->place(), endpoint->hidden});
  });
  for (const auto& [variant, place, hidden] : offers) {
    const message::ServiceLayout& service = *variant->layout;
    if (set.given_up.count({service.full_name, service.fingerprint}) != 0) continue;
    const std::string lacking = set.lacking(service, place);
    if (!lacking.empty() && !hidden) return invalid_argument(lacking + "; compile it and apply again");
    if (!lacking.empty()) continue;
    for (const auto& method : service.methods) {
      for (const ChainSpec& chain : set.chains) {
        if (!chain.selects(chain.client, service.full_name, method.name)) continue;
        const RouteInfo route{chain.client, service.full_name, method.name};
        const auto compiled = Chain::compile(set, catalog_, route, place, {variant->schema, &method, service.fingerprint}, 0);
        if (!compiled) return compiled.error();
      }
    }
  }
  return ok_status();
}

AppliedChains Dataplane::switch_to(std::shared_ptr<const ChainSet> set) {
  AppliedChains applied{set->epoch, 0, {}};
  uint64_t rows = 0;
  for (const auto& [name, instance] : set->instances) rows += instance->rows();
  for (auto& thread : shards_) {
    thread->run_and_wait([&] {
      Shard& shard = thread->shard();
      ShardApplied& report = applied.shards.emplace_back();
      report.index = shard.index;
      report.calls_in_flight = shard.clients().open_calls() + shard.servers().open_calls();
      report.rows_carried = rows;
      report.pause_ns = shard.apply_chains(set);
    });
    pauses_.record(applied.shards.back().pause_ns);
    applied.pause_ns_max = std::max(applied.pause_ns_max, applied.shards.back().pause_ns);
  }
  retire(*chains_);
  chains_ = std::move(set);
  return applied;
}

void Dataplane::retire(const ChainSet& set) {
  for (const auto& [name, instance] : set.instances) retired_.push_back(instance);
  std::erase_if(retired_, [](const auto& instance) { return instance.use_count() == 1; });
}

Result<AppliedChains> Dataplane::apply_chains(std::vector<ChainSpec> chains, std::vector<Binding> bindings) {
  const std::lock_guard lock(operator_mutex_);
  auto set = std::make_shared<ChainSet>();
  set->epoch = chains_->epoch + 1;
  set->revision = chains_->revision + 1;
  set->chains = std::move(chains);
  set->bindings = std::move(bindings);
  set->given_up = chains_->given_up;
  for (const Binding& binding : set->bindings) set->given_up.erase({binding.service, binding.fingerprint});
  if (Status built = build_instances(*set, *chains_); !built) return built.error();
  if (Status compiles = try_compile(*set); !compiles) return compiles.error();
  for (const auto& [name, rows] : std::exchange(rows_to_put_, {})) {
    const auto known = set->instances.find(name);
    if (known == set->instances.end() || !moves_state(*known->second)) continue;
    for (const MovedRow& row : rows) put_row(*known->second, row, false);  // no shard knows the tables yet
  }
  return switch_to(std::move(set));
}

// The same chains with other programs.
Status Dataplane::replace(std::shared_ptr<ChainSet> set) {
  set->revision += 1;
  set->instances.clear();
  if (Status built = build_instances(*set, *chains_); !built) return built;
  switch_to(std::move(set));
  return ok_status();
}

Status Dataplane::add_bindings(std::vector<Binding> bindings) {
  const std::lock_guard lock(operator_mutex_);
  auto set = std::make_shared<ChainSet>(*chains_);
  for (Binding& binding : bindings) {
    const bool wanted = set->instances.count({binding.chain, binding.policy}) != 0;
    if (!wanted) return invalid_argument("no chain '" + binding.chain + "' with a policy '" + binding.policy + "' is in force");
    set->given_up.erase({binding.service, binding.fingerprint});
    std::erase_if(set->bindings, [&](const Binding& known) {
      return known.chain == binding.chain && known.policy == binding.policy && known.service == binding.service &&
             known.method == binding.method && known.fingerprint == binding.fingerprint;
    });
    set->bindings.push_back(std::move(binding));
  }
  return replace(std::move(set));
}

Status Dataplane::give_up_bindings(const std::string& service, uint64_t fingerprint, const std::string& reason) {
  const std::lock_guard lock(operator_mutex_);
  auto set = std::make_shared<ChainSet>(*chains_);
  set->given_up[{service, fingerprint}] = reason;
  return replace(std::move(set));
}

std::vector<LeaseView> Dataplane::leases() {
  const std::lock_guard lock(operator_mutex_);
  std::vector<LeaseView> views;
  for (const auto& [name, instance] : chains_->instances) {
    if (!instance->has_program()) continue;
    for (size_t i = 0; i < instance->spec().leases.size(); ++i) {
      const LeaseSpec& lease = instance->spec().leases[i];
      views.push_back({name.first, name.second, lease.name, instance->number(lease.rate), instance->number(lease.burst),
                       instance->number(lease.share), instance->lease(i).look()});
    }
  }
  return views;
}

void Dataplane::grant_lease(const std::string& chain, const std::string& policy, const std::string& lease, double tokens, bool shared) {
  const std::lock_guard lock(operator_mutex_);
  const auto known = chains_->instances.find({chain, policy});
  if (known == chains_->instances.end() || !known->second->has_program()) return;
  const PolicyInstance& instance = *known->second;
  for (size_t i = 0; i < instance.spec().leases.size(); ++i)
    if (instance.spec().leases[i].name == lease) instance.lease(i).grant(tokens, instance.number(instance.spec().leases[i].burst), shared);
}

// With one shard its thread alone may touch rows; with several they are taken, whoever it is.
std::vector<MovedRow> Dataplane::policy_rows(const std::string& chain) {
  const std::lock_guard lock(operator_mutex_);
  std::vector<MovedRow> rows;
  for (const auto& [name, instance] : chains_->instances) {
    if (name.first != chain || !moves_state(*instance)) continue;
    for (const InstanceScope& scope : instance->scopes()) {
      for (size_t from = 0; scope.table && from < scope.table->rows(); from += kRowsAtOnce) {
        std::vector<StateTable::SavedRow> saved;
        shards_[0]->run_and_wait([&] { saved = scope.table->save(from, kRowsAtOnce); });
        for (MovedRow& row : rows_of(*instance, *scope.table, std::move(saved))) rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

size_t Dataplane::put_policy_rows(const std::string& chain, const std::vector<MovedRow>& rows, bool adds) {
  const std::lock_guard lock(operator_mutex_);
  size_t put = 0;
  for (size_t from = 0; from < rows.size(); from += kRowsAtOnce) {
    shards_[0]->run_and_wait([&] {
      for (size_t i = from; i < std::min(from + kRowsAtOnce, rows.size()); ++i) {
        const auto known = chains_->instances.find({chain, rows[i].policy});
        const bool in_force = known != chains_->instances.end() && known->second->has_program();
        if (in_force && moves_state(*known->second)) put += put_row(*known->second, rows[i], adds);
        if (!in_force && !adds) rows_to_put_[{chain, rows[i].policy}].push_back(rows[i]), ++put;
      }
    });
  }
  return put;
}

void Dataplane::configure_recorder(const RecorderConfig& config) {
  for (auto& thread : shards_) thread->run_and_wait([&] { thread->shard().recorder.configure(config); });
}

Recorder::Calls Dataplane::recorded() {
  Recorder::Calls calls;
  for (auto& thread : shards_)
    thread->run_and_wait([&] {
      const Recorder::Calls& kept = thread->shard().recorder.calls();
      calls.insert(calls.end(), kept.begin(), kept.end());
    });
  std::stable_sort(calls.begin(), calls.end(), [](const auto& a, const auto& b) { return a->at_ns < b->at_ns; });
  return calls;
}

// On this thread: shards only hand out what they recorded, by reference.
Result<DryRun> Dataplane::dry_run(std::vector<ChainSpec> chains, std::vector<Binding> bindings) {
  const std::lock_guard lock(operator_mutex_);
  ChainSet set;
  set.chains = std::move(chains);
  set.bindings = std::move(bindings);
  if (Status built = build_instances(set, ChainSet{}); !built) return built.error();
  if (Status compiles = try_compile(set); !compiles) return compiles.error();
  return dataplane::dry_run(set, catalog_, recorded(), monotonic_ns(), world_.unix_ns());
}

void Dataplane::on_log(std::string_view policy, std::string_view client, std::string_view service, std::string_view text) {
  ControlEvent event;
  event.kind = "log";
  event.app = client;
  event.label = policy;
  event.service = service;
  event.text = text;
  events_.push(std::move(event));
}

void Dataplane::on_program_needed(const std::string& service, uint64_t fingerprint) {
  ControlEvent event;
  event.kind = "program_needed";
  event.service = service;
  event.fingerprint = fingerprint;
  events_.push(std::move(event));
}

}  // namespace mrpc::dataplane
