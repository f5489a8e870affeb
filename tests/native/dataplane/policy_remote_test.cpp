// Policies on calls between two daemons: each side judges by its own chains.
#include "dataplane/peers.h"
#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {
namespace {

void use(Peers& peers, Rig& rig, const std::vector<Use>& uses, ChainSide side = ChainSide::kAny, std::vector<std::string> judged_by = {}) {
  const auto set = chain_of(*rig.shard.chains, uses, side);
  set->chains.front().judged_by = std::move(judged_by);
  rig.shard.apply_chains(set);
  peers.settle();
}
int64_t state(Rig& rig, const std::string& field) { return PolicyRig::state_of(*rig.shard.chains, "p", field); }

std::optional<Arrival> arrived(Peers& peers) {
  peers.settle();
  while (auto arrival = peers.far.server.take())
    if (arrival->kind() != SlotKind::kReclaim) return arrival;
  return std::nullopt;
}
Arrival reply(Peers& peers) {
  peers.settle();
  while (auto arrival = peers.near.client.take())
    if (arrival->kind() != SlotKind::kReclaim) return *arrival;
  FAIL("no completion");
  return {};
}
void open(Peers& peers, uint64_t call) { peers.near.client.open(Rig::kHandles, call, peers.near.payload("x")); }
void answer(Peers& peers, const Arrival& request) { peers.far.server.say(SlotKind::kStatus, request.slot.call_id, request.image); }

}  // namespace

TEST_CASE("the endpoint's daemon judges what comes from another, its replies, and its end") {
  Peers peers;
  use(peers, peers.far, {{"p", probe()}});
  open(peers, 1);
  const auto request = arrived(peers);
  REQUIRE(request.has_value());
  CHECK(state(peers.far, "in_flight") == 1);
  answer(peers, *request);
  CHECK(reply(peers).code() == StatusCode::kOk);
  CHECK(state(peers.far, "requests") == 1);
  CHECK(state(peers.far, "replies") == 1);
  CHECK(state(peers.far, "ends") == 1);
  use(peers, peers.far, {{"p", probe(), kRefuse}});
  open(peers, 2);
  CHECK(reply(peers).code() == StatusCode::kPermissionDenied);
  use(peers, peers.far, {{"p", probe(), kRefuseReply}});
  open(peers, 3);
  answer(peers, *arrived(peers));
  CHECK(reply(peers).code() == StatusCode::kAborted);
  CHECK(state(peers.far, "ends") == 2);
  CHECK(peers.far.shard.servers().open_calls() == 0);
}

TEST_CASE("a chain's side says which daemon judges") {
  Peers peers;
  const auto judged_by = [&](ChainSide side, uint64_t call) {
    use(peers, peers.near, {{"p", probe()}}, side);
    use(peers, peers.far, {{"p", probe()}}, side);
    const int64_t near_before = std::max<int64_t>(0, state(peers.near, "requests")), far_before = std::max<int64_t>(0, state(peers.far, "requests"));
    open(peers, call);
    answer(peers, *arrived(peers));
    CHECK(reply(peers).code() == StatusCode::kOk);
    return std::pair(std::max<int64_t>(0, state(peers.near, "requests")) - near_before, std::max<int64_t>(0, state(peers.far, "requests")) - far_before);
  };
  CHECK(judged_by(ChainSide::kAny, 1) == std::pair<int64_t, int64_t>(1, 1));
  CHECK(judged_by(ChainSide::kClient, 2) == std::pair<int64_t, int64_t>(1, 0));
  CHECK(judged_by(ChainSide::kServer, 3) == std::pair<int64_t, int64_t>(0, 1));
}

