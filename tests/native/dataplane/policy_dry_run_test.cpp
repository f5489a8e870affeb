// Calls as the datapath records them, and what other chains say to them afterwards.
#include "dataplane/peers.h"
#include "dataplane/policy/dry_run.h"
#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {
namespace {

// A call that ends with `code`; what the client hears.
Arrival call(PolicyRig& rig, uint64_t id, const std::string& name = "x", StatusCode code = StatusCode::kOk) {
  rig.open(id, name);
  if (const auto request = rig.arrived()) rig.answer(*request, code);
  return rig.reply();
}

DryRun judged(PolicyRig& rig, const ChainSet& set) {
  auto run = dry_run(set, rig.catalog, rig.shard.recorder.calls(), rig.world.now, rig.world.now);
  REQUIRE_MESSAGE(run.ok(), run.error().text);
  return *run;
}

}  // namespace

TEST_CASE("the datapath records calls when they have ended, however they do") {
  PolicyRig rig({{"p", probe()}});
  rig.open(1, "ann");
  CHECK(rig.shard.recorder.calls().empty());
  rig.world.now += 500;
  rig.answer(*rig.arrived());
  call(rig, 2, "bob", StatusCode::kNotFound);
  rig.use({{"p", probe(), kRefuse}});
  call(rig, 3, "eve");
  const auto& calls = rig.shard.recorder.calls();
  REQUIRE(calls.size() == 3);
  CHECK(calls[0]->client == "client-app");
  CHECK(calls[0]->tenant == "client-app");
  CHECK(calls[0]->server == "echo-app");
  CHECK(calls[0]->service == "test.Echo");
  CHECK(calls[0]->method == "Echo");
  CHECK(calls[0]->latency_ns == 500);
  CHECK(calls[0]->request == rig.payload("ann"));
  CHECK(calls[1]->status == StatusCode::kNotFound);
  CHECK_FALSE(calls[1]->denied);
  CHECK(calls[2]->status == StatusCode::kPermissionDenied);
  CHECK(calls[2]->denied);
  CHECK(calls[2]->denied_by == "c/p");
}

TEST_CASE("calls that their client leaves, or that expire, are recorded, too, and hold no place for ever") {
  Config config;
  PolicyRig rig({}, config);
  rig.shard.recorder.configure({.calls_max = 2});
  for (uint64_t id = 1; id <= 5; ++id) {
    rig.open(id, "late", rig.world.now + 10);
    rig.pass_time(20);
    CHECK(rig.reply().code() == StatusCode::kDeadlineExceeded);
  }
  CHECK(rig.shard.recorder.calls().size() == 2);
  rig.open(6);
  rig.open(7);
  rig.shard.remove_port(2, "gone");
  CHECK(rig.shard.recorder.calls().back()->status == StatusCode::kCancelled);
}

TEST_CASE("bytes stay out of the record, whatever size they have and wherever they stand") {
  PolicyRig rig({{"p", probe()}});
  for (const size_t bytes : {6u, 3000u}) {
    rig.client.open(Rig::kHandles, bytes, rig.payload("n", std::string(bytes, 'S')));
    rig.settle();
    rig.answer(*rig.arrived());
    rig.reply();
    CHECK(rig.shard.recorder.calls().back()->request == rig.payload("n"));
    CHECK(rig.shard.recorder.calls().back()->request_bytes > bytes);
  }
}

TEST_CASE("both daemons of a call record it, each under the name by which it knows the client") {
  Peers peers;
  peers.near.client.open(Rig::kHandles, 1, peers.near.payload("far away"));
  peers.settle();
  const auto request = peers.far.server.take();
  REQUIRE(request.has_value());
  peers.far.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  peers.settle();
  REQUIRE(peers.near.shard.recorder.calls().size() == 1);
  REQUIRE(peers.far.shard.recorder.calls().size() == 1);
  CHECK(peers.near.shard.recorder.calls()[0]->client == "client-app");
  CHECK(peers.near.shard.recorder.calls()[0]->place == Place::kCaller);
  CHECK(peers.far.shard.recorder.calls()[0]->client == "client-app@near");
  CHECK(peers.far.shard.recorder.calls()[0]->place == Place::kEndpoint);
}

TEST_CASE("a dry run says what would have been denied, and changes nothing in force") {
  PolicyRig rig({{"p", probe()}});
  for (uint64_t id = 1; id <= 7; ++id) call(rig, id);
  const auto set = chain_of({}, {{"p", probe()}, {"strict", probe(), kRefuse}});
  const DryRun run = judged(rig, *set);
  CHECK(run.calls == 7);
  CHECK(run.denied == 7);
  REQUIRE(run.policies.size() == 2);
  CHECK(run.policies[0].evaluated == 7);
  CHECK(run.policies[0].denied == 0);
  CHECK(run.policies[1].newly_denied == 7);
  REQUIRE(run.policies[1].examples.size() == 5);
  CHECK(run.policies[1].examples[0].client == "client-app");
  CHECK(run.policies[1].examples[0].text == "denied by policy 'strict' of chain 'c': as configured");
  CHECK(rig.state("p", "requests") == 7);
  CHECK(PolicyRig::state_of(*set, "p", "denied_ends") == 7);
}

TEST_CASE("a dry run keeps its state from call to call, and starts anew each time") {
  PolicyRig rig({});
  for (uint64_t id = 1; id <= 5; ++id) call(rig, id);
  for (int again = 0; again < 2; ++again) {
    const DryRun run = judged(rig, *chain_of({}, {{"q", quota({{ScopeKind::kClient, {}}}), 0, 2}}));
    CHECK(run.denied == 3);
    CHECK(run.policies[0].newly_denied == 3);
  }
}

