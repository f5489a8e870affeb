// Calls through one shard: what arrives, in which order, and who hears what when things go wrong.
#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {

TEST_CASE("a unary call is carried to the server and back") {
  Rig rig;
  rig.client.open(Rig::kHandles, 7, rig.payload("ann"));
  const Arrival request = rig.echo();
  CHECK(request.slot.handle == Rig::kOffered);
  CHECK(rig.name_of(request) == "ann");
  const Arrival reply = rig.reply();
  CHECK(reply.kind() == SlotKind::kStatus);
  CHECK(reply.slot.call_id == 7);
  CHECK(reply.code() == StatusCode::kOk);
  CHECK(rig.name_of(reply) == "ann");
  CHECK(rig.shard.clients().open_calls() == 0);
  CHECK(rig.shard.servers().open_calls() == 0);
}

TEST_CASE("what the server says of a failure reaches the caller") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  rig.server.say(SlotKind::kStatus, rig.server.take()->slot.call_id, {}, 0, StatusCode::kNotFound, "no such thing");
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kNotFound);
  CHECK(reply.text == "no such thing");
}

TEST_CASE("an access control policy reads a field, and its denial names chain, policy and field") {
  Rig rig;
  rig.apply({{"no-mallory", "access_control", {{"field", std::string("name")}, {"deny", std::vector<std::string>{"mallory"}}}}});
  rig.client.open(Rig::kHandles, 1, rig.payload("mallory"));
  const Arrival denied = rig.reply();
  CHECK(denied.code() == StatusCode::kPermissionDenied);
  CHECK(denied.text == "denied by policy 'no-mallory' of chain 'test-chain': field 'name' has a value that is not allowed");
  CHECK_FALSE(rig.server.take().has_value());
  rig.client.open(Rig::kHandles, 2, rig.payload("ann"));
  rig.echo();
  CHECK(rig.reply().code() == StatusCode::kOk);
}

TEST_CASE("a rate limit refills by the clock, and its tokens survive a swap") {
  Rig rig;
  const PolicySpec limit{"limit", "rate_limit", {{"requests_per_second", 10.0}, {"burst", 2.0}}};
  rig.apply({limit});
  const auto call = [&](uint64_t id) {
    rig.client.open(Rig::kHandles, id, rig.payload("x"));
    rig.settle();
    if (auto request = rig.server.take()) rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
    return rig.reply().code();
  };
  CHECK(call(1) == StatusCode::kOk);
  CHECK(call(2) == StatusCode::kOk);
  CHECK(call(3) == StatusCode::kResourceExhausted);
  rig.apply({limit});
  CHECK(call(4) == StatusCode::kResourceExhausted);
  rig.world.now += 100'000'000;
  CHECK(call(5) == StatusCode::kOk);
  CHECK(call(6) == StatusCode::kResourceExhausted);
}

TEST_CASE("a policy goes on judging when all servers that brought its schema have gone, and others have come") {
  Rig rig;
  uint64_t id = 0;
  for (uint32_t server = 1; server <= 5; server += 2) {  // 2 is the client
    rig.shard.remove_port(server, "its process has died");
    rig.schema = parse_schema(kEchoSchema);
    App next(server + 2, abi::Role::kServer, "echo-app", rig.config);
    rig.add(next);
    rig.offer(next);
    if (server == 1)
      rig.apply({{"no-mallory", "access_control", {{"field", std::string("name")}, {"deny", std::vector<std::string>{"mallory"}}}}});
    rig.client.open(Rig::kHandles, ++id, rig.payload("mallory"));
    CHECK(rig.reply().code() == StatusCode::kPermissionDenied);
  }
}

TEST_CASE("a policy that does not fit the schema fails closed") {
  Rig rig;
  rig.apply({{"odd", "access_control", {{"field", std::string("nothing.here")}, {"deny", std::vector<std::string>{"x"}}}}});
  rig.client.open(Rig::kHandles, 1, rig.payload("ann"));
  CHECK(rig.reply().code() == StatusCode::kFailedPrecondition);
}

TEST_CASE("a deadline ends the call on both sides") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"), abi::kEnd, rig.world.now + 1000);
  rig.settle();
  const auto request = rig.server.take();
  REQUIRE(request.has_value());
  CHECK(request->slot.aux == rig.world.now + 1000);
  rig.world.now += 2000;
  CHECK(rig.reply().code() == StatusCode::kDeadlineExceeded);
  const auto cancel = rig.server.take();
  REQUIRE(cancel.has_value());
  CHECK(cancel->kind() == SlotKind::kCancel);
  rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);  // too late: nobody is told
  rig.settle();
  CHECK_FALSE(rig.client.take().has_value());
  CHECK(rig.observed.violations.empty());
}

TEST_CASE("work that has expired never reaches the server") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"), abi::kEnd, rig.world.now - 1);
  CHECK(rig.reply().code() == StatusCode::kDeadlineExceeded);
  CHECK_FALSE(rig.server.take().has_value());
}