TEST_CASE("a chain that both daemons have judges each call once, whichever side it is on when the call enters") {
  Peers peers;
  use(peers, peers.near, {{"p", probe()}}, ChainSide::kServer);
  use(peers, peers.far, {{"p", probe()}}, ChainSide::kServer, {"near"});
  uint64_t call = 0;
  const auto both = [&](const std::string& field) {
    return std::pair(std::max<int64_t>(0, state(peers.near, field)), std::max<int64_t>(0, state(peers.far, field)));
  };
  for (const ChainSide side : {ChainSide::kClient, ChainSide::kServer, ChainSide::kClient}) {
    const auto before = both("requests");
    use(peers, peers.near, {{"p", probe()}}, side);
    open(peers, ++call);
    const auto request = arrived(peers);
    REQUIRE(request.has_value());
    use(peers, peers.near, {{"p", probe()}}, side == ChainSide::kClient ? ChainSide::kServer : ChainSide::kClient);  // it keeps its chain
    answer(peers, *request);
    CHECK(reply(peers).code() == StatusCode::kOk);
    const auto after = both("requests");
    CHECK(after.first - before.first == (side == ChainSide::kClient));
    CHECK(after.second - before.second == (side == ChainSide::kServer));
    CHECK(both("replies") == after);  // and so with hooks that come later
    CHECK(both("ends") == after);
  }
}

TEST_CASE("another daemon's word that it has judged counts for the nodes that operators name, and for the chains that it has") {
  const auto judged_twice = [](std::vector<std::string> judged_by, ChainSide near_side) {
    Peers peers;
    use(peers, peers.near, {{"p", probe()}}, near_side);
    use(peers, peers.far, {{"p", probe()}}, ChainSide::kServer, std::move(judged_by));
    open(peers, 1);
    answer(peers, *arrived(peers));
    CHECK(reply(peers).code() == StatusCode::kOk);
    return state(peers.near, "requests") == 1 && state(peers.far, "requests") == 1;
  };
  CHECK_FALSE(judged_twice({"else", "near"}, ChainSide::kClient));
  CHECK(judged_twice({"else"}, ChainSide::kClient));
  CHECK(judged_twice({}, ChainSide::kClient));
  CHECK(judged_twice({"near"}, ChainSide::kAny));  // by both, as it says
}

TEST_CASE("an application cannot say that its call was judged") {
  Peers peers;
  use(peers, peers.far, {{"p", probe()}}, ChainSide::kServer, {"near"});
  peers.near.client.metadata = {{"mrpc-judged", "c"}};
  open(peers, 1);
  const auto request = arrived(peers);
  REQUIRE(request.has_value());
  CHECK(state(peers.far, "requests") == 1);
}

TEST_CASE("what a call says about its judges reaches no server") {
  Peers peers;
  use(peers, peers.near, {{"p", probe()}}, ChainSide::kClient);
  peers.near.client.metadata = {{"k", "v"}};
  open(peers, 1);
  const auto request = arrived(peers);
  REQUIRE(request.has_value());
  CHECK(request->metadata.front() == std::pair<std::string, std::string>("k", "v"));
  for (const auto& [key, value] : request->metadata) CHECK(key != "mrpc-judged");
}