TEST_CASE("a dry run tells calls that a policy of that name would no longer deny") {
  PolicyRig rig({{"p", probe(), kRefuse}, {"q", probe()}});
  call(rig, 1);
  call(rig, 2);
  const DryRun passes = judged(rig, *chain_of({}, {{"p", probe()}, {"q", probe()}}));
  CHECK(passes.policies[0].newly_passed == 2);
  CHECK(passes.policies[1].newly_passed == 0);
  CHECK(passes.denied == 0);
  const DryRun still = judged(rig, *chain_of({}, {{"p", probe(), kRefuse}}));
  CHECK(still.policies[0].newly_passed == 0);
  CHECK(still.policies[0].newly_denied == 0);
  CHECK(still.denied == 2);
}

TEST_CASE("calls end in a dry run when they ended, so that those that were open together are open together") {
  PolicyRig rig({});
  rig.open(1, "slow");
  const auto slow = *rig.arrived();
  rig.world.now += 100;
  call(rig, 2);
  rig.world.now += 100;
  rig.answer(slow);
  rig.reply();
  const auto set = chain_of({}, {{"p", probe(), kLeadOnly, 0, "key"}});
  const DryRun run = judged(rig, *set);  // the second one finds the first one leading
  CHECK(run.calls == 2);
  CHECK(run.denied == 0);
  CHECK(PolicyRig::state_of(*set, "p", "in_flight") == 0);
  CHECK(PolicyRig::state_of(*set, "p", "requests") == 2);
  CHECK(set->instances.at({"c", "p"})->store(0)->answer("", 0, {9, 9}).found == ReplyStore::Found::kLead);
}

TEST_CASE("delays are passed over, faults are counted, and calls recorded without their request are left out") {
  PolicyRig rig({});
  rig.shard.recorder.configure({.request_bytes_max = 64});
  call(rig, 1, "short");
  call(rig, 2, std::string(100, 'x'));
  const DryRun run = judged(rig, *chain_of({}, {{"wait", probe(), kPause, 1000}, {"fail", probe(), kFail}}));
  CHECK(run.calls == 1);
  CHECK(run.policies[0].evaluated == 1);
  CHECK(run.policies[1].faults == 1);
  CHECK(run.policies[1].newly_denied == 1);
}

TEST_CASE("a policy that asks for metadata which is not kept is not judged, and those behind it are") {
  PolicyRig rig({});
  rig.client.metadata = {{"authorization", "Bearer x"}, {"region", "eu"}};
  for (uint64_t id = 1; id <= 3; ++id) call(rig, id);
  rig.client.metadata = {};
  call(rig, 4);  // had none, which is known
  const DryRun run = judged(rig, *chain_of({}, {{"token", probe(), kNeedMetadata, 0, "authorization"}, {"region", probe(), kNeedMetadata, 0, "region"},
                                                {"strict", probe(), kRefuse}}));
  CHECK(run.calls == 4);
  CHECK(run.denied == 4);
  CHECK(run.policies[0].unjudged == 3);
  CHECK(run.policies[0].withheld == std::set<std::string>{"authorization"});
  CHECK(run.policies[0].denied == 1);
  CHECK(run.policies[0].newly_denied == 1);
  CHECK(run.policies[1].unjudged == 0);
  CHECK(run.policies[1].evaluated == 3);
  CHECK(run.policies[1].denied == 0);
  CHECK(run.policies[2].newly_denied == 3);
  const DryRun last = judged(rig, *chain_of({}, {{"token", probe(), kNeedMetadata, 0, "authorization"}}));
  CHECK(last.denied == 1);
}

TEST_CASE("nor is one whose state is per metadata that is not kept, or one where all of it was too long to keep") {
  PolicyRig rig({});
  rig.shard.recorder.configure({.request_bytes_max = 128});
  const std::string agent(200, 'a');
  rig.client.metadata = {{"x-api-key", "k"}};
  call(rig, 1);
  rig.client.metadata = {{"agent", agent}, {"region", "eu"}};
  call(rig, 2);
  const Use per_key{"q", quota({{ScopeKind::kMetadata, "x-api-key"}}), 0, 0};
  const DryRun run = judged(rig, *chain_of({}, {per_key, {"region", probe(), kNeedMetadata, 0, "region"}}));
  CHECK(run.policies[0].unjudged == 2);
  CHECK(run.policies[0].newly_denied == 0);
  CHECK(run.policies[1].unjudged == 1);
  CHECK(run.policies[1].newly_denied == 1);
}

TEST_CASE("chains of one end judge the calls of which this daemon had that end") {
  PolicyRig rig({});
  call(rig, 1);
  CHECK(judged(rig, *chain_of({}, {{"p", probe(), kRefuse}}, ChainSide::kServer)).denied == 1);  // it had both
  Peers peers;
  peers.near.client.open(Rig::kHandles, 1, peers.near.payload("x"));
  peers.settle();
  const auto request = peers.far.server.take();
  peers.far.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  peers.settle();
  const auto calls = peers.near.shard.recorder.calls();
  CHECK(dry_run(*chain_of({}, {{"p", probe(), kRefuse}}, ChainSide::kServer), rig.catalog, calls, 0, 0).value().calls == 0);
  CHECK(dry_run(*chain_of({}, {{"p", probe(), kRefuse}}, ChainSide::kClient), rig.catalog, calls, 0, 0).value().denied == 1);
}

}  // namespace mrpc::dataplane::testing
