// Policies on several shards at once, each with a thread, a client and a server of its own, while operators swap what is in force.
#include <algorithm>
#include <mutex>
#include <numeric>
#include <set>
#include <thread>

#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {
namespace {

constexpr uint64_t kCalls = 1000;  // on each shard
constexpr int kSwaps = 10;
const Scope kEveryone = {{ScopeKind::kGlobal, {}}};

std::shared_ptr<ProgramSpec> ticket(Scope scope, Scope other, int version) {
  auto spec = spec_of("ticket");
  spec->source_sha256 = "ticket" + std::to_string(version);
  spec->state = {{std::move(scope), integers({"given"})}, {std::move(other), integers({"given_too"})}};
  spec->reads_metadata = true;
  return spec;
}

// One shard, as its thread sees it.
struct Lane {
  Rig rig;
  std::mutex mutex;
  std::shared_ptr<const ChainSet> next;  // to be put in force between two turns
  std::vector<uint64_t> tickets;         // as its server heard them, in the order of the calls
  uint64_t passed = 0;

  void post(std::shared_ptr<const ChainSet> set) {
    const std::lock_guard lock(mutex);
    next = std::move(set);
  }
  void apply() {
    std::shared_ptr<const ChainSet> set;
    {
      const std::lock_guard lock(mutex);
      set = std::exchange(next, nullptr);
    }
    if (set) rig.shard.apply_chains(std::move(set));
  }
  void call(uint64_t id) {
    rig.client.open(Rig::kHandles, id, rig.payload("x"));
    rig.settle();
    while (auto arrival = rig.server.take()) {
      if (arrival->kind() != SlotKind::kOpen) continue;
      for (const auto& [key, value] : arrival->metadata)
        if (key == "x-ticket") tickets.push_back(std::stoull(value));
      rig.server.say(SlotKind::kStatus, arrival->slot.call_id, arrival->image);
    }
    rig.settle();
    while (auto arrival = rig.client.take()) passed += arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kOk;
  }
  void run() {
    for (uint64_t id = 1; id <= kCalls; ++id) {
      apply();
      call(id);
    }
    apply();
  }
};

// Runs `shards` lanes, with `uses(version)` in force one after the other. The last set.
template <typename Uses>
std::shared_ptr<ChainSet> run(std::vector<std::unique_ptr<Lane>>& lanes, uint32_t shards, Uses uses) {
  for (uint32_t i = 0; i < shards; ++i) lanes.push_back(std::make_unique<Lane>());
  auto set = chain_of({}, uses(0), ChainSide::kAny, shards);
  for (auto& lane : lanes) lane->post(set);
  std::vector<std::thread> threads;
  for (auto& lane : lanes) threads.emplace_back([&lane] { lane->run(); });
  for (int version = 1; version <= kSwaps; ++version) {
    set = chain_of(*set, uses(version), ChainSide::kAny, shards);
    for (auto& lane : lanes) lane->post(set);
  }
  for (auto& thread : threads) thread.join();
  return set;
}

}  // namespace

TEST_CASE("calls of several shards that share a row are numbered once each, in order, while programs are swapped") {
  const Scope scopes[] = {kEveryone, {{ScopeKind::kClient, {}}}, {{ScopeKind::kServer, {}}, {ScopeKind::kMethod, {}}},
                          {{ScopeKind::kTenant, {}}}, {{ScopeKind::kMetadata, "region"}}};
  for (const uint32_t shards : {2u, 4u}) {
    for (const Scope& scope : scopes) {
      const Scope other = scope == kEveryone ? Scope{{ScopeKind::kServer, {}}} : kEveryone;
      std::vector<std::unique_ptr<Lane>> lanes;
      const auto set = run(lanes, shards, [&](int version) { return std::vector<Use>{{"p", ticket(scope, other, version)}}; });
      std::vector<uint64_t> all;
      for (const auto& lane : lanes) {
        CHECK(lane->tickets.size() == kCalls);
        CHECK(std::is_sorted(lane->tickets.begin(), lane->tickets.end()));
        all.insert(all.end(), lane->tickets.begin(), lane->tickets.end());
      }
      std::sort(all.begin(), all.end());
      std::vector<uint64_t> expected(shards * kCalls);
      std::iota(expected.begin(), expected.end(), 1);
      CHECK(all == expected);
      CHECK(PolicyRig::state_of(*set, "p", "given") == static_cast<int64_t>(shards * kCalls));
    }
  }
}

TEST_CASE("rows of their own are counted apart on each shard") {
  std::vector<std::unique_ptr<Lane>> lanes;
  const std::string regions[] = {"eu", "us", "eu", "us"};
  for (const std::string& region : regions) lanes.emplace_back(std::make_unique<Lane>())->rig.client.metadata = {{"region", region}};
  const auto set = chain_of({}, {{"p", ticket({{ScopeKind::kMetadata, "region"}}, kEveryone, 0)}}, ChainSide::kAny, 4);
  std::vector<std::thread> threads;
  for (auto& lane : lanes) {
    lane->post(set);
    threads.emplace_back([&lane] { lane->run(); });
  }
  for (auto& thread : threads) thread.join();
  for (const size_t first : {0u, 1u}) {
    std::set<uint64_t> of_region(lanes[first]->tickets.begin(), lanes[first]->tickets.end());
    of_region.insert(lanes[first + 2]->tickets.begin(), lanes[first + 2]->tickets.end());
    CHECK(of_region.size() == 2 * kCalls);
    CHECK(*of_region.rbegin() == 2 * kCalls);
  }
}

TEST_CASE("a limit over all shards lets exactly so many calls pass, and what is running returns to nothing") {
  for (const uint32_t shards : {2u, 4u}) {
    std::vector<std::unique_ptr<Lane>> lanes;
    const int64_t most = static_cast<int64_t>(shards * kCalls / 3);
    const auto set = run(lanes, shards, [&](int) { return std::vector<Use>{{"count", probe()}, {"limit", quota(kEveryone), kPass, most}}; });
    uint64_t passed = 0;
    for (const auto& lane : lanes) passed += lane->passed;
    CHECK(passed == static_cast<uint64_t>(most));
    CHECK(PolicyRig::state_of(*set, "limit", "left") == 0);
    CHECK(PolicyRig::state_of(*set, "count", "requests") == static_cast<int64_t>(shards * kCalls));
    CHECK(PolicyRig::state_of(*set, "count", "ends") == static_cast<int64_t>(shards * kCalls));
    CHECK(PolicyRig::state_of(*set, "count", "denied_ends") == static_cast<int64_t>(shards * kCalls) - most);
    CHECK(PolicyRig::state_of(*set, "count", "in_flight") == 0);
  }
}

}  // namespace mrpc::dataplane::testing
