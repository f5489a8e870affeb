// What a compiled policy may decide, and that it hears of each call's end exactly once.
#include "dataplane/blobs.h"
#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {

TEST_CASE("a compiled policy sees the request, its reply, and the call's end") {
  PolicyRig rig({{"p", probe()}});
  rig.open(1);
  CHECK(rig.state("p", "requests") == 1);
  CHECK(rig.state("p", "in_flight") == 1);
  rig.answer(*rig.arrived());
  CHECK(rig.reply().code() == StatusCode::kOk);
  CHECK(rig.state("p", "replies") == 1);
  CHECK(rig.state("p", "ends") == 1);
  CHECK(rig.state("p", "in_flight") == 0);
  CHECK(rig.state("p", "last_status") == 0);
}

TEST_CASE("a denial names chain and policy; who stood before hears of it, who denied does not") {
  PolicyRig rig({{"first", probe()}, {"second", probe(), kRefuse}, {"third", probe()}});
  rig.open(1);
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kPermissionDenied);
  CHECK(reply.text == "denied by policy 'second' of chain 'c': as configured");
  CHECK(rig.state("first", "ends") == 1);
  CHECK(rig.state("first", "denied_ends") == 1);
  CHECK(rig.state("first", "last_status") == 7);
  CHECK(rig.state("second", "ends") == 0);
  CHECK(rig.shard.clients().open_calls() == 0);
  CHECK_FALSE(rig.arrived().has_value());
}

TEST_CASE("a fault denies with the source's line, or lets pass where the policy says so, and is counted and logged either way") {
  PolicyRig rig({{"p", probe(), kFail}});
  rig.open(1);
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kInternal);
  CHECK(reply.text == "denied by policy 'p' of chain 'c': probe.py:42: division by zero");
  auto open = probe();
  open->fault_open = true;
  rig.use({{"p", open, kFail}});
  rig.open(2);
  CHECK(rig.arrived().has_value());
  const auto& chain = rig.shard.routes.begin()->second->chains.begin()->second;
  CHECK(chain->stages()[0].faults() == 2);
  CHECK(chain->stages()[0].denied == 1);
  CHECK(rig.observed.events == std::vector<std::string>{"log", "log"});
}

TEST_CASE("a delayed call goes on later, and others overtake it") {
  PolicyRig rig({{"before", probe()}, {"p", probe(), kPause, 1'000'000}, {"behind", probe()}});
  rig.open(1, "slow");
  CHECK_FALSE(rig.arrived().has_value());
  CHECK(rig.shard.clients().open_calls() == 1);
  CHECK(rig.state("behind", "requests") == -1);
  rig.use({{"before", probe()}, {"p", probe()}, {"behind", probe()}});
  rig.open(2, "quick");
  CHECK(rig.name_of(*rig.arrived()) == "quick");
  rig.pass_time(1'000'000);
  const auto request = rig.arrived();
  REQUIRE(request.has_value());
  CHECK(rig.name_of(*request) == "slow");
  rig.answer(*request);
  CHECK(rig.reply().slot.call_id == 1);
  CHECK(rig.state("p", "ends") == 1);
  CHECK(rig.state("before", "requests") == 2);
  CHECK(rig.state("behind", "requests") == 2);
}

