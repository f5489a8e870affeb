// Hot restart, the data plane's half. The protocol between the two processes, and who owns what when, is at the top of
// mrpc_service/takeover.py; in its terms:
//
//   freeze()      predecessor   every thread stands still between two turns; what was under way inside has come to rest
//   frozen()      predecessor   all that a successor needs, as bytes and descriptors; changes nothing
//   thaw()        predecessor   goes on as if nothing had been; only while the successor has not taken over
//   abandon()     predecessor   it is the successor's now: nothing here touches shared memory or a socket again
//   take_over()   successor     builds everything from what came; reads and writes nothing that is shared
//   start()       successor     goes on: from here it is the owner
#include <algorithm>

#include "dataplane/dataplane.h"
#include "dataplane/policy/saved_state.h"
#include "dataplane/takeover/reader.h"
#include "dataplane/takeover/writer.h"

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kPumpNs = 5'000'000;  // for what waits for room with its receiver; the rest is handed over as it waits
constexpr auto kPause = std::chrono::microseconds(20);

// A configuration value with its type in front: b, n, i, s, or l with a NUL before each item.
std::string config_text(const ConfigValue& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "b1" : "b0";
  if (const double* number = std::get_if<double>(&value)) return "n" + std::to_string(*number);
  if (const int64_t* integer = std::get_if<int64_t>(&value)) return "i" + std::to_string(*integer);
  if (const auto* text = std::get_if<std::string>(&value)) return "s" + *text;
  std::string list = "l";
  for (const std::string& item : std::get<std::vector<std::string>>(value)) list += '\0' + item;
  return list;
}

std::vector<TakeoverChain> saved_chains(const ChainSet& set) {
  std::vector<TakeoverChain> saved;
  for (const ChainSpec& chain : set.chains) {
    TakeoverChain& out = saved.emplace_back(TakeoverChain{chain.name, chain.client, chain.service, chain.method, {}});
    for (const PolicySpec& policy : chain.policies) {
      TakeoverPolicy& made = out.policies.emplace_back(TakeoverPolicy{policy.name, policy.use, {}});
      for (const auto& [key, value] : policy.config) made.config.emplace_back(key, config_text(value));
    }
  }
  return saved;
}

}  // namespace

Status Dataplane::freeze(uint64_t bound_ns) {
  frozen_ = std::unique_lock(operator_mutex_);
  if (!running_) {
    frozen_ = {};
    return Error{StatusCode::kFailedPrecondition, "the data plane does not run"};
  }
  attach_server_.park();
  for (auto& thread : shards_) thread->park();
  const uint64_t begun_ns = monotonic_ns();
  for (;;) {
    const uint64_t spent_ns = monotonic_ns() - begun_ns;
    bool worked = attach_server_.settle(), waits = false;
    for (auto& thread : shards_) {
      worked |= thread->shard().settle(spent_ns < kPumpNs);
      waits |= thread->shard().works_long();
    }
    if (!worked && !waits) return ok_status();
    if (spent_ns > bound_ns) {
      thaw();
      return unavailable("work that is under way takes too long; try again");
    }
    if (!worked) std::this_thread::sleep_for(kPause);  // the long-work thread is at it
  }
}

Result<FrozenState> Dataplane::frozen(uint32_t version) {
  MRPC_ASSERT(frozen_.owns_lock());
  auto writer = std::make_unique<TakeoverWriter>();
  writer->version = version;
  TakeoverState& state = writer->state;
  state.node = config_.node;
  state.shards = config_.shards;
  state.ring_slots = config_.ring_slots;
  state.layout_version = message::kLayoutVersion;
  state.started_ns = started_ns_;
  state.epoch = chains_->epoch;
  state.chains = saved_chains(*chains_);
  for (const auto& [id, links] : peers_) state.joined.push_back({id, links});
  for (const auto& [name, instance] : chains_->instances)
    state.policy_states.push_back({name.first, name.second, as_text(save_state(*instance))});
  attach_server_.export_state(*writer);
  for (auto& thread : shards_) thread->shard().export_state(*writer);
  if (Status written = writer->write_payload(); !written) return written.error();
  FrozenState frozen{encode_takeover(state, version), writer->fds(), nullptr};
  frozen.keep = std::shared_ptr<TakeoverWriter>(std::move(writer));
  return frozen;
}

void Dataplane::thaw() {
  MRPC_ASSERT(frozen_.owns_lock());
  for (auto& thread : shards_) thread->unpark();
  attach_server_.unpark();
  frozen_ = {};
}

void Dataplane::abandon() {
  MRPC_ASSERT(frozen_.owns_lock());
  running_ = false;
  for (auto& thread : shards_) thread->abandon();
  attach_server_.abandon();
  frozen_ = {};
}

Status Dataplane::take_over(std::span<const std::byte> bytes, std::vector<Fd> fds) {
  const std::lock_guard lock(operator_mutex_);
  MRPC_ASSERT(!running_ && !taken_over_);
  auto state = decode_takeover(bytes);
  if (!state) return state.error();
  if (state->shards != config_.shards || state->ring_slots != config_.ring_slots)
    return Error{StatusCode::kFailedPrecondition, "the predecessor runs " + std::to_string(state->shards) + " shards, and this is set for " +
                                                      std::to_string(config_.shards) + "; leave --shards as it was, or restart cold"};
  if (state->layout_version != message::kLayoutVersion)
    return Error{StatusCode::kFailedPrecondition, "the predecessor's applications lay messages out by version " +
                                                      std::to_string(state->layout_version) + ", this reads version " +
                                                      std::to_string(message::kLayoutVersion) + "; restart cold"};
  TakeoverReader reader(std::move(*state), std::move(fds));
  if (Status good = reader.status(); !good) return good;
  // The same chains go on under their number; others are a change, and get the next one.
  auto set = std::make_shared<ChainSet>(*chains_);
  set->epoch = reader.state.epoch + (saved_chains(*set) == reader.state.chains ? 0 : 1);
  chains_ = set;
  for (const TakeoverPolicyState& saved : reader.state.policy_states) {
    const auto instance = set->instances.find({saved.chain, saved.policy});
    if (instance == set->instances.end()) continue;
    if (Status restored = restore_state(*instance->second, std::as_bytes(std::span(saved.saved))); !restored)
      on_event("log", "", "", "policy '" + saved.policy + "' of chain '" + saved.chain + "' starts anew: " + restored.error().text);
  }
  started_ns_ = reader.state.started_ns;
  if (Status attached = attach_server_.import_state(reader); !attached) return attached;
  for (auto& thread : shards_) {
    thread->shard().chains = set;
    thread->shard().orders_calls = set->orders_calls();
    if (Status imported = thread->shard().import_state(reader); !imported) return imported;
  }
  for (const TakeoverJoined& joined : reader.state.joined) {
    if (joined.links.size() != shards_.size()) return invalid_argument("the predecessor's state cannot be: a peer without its links");
    peers_.emplace(joined.id, joined.links);
  }
  taken_over_ = true;
  return ok_status();
}

}  // namespace mrpc::dataplane