TEST_CASE("cancellation travels, also before the server has seen the call") {
  Config config;
  config.ring_slots = 128;
  Rig rig(config);
  rig.client.open(Rig::kHandles, 1, rig.payload("seen"));
  rig.settle();
  rig.client.say(SlotKind::kCancel, 1, {});
  CHECK(rig.reply().code() == StatusCode::kCancelled);
  CHECK(rig.server.take()->kind() == SlotKind::kOpen);
  CHECK(rig.server.take()->kind() == SlotKind::kCancel);
  for (uint64_t id = 2; id < 80; ++id) {  // fills the server's ring up to what is kept for cancels
    rig.client.open(Rig::kHandles, id, rig.payload("filler"));
    rig.settle();
  }
  rig.client.say(SlotKind::kCancel, 79, {});
  CHECK(rig.reply().code() == StatusCode::kCancelled);
  size_t opens = 0, cancels = 0;
  for (;;) {
    const auto arrival = rig.server.take();
    if (!arrival) {
      rig.settle();
      if (rig.server.complete.empty()) break;
      continue;
    }
    opens += arrival->kind() == SlotKind::kOpen;
    cancels += arrival->kind() == SlotKind::kCancel;
  }
  CHECK(opens == 77);  // 2 to 78: the last one was taken back while it waited
  CHECK(cancels == 0);
}

TEST_CASE("a server that dies answers UNAVAILABLE, and its neighbours go on") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  rig.shard.remove_port(1, "its process has died");
  const Arrival reply = rig.reply();
  CHECK(reply.code() == StatusCode::kUnavailable);
  CHECK(reply.text.find("its process has died") != std::string::npos);
  rig.client.open(Rig::kHandles, 2, rig.payload("x"));
  CHECK(rig.reply().code() == StatusCode::kUnavailable);  // at once, not never
  App other(3, abi::Role::kServer, "echo-app", rig.config);
  rig.add(other);
  rig.offer(other);
  rig.others.push_back(3);
  rig.client.open(Rig::kHandles, 3, rig.payload("again"));
  rig.settle();
  const auto request = other.take();
  REQUIRE(request.has_value());
  other.say(SlotKind::kStatus, request->slot.call_id, request->image);
  CHECK(rig.reply().code() == StatusCode::kOk);
}

TEST_CASE("a client that dies cancels its calls") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  REQUIRE(rig.server.take().has_value());
  rig.shard.remove_port(2, "gone");
  rig.settle();
  CHECK(rig.server.take()->kind() == SlotKind::kCancel);
  CHECK(rig.shard.clients().open_calls() == 0);
  CHECK(rig.shard.servers().open_calls() == 0);
}

TEST_CASE("round robin takes turns, least request takes the idler, and a target narrows to one app") {
  Rig rig;
  App second(3, abi::Role::kServer, "other-app", rig.config);
  rig.add(second);
  rig.offer(second);
  rig.others.push_back(3);
  const auto calls = [&](uint64_t first, int count, uint32_t handle = Rig::kHandles) {
    for (int i = 0; i < count; ++i) rig.client.open(handle, first + static_cast<uint64_t>(i), rig.payload("x"));
    rig.settle();
  };
  const auto drain = [&](App& app, bool answer) {
    int opens = 0;
    while (auto arrival = app.take()) {
      opens += arrival->kind() == SlotKind::kOpen;
      if (answer) app.say(SlotKind::kStatus, arrival->slot.call_id, arrival->image);
    }
    rig.settle();
    return opens;
  };
  calls(1, 4);
  CHECK(drain(rig.server, true) == 2);
  CHECK(drain(second, false) == 2);  // keeps its calls open
  rig.apply({{"balance", "load_balancing", {{"algorithm", std::string("least_request")}}}});
  calls(10, 2);
  CHECK(drain(rig.server, true) == 2);
  App narrow(4, abi::Role::kClient, "narrow", rig.config);
  rig.add(narrow);
  rig.bind(narrow, rig.schema, "other-app");
  rig.others.push_back(4);
  for (uint64_t id = 1; id <= 3; ++id) narrow.open(Rig::kHandles, id, rig.payload("x"));
  rig.settle();
  CHECK(drain(rig.server, false) == 0);
  CHECK(drain(second, false) == 3);
}

TEST_CASE("a call holds the chain by which it entered while a new one takes the next calls") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("ann"));
  rig.settle();
  rig.apply({{"none", "access_control", {{"field", std::string("name")}, {"allow", std::vector<std::string>{"nobody"}}}}});
  rig.client.open(Rig::kHandles, 2, rig.payload("ann"));
  CHECK(rig.reply().code() == StatusCode::kPermissionDenied);
  rig.echo();
  CHECK(rig.reply().code() == StatusCode::kOk);
}

}  // namespace mrpc::dataplane::testing