TEST_CASE("what waits can be cancelled, expires, and ends with its application, and its policies hear of it once") {
  PolicyRig rig({{"before", probe()}, {"p", probe(), kPause, 1'000'000'000}});
  rig.open(1);
  rig.client.say(SlotKind::kCancel, 1, {});
  CHECK(rig.reply().code() == StatusCode::kCancelled);
  rig.open(2, "x", rig.world.now + 1000);
  rig.pass_time(1000);
  CHECK(rig.reply().code() == StatusCode::kDeadlineExceeded);
  rig.open(3);
  rig.shard.remove_port(2, "gone");
  CHECK(rig.shard.clients().open_calls() == 0);
  CHECK(rig.state("before", "ends") == 3);
  CHECK(rig.state("p", "ends") == 3);
  CHECK(rig.state("p", "in_flight") == 0);
  rig.pass_time(2'000'000'000);
  CHECK_FALSE(rig.arrived().has_value());
}

TEST_CASE("a call whose server went away while it waited goes to another, or ends") {
  PolicyRig rig({{"p", probe(), kPause, 1000}});
  rig.open(1);
  App other(3, abi::Role::kServer, "other-app", rig.config);
  rig.add(other);
  rig.offer(other);
  rig.others = {3};
  rig.shard.remove_port(1, "gone");
  rig.pass_time(1000);
  CHECK(other.take().has_value());
  rig.open(2);
  rig.shard.remove_port(3, "gone, too");
  rig.others = {};
  rig.pass_time(1000);
  CHECK(rig.reply().code() == StatusCode::kUnavailable);  // of the first, whose server died
  CHECK(rig.reply().code() == StatusCode::kUnavailable);
  CHECK(rig.state("p", "ends") == 2);
}

TEST_CASE("every way in which a call can end is told to its policies exactly once") {
  PolicyRig rig({{"p", probe()}});
  rig.open(1);
  rig.answer(*rig.arrived(), StatusCode::kNotFound);
  CHECK(rig.reply().code() == StatusCode::kNotFound);
  CHECK(rig.state("p", "ends") == 1);
  CHECK(rig.state("p", "last_status") == 5);
  rig.open(2);
  rig.client.say(SlotKind::kCancel, 2, {});
  CHECK(rig.reply().code() == StatusCode::kCancelled);
  CHECK(rig.state("p", "ends") == 2);
  rig.open(3, "x", rig.world.now + 1000);
  rig.pass_time(1000);
  CHECK(rig.reply().code() == StatusCode::kDeadlineExceeded);
  CHECK(rig.state("p", "ends") == 3);
  rig.open(4);
  rig.shard.remove_port(1, "gone");
  CHECK(rig.reply().code() == StatusCode::kUnavailable);
  CHECK(rig.state("p", "ends") == 4);
  CHECK(rig.state("p", "in_flight") == 0);
}

TEST_CASE("a policy sends a call to an app, or to the endpoint that a key falls to") {
  PolicyRig rig({{"p", probe(), kRouteApp, 0, "other-app"}});
  App other(3, abi::Role::kServer, "other-app", rig.config);
  rig.add(other);
  rig.offer(other);
  rig.others = {3};
  for (uint64_t call = 1; call <= 4; ++call) {
    rig.open(call);
    CHECK(other.take().has_value());
  }
  rig.use({{"p", probe(), kRouteApp, 0, "no-app"}});
  rig.open(5);
  CHECK(rig.reply().code() == StatusCode::kUnavailable);
  int here = 0;
  for (int64_t key = 0; key < 32; ++key) {
    rig.use({{"p", probe(), kRouteHash, key * 7919}});
    rig.open(100 + static_cast<uint64_t>(key));
    rig.open(200 + static_cast<uint64_t>(key));
    int first = 0;
    while (rig.arrived()) ++first;
    while (other.take()) {
    }
    CHECK((first == 0 || first == 2));  // both of one key went one way
    here += first / 2;
  }
  CHECK(here > 4);
  CHECK(here < 28);
}

TEST_CASE("a stored reply is given to those who ask for it; one call fetches it for all who wait") {
  PolicyRig rig({{"before", probe()}, {"p", probe(), kAnswer, 0, "key"}});
  rig.open(1, "answer");
  rig.open(2, "answer");
  const auto request = rig.arrived();
  REQUIRE(request.has_value());
  CHECK_FALSE(rig.arrived().has_value());
  rig.answer(*request);
  CHECK(rig.name_of(rig.reply()) == "answer");
  CHECK(rig.name_of(rig.reply()) == "answer");
  rig.open(3, "other text, same key");
  CHECK(rig.name_of(rig.reply()) == "answer");
  CHECK_FALSE(rig.arrived().has_value());
  CHECK(rig.state("before", "replies") == 3);  // a stored reply leaves by the chain, too
  CHECK(rig.state("before", "ends") == 3);
  CHECK(rig.state("p", "ends") == 1);
}

TEST_CASE("when the call that fetches a reply fails, the next one fetches it") {
  PolicyRig rig({{"p", probe(), kAnswer, 0, "key"}});
  rig.open(1, "a");
  rig.open(2, "b");
  rig.open(3, "c");
  const auto first = rig.arrived();
  rig.client.say(SlotKind::kCancel, 2, {});
  CHECK(rig.reply().code() == StatusCode::kCancelled);
  rig.answer(*first, StatusCode::kUnavailable);
  CHECK(rig.reply().code() == StatusCode::kUnavailable);
  std::optional<Arrival> second;
  while (auto arrival = rig.arrived())
    if (arrival->kind() == SlotKind::kOpen) second = arrival;
  REQUIRE(second.has_value());
  CHECK(rig.name_of(*second) == "c");
  rig.answer(*second);
  CHECK(rig.name_of(rig.reply()) == "c");
}

TEST_CASE("a policy changes metadata and fields before the server sees them") {
  PolicyRig rig({{"p", probe(), kSetMetadata, 0, "told"}});
  rig.open(1);
  const auto request = rig.arrived();
  CHECK(std::count(request->metadata.begin(), request->metadata.end(), std::pair<std::string, std::string>("x-probe", "told")) == 1);
  rig.answer(*request);
  rig.reply();
  rig.use({{"p", probe(), kSetField, 0, "a longer name than the one before"}});
  rig.open(2, "short");
  CHECK(rig.name_of(*rig.arrived()) == "a longer name than the one before");
  rig.use({{"p", probe(), kSetField, 0, std::string("\xff", 1)}});
  rig.open(3, "short");
  CHECK(rig.reply().code() == StatusCode::kInternal);
  rig.use({{"p", probe(), kSetReply, 0, "trailer"}});
  rig.open(4);
  rig.answer(*rig.arrived());
  CHECK(rig.reply().metadata == std::vector<std::pair<std::string, std::string>>{{"x-probe", "trailer"}});
}

TEST_CASE("a policy denies or delays a reply") {
  PolicyRig rig({{"before", probe()}, {"p", probe(), kRefuseReply}});
  rig.open(1);
  rig.answer(*rig.arrived());
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kAborted);
  CHECK(reply.text == "denied by policy 'p' of chain 'c': no such answer");
  CHECK(rig.state("before", "replies") == 0);
  CHECK(rig.state("before", "denied_ends") == 1);
  rig.use({{"before", probe()}, {"p", probe(), kPauseReply, 1000}});
  rig.open(2);
  rig.answer(*rig.arrived());
  CHECK_FALSE(rig.maybe_reply().has_value());
  rig.pass_time(1000);
  CHECK(rig.reply().code() == StatusCode::kOk);
  CHECK(rig.state("before", "replies") == 1);
  CHECK(rig.state("before", "ends") == 2);
}

TEST_CASE("replies that a policy delays are charged for the memory that they hold in their server's send heap") {
  Config config;
  config.send_quota_bytes = 64 << 20;
  auto spec = probe();
  spec->stores.clear();  // one that keeps or changes messages has them copied
  spec->writes.clear();
  PolicyRig rig({{"p", spec, kPauseReply, 1000}}, config);
  for (uint64_t call = 1; call <= 5; ++call) {  // half of the quota is four times 8 MiB
    rig.open(call);
    abi::Slot slot = write_with_blob(rig, rig.server);
    slot.kind = static_cast<uint8_t>(SlotKind::kStatus);
    slot.call_id = rig.arrived()->slot.call_id;
    rig.server.submit_slot(slot);
    rig.settle();
    CHECK(rig.client.port(rig.shard).pinned_bytes.at(1) == std::min<uint64_t>(call, 4) * kBlobBytes);
  }
  CHECK(rig.reply().code() == StatusCode::kResourceExhausted);
  CHECK_FALSE(rig.maybe_reply().has_value());
  rig.pass_time(1000);
  for (int delayed = 0; delayed < 4; ++delayed) CHECK(has_blob(rig, rig.reply()));
  CHECK(rig.client.port(rig.shard).pinned_bytes.empty());
}

TEST_CASE("each message of a stream is judged, and a denied one ends the stream") {
  PolicyRig rig({{"before", probe()}, {"p", probe(), kRefuseLater}});
  rig.client.open(Rig::kHandles + 1, 1, rig.payload("0"), 0);
  rig.settle();
  CHECK(rig.arrived().has_value());
  rig.client.say(SlotKind::kMessage, 1, rig.payload("1"), 1);
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kFailedPrecondition);
  CHECK(rig.arrived()->kind() == SlotKind::kCancel);
  CHECK(rig.state("before", "requests") == 2);
  CHECK(rig.state("before", "denied_ends") == 1);
  CHECK(rig.state("p", "ends") == 1);  // it had let the call pass
  CHECK(rig.state("p", "denied_ends") == 0);
}

TEST_CASE("a stream keeps its order while a policy delays its messages") {
  PolicyRig rig({{"p", probe(), kPause, 1000}});
  rig.client.open(Rig::kHandles + 1, 1, rig.payload("0"), 0);
  for (uint32_t i = 1; i <= 3; ++i) rig.client.say(SlotKind::kMessage, 1, rig.payload(std::to_string(i)), i);
  rig.client.say(SlotKind::kHalfClose, 1, {});
  rig.settle();
  for (uint32_t i = 0; i <= 3; ++i) {
    CHECK_FALSE(rig.arrived().has_value());
    rig.pass_time(1000);
    const auto arrival = rig.arrived();
    REQUIRE(arrival.has_value());
    CHECK(rig.name_of(*arrival) == std::to_string(i));
    CHECK(arrival->slot.sequence == i);
  }
  CHECK(rig.arrived()->kind() == SlotKind::kHalfClose);
}

TEST_CASE("a chain that denies everything costs its callers nothing but their calls") {
  PolicyRig rig({{"p", probe(), kRefuse}});
  for (uint64_t call = 1; call <= 500; ++call) {
    rig.open(call);
    CHECK(rig.reply().code() == StatusCode::kPermissionDenied);
  }
  CHECK(rig.shard.clients().open_calls() == 0);
  CHECK(rig.state("p", "requests") == 500);
}

}  // namespace mrpc::dataplane::testing