TEST_CASE("a remote call that a policy delays can be cancelled, or goes on") {
  Peers peers;
  use(peers, peers.far, {{"p", probe(), kPause, 1'000'000'000}});
  open(peers, 1);
  CHECK_FALSE(arrived(peers).has_value());
  peers.near.client.say(SlotKind::kCancel, 1, {});
  CHECK(reply(peers).code() == StatusCode::kCancelled);
  peers.settle();
  CHECK(peers.far.shard.servers().open_calls() == 0);
  CHECK(state(peers.far, "ends") == 1);
  open(peers, 2);
  CHECK_FALSE(arrived(peers).has_value());
  peers.far.world.now += 1'000'000'000;
  const auto request = arrived(peers);
  REQUIRE(request.has_value());
  answer(peers, *request);
  CHECK(reply(peers).code() == StatusCode::kOk);
  CHECK(state(peers.far, "in_flight") == 0);
}

TEST_CASE("what a policy makes a peer's calls wait for is bounded, and given back") {
  Config bounded = Peers::named("far");
  std::string data;
  Mode mode = kPause;
  SUBCASE("requests") { bounded.parked_calls_max = 4; }
  SUBCASE("replies") { bounded.parked_calls_max = 4, mode = kPauseReply; }
  SUBCASE("bytes of an edge") { bounded.parked_bytes_max = 1 << 20, data = std::string(200'000, 'x'); }
  SUBCASE("bytes of a peer") { bounded.receive_quota_bytes = 1 << 20, data = std::string(200'000, 'x'); }
  const uint64_t room = data.empty() ? 4 : 5, flood = 12;
  Peers peers(Peers::named("near"), bounded);
  use(peers, peers.far, {{"p", probe(), mode, 1'000'000'000}});
  for (uint64_t call = 1; call <= flood; ++call) peers.near.client.open(Rig::kHandles, call, peers.near.payload("x", data));
  peers.settle();
  if (mode == kPauseReply)
    while (const auto request = arrived(peers)) answer(peers, *request);
  for (uint64_t call = room + 1; call <= flood; ++call) {
    const Arrival refused = reply(peers);
    CHECK(refused.slot.call_id == call);
    CHECK(refused.code() == StatusCode::kResourceExhausted);
    CHECK(refused.text.find("delay less") != std::string::npos);
  }
  CHECK(peers.far.shard.servers().open_calls() == room);
  peers.far.world.now += 1'000'000'000;
  for (uint64_t call = 1; call <= room; ++call) {
    if (mode == kPause) answer(peers, *arrived(peers));
    CHECK(reply(peers).code() == StatusCode::kOk);
  }
  for (const auto& [key, route] : peers.far.shard.routes) {
    CHECK(route->parked_calls == 0);
    CHECK(route->parked_bytes == 0);
  }
  open(peers, 100);  // there is room again
  CHECK(arrived(peers).has_value() == (mode == kPauseReply));
  CHECK(peers.far.shard.servers().open_calls() == 1);
}

TEST_CASE("a call that a policy sends elsewhere, though an endpoint here was chosen first, says who has judged it") {
  Peers peers;
  App here(4, abi::Role::kServer, "here-app", peers.near.config);
  peers.near.add(here);
  peers.near.offer(here);
  peers.near.others = {4};
  use(peers, peers.near, {{"wait", probe(), kPause, 1000}, {"p", probe(), kRouteApp, 0, "echo-app"}}, ChainSide::kClient);
  use(peers, peers.far, {{"p", probe()}}, ChainSide::kServer, {"near"});
  for (uint64_t call = 1; call <= 4; ++call) open(peers, call);  // each endpoint is chosen for every other one
  peers.settle();
  peers.near.world.now += 1000;
  for (int i = 0; i < 4; ++i) {
    const auto request = arrived(peers);
    REQUIRE(request.has_value());
    answer(peers, *request);
    CHECK(reply(peers).code() == StatusCode::kOk);
  }
  CHECK_FALSE(here.take().has_value());
  CHECK(state(peers.near, "requests") == 4);
  CHECK(state(peers.near, "ends") == 4);
  CHECK(std::max<int64_t>(0, state(peers.far, "requests")) == 0);
  CHECK(std::max<int64_t>(0, state(peers.far, "ends")) == 0);
}

TEST_CASE("a reply stored at the endpoint's daemon answers remote callers without the server") {
  Peers peers;
  use(peers, peers.far, {{"p", probe(), kAnswer, 0, "key"}});
  open(peers, 1);
  open(peers, 2);
  const auto request = arrived(peers);
  REQUIRE(request.has_value());
  CHECK_FALSE(arrived(peers).has_value());
  answer(peers, *request);
  CHECK(reply(peers).code() == StatusCode::kOk);
  CHECK(reply(peers).code() == StatusCode::kOk);
  CHECK(peers.far.shard.servers().open_calls() == 0);
}

TEST_CASE("a peer that goes away ends its calls for the policies on both sides") {
  Peers peers;
  use(peers, peers.near, {{"p", probe()}});
  use(peers, peers.far, {{"p", probe()}});
  open(peers, 1);
  REQUIRE(arrived(peers).has_value());
  peers.near.shard.remove_peer(peers.link);
  CHECK(reply(peers).code() == StatusCode::kUnavailable);
  for (int i = 0; i < 200 && state(peers.far, "ends") != 1; ++i) peers.far.settle();
  CHECK(state(peers.near, "ends") == 1);
  CHECK(state(peers.near, "in_flight") == 0);
}

TEST_CASE("a policy routes a call between here and elsewhere only where the same policies judge, whatever is applied meanwhile") {
  Peers peers;
  App here(4, abi::Role::kServer, "here-app", peers.near.config);
  peers.near.add(here);
  peers.near.offer(here);
  peers.near.others = {4};
  const auto set_of = [&](ChainSide guard_side, const char* name) {
    auto set = chain_of(*peers.near.shard.chains, {{"wait", probe(), kPause, 1000}, {name, probe(), kRouteApp, 0, "here-app"}});
    set->chains.push_back({"guard", "*", "*", "*", {{"rate", "rate_limit", {{"requests_per_second", 1e9}}}}, guard_side});
    return set;
  };
  // Calls fall to an endpoint here and to one elsewhere in turn, before they are routed. How many reached the one here.
  const auto served_here = [&](uint64_t first_call, ChainSide now, ChainSide meanwhile) {
    peers.near.shard.apply_chains(set_of(now, "first"));
    for (uint64_t call = first_call; call < first_call + 4; ++call) open(peers, call);
    peers.settle();
    peers.near.shard.apply_chains(set_of(meanwhile, "second"));
    peers.near.world.now += 1000;
    peers.settle();
    int served = 0;
    while (const auto request = here.take()) {
      if (request->kind() != SlotKind::kOpen) continue;
      here.say(SlotKind::kStatus, request->slot.call_id, request->image);
      ++served;
    }
    return served;
  };
  CHECK(served_here(1, ChainSide::kClient, ChainSide::kServer) == 4);
  CHECK(served_here(11, ChainSide::kServer, ChainSide::kClient) == 2);
}

TEST_CASE("a schema for which policies have no program is hidden until there is one, or it is given up") {
  Rig rig;
  auto set = chain_of(*rig.shard.chains, {{"p", probe()}});
  auto programs = set->instances.at({"c", "p"})->programs();
  const auto program = programs.begin()->second;
  const EngineConfig config{{"mode", int64_t{0}}, {"value", int64_t{0}}, {"text", std::string()}};
  const auto apply = [&](PolicyInstance::Programs with, std::map<std::pair<std::string, uint64_t>, std::string> given_up = {}) {
    auto next = std::make_shared<ChainSet>(*set);
    next->revision = rig.shard.chains->revision + 1;
    next->given_up = std::move(given_up);
    next->instances[{"c", "p"}] = *PolicyInstance::make("c", "p", config, std::move(with), 1, nullptr);
    rig.shard.apply_chains(next);
    rig.settle();
  };
  apply({});
  CHECK(rig.observed.events == std::vector<std::string>{"needs test.Echo"});
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  CHECK(rig.reply().code() == StatusCode::kUnavailable);
  const uint64_t fingerprint = rig.schema->service("test.Echo")->fingerprint;
  apply({{{"test.Echo", "Echo", fingerprint}, program}, {{"test.Echo", "Chat", fingerprint}, program}});
  rig.client.open(Rig::kHandles, 2, rig.payload("x"));
  rig.echo();
  CHECK(rig.reply().code() == StatusCode::kOk);
  apply({});
  apply({}, {{{"test.Echo", fingerprint}, "echo.py:3: no field 'tier'"}});
  rig.client.open(Rig::kHandles, 3, rig.payload("x"));
  const Arrival refused = rig.reply();
  CHECK(refused.code() == StatusCode::kFailedPrecondition);
  CHECK(refused.text.find("no field 'tier'") != std::string::npos);
}

}  // namespace mrpc::dataplane::testing
