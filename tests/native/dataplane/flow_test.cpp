// Flow control, parking, large messages and streams.
#include "dataplane/blobs.h"

namespace mrpc::dataplane::testing {
TEST_CASE("calls for a server that does not drain are parked, then refused on that edge only; none is lost") {
  Config config;
  config.ring_slots = 128;
  config.parked_calls_max = 50;
  Rig rig(config);
  App other(3, abi::Role::kServer, "other-app", config);
  rig.add(other);
  rig.offer(other);
  rig.others.push_back(3);
  App narrow(4, abi::Role::kClient, "narrow", config);
  rig.add(narrow);
  rig.bind(narrow, rig.schema, "other-app");
  rig.others.push_back(4);
  App flood(5, abi::Role::kClient, "flood", config);
  rig.add(flood);
  rig.bind(flood, rig.schema, "echo-app");
  rig.others.push_back(5);

  int refused = 0, answered = 0;
  const auto collect = [&] {
    while (auto arrival = flood.take()) {
      if (arrival->kind() != SlotKind::kStatus) continue;
      refused += arrival->code() == StatusCode::kResourceExhausted;
      answered += arrival->code() == StatusCode::kOk;
    }
  };
  for (uint64_t id = 1; id <= 300; ++id) {
    flood.open(Rig::kHandles, id, rig.payload("flood"));
    rig.settle();
    collect();
  }
  CHECK(refused == 300 - 64 - 1 - 50);  // what the ring takes, the first in line, and what may wait behind it
  narrow.open(Rig::kHandles, 1, rig.payload("other edge"));
  rig.settle();
  const auto passed = other.take();
  REQUIRE(passed.has_value());
  CHECK(rig.name_of(*passed) == "other edge");
  for (int round = 0; round < 200; ++round) {
    while (auto request = rig.server.take()) rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
    rig.settle();
    collect();
  }
  CHECK(answered == 300 - refused);
}

TEST_CASE("an application that keeps its receive blocks stops its own replies until it gives some back") {
  Config config;
  config.receive_quota_bytes = 1 << 20;
  Rig rig(config);
  const std::string big(200'000, 'b');
  std::vector<uint64_t> kept;
  for (uint64_t id = 1; id <= 8; ++id) {
    rig.client.open(Rig::kHandles, id, rig.payload("small"));
    rig.settle();
    auto request = rig.server.take();
    while (request->kind() == SlotKind::kReclaim) request = rig.server.take();  // of its last reply
    rig.server.say(SlotKind::kStatus, request->slot.call_id, rig.payload("", big));
    rig.settle();
    while (auto arrival = rig.client.take(true))
      if (arrival->kind() == SlotKind::kStatus) kept.push_back(arrival->slot.offset);
  }
  CHECK(kept.size() < 8);
  const size_t before = kept.size();
  for (const uint64_t offset : kept) rig.client.reclaim(offset);
  rig.settle();
  while (auto arrival = rig.client.take(true))
    if (arrival->kind() == SlotKind::kStatus) kept.push_back(arrival->slot.offset);
  CHECK(kept.size() == 8);
  CHECK(before > 0);
}

TEST_CASE("a blob goes from heap to heap in bounded turns, and a neighbour's small call passes it") {
  Rig rig;
  App other(3, abi::Role::kServer, "other-app", rig.config);
  rig.add(other);
  rig.offer(other);
  App narrow(4, abi::Role::kClient, "narrow", rig.config);
  rig.add(narrow);
  rig.bind(narrow, rig.schema, "other-app");
  App sender(5, abi::Role::kClient, "sender", rig.config);
  rig.add(sender);
  rig.bind(sender, rig.schema, "echo-app");

  abi::Slot slot = write_with_blob(rig, sender);
  slot.kind = static_cast<uint8_t>(SlotKind::kOpen);
  slot.flags |= abi::kEnd;
  slot.handle = Rig::kHandles;
  slot.call_id = 1;
  sender.submit_slot(slot);
  rig.shard.ring(5);
  rig.shard.turn();
  CHECK_FALSE(rig.server.take().has_value());  // one turn does not carry 8 MiB
  narrow.open(Rig::kHandles, 1, rig.payload("quick"));
  rig.shard.ring(4);
  rig.shard.turn();
  CHECK(other.take().has_value());
  CHECK_FALSE(rig.server.take().has_value());
  rig.others = {3, 4, 5};
  rig.settle();
  const auto request = rig.server.take();
  REQUIRE(request.has_value());
  CHECK(has_blob(rig, *request));
  rig.settle();
  const auto reclaimed = sender.take();
  REQUIRE(reclaimed.has_value());
  CHECK(reclaimed->kind() == SlotKind::kReclaim);
  CHECK(reclaimed->slot.offset == slot.offset);
}

TEST_CASE("a reply that is under way arrives whole though its server dies") {
  Rig rig;
  rig.shard.remove_port(1, "it is not asked");
  auto dying = std::make_unique<App>(3, abi::Role::kServer, "dying-app", rig.config);
  rig.add(*dying);
  rig.offer(*dying);
  rig.others = {3};
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  const auto request = dying->take();
  REQUIRE(request.has_value());
  abi::Slot slot = write_with_blob(rig, *dying);
  slot.kind = static_cast<uint8_t>(SlotKind::kStatus);
  slot.call_id = request->slot.call_id;
  dying->submit_slot(slot);
  rig.shard.ring(3);
  rig.shard.turn();  // the first part of it
  rig.shard.remove_port(3, "its process has died");
  dying.reset();
  const Arrival reply = rig.reply();
  REQUIRE(reply.code() == StatusCode::kOk);
  CHECK(has_blob(rig, reply));
}

TEST_CASE("a message over the limit ends its call, and is given back") {
  Config config;
  config.message_bytes_max = 100'000;
  Rig rig(config);
  const auto image = rig.payload("", std::string(300'000, 'x'));
  rig.client.open(Rig::kHandles, 1, image);
  rig.settle();
  bool reclaimed = false, refused = false;
  while (auto arrival = rig.client.take()) {
    reclaimed |= arrival->kind() == SlotKind::kReclaim;
    refused |= arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kResourceExhausted;
  }
  CHECK(reclaimed);
  CHECK(refused);
}

TEST_CASE("long checks are done elsewhere, and later calls of the same application wait for them") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("long", std::string(400'000, 'x')));
  rig.client.open(Rig::kHandles, 2, rig.payload("short"));
  rig.settle(false);
  CHECK(rig.world.long_jobs.size() == 1);
  CHECK_FALSE(rig.server.take().has_value());
  rig.settle();
  CHECK(rig.name_of(*rig.server.take()) == "long");
  CHECK(rig.name_of(*rig.server.take()) == "short");
}

TEST_CASE("a long blob that a policy reads is copied elsewhere, and its sender's block comes back") {
  Rig rig;
  rig.apply({{"acl", "access_control", {{"field", std::string("data")}, {"deny", std::vector<std::string>{"x"}}}}});
  abi::Slot slot = write_with_blob(rig, rig.client);
  slot.kind = static_cast<uint8_t>(SlotKind::kOpen);
  slot.flags |= abi::kEnd;
  slot.handle = Rig::kHandles;
  slot.call_id = 1;
  rig.client.submit_slot(slot);
  rig.settle(false);
  CHECK(rig.world.long_jobs.size() == 1);
  CHECK_FALSE(rig.server.take().has_value());
  rig.settle();
  const auto request = rig.server.take();
  REQUIRE(request.has_value());
  CHECK(has_blob(rig, *request));
  const auto reclaimed = rig.client.take();
  REQUIRE(reclaimed.has_value());
  CHECK(reclaimed->slot.offset == slot.offset);
}

TEST_CASE("what waited behind long work is taken up when it is done, though no doorbell rings") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("long", std::string(400'000, 'x')));
  rig.client.open(Rig::kHandles, 2, rig.payload("short"));
  rig.settle(false);
  CHECK(rig.shard.prepare_sleep());
  size_t opens = 0;
  for (int i = 0; i < 100; ++i) {
    for (; !rig.world.long_jobs.empty(); rig.world.long_jobs.pop_front()) rig.world.long_jobs.front()();
    rig.shard.turn();
    while (rig.server.take(true)) ++opens;
  }
  CHECK(opens == 2);
}

TEST_CASE("an application that dies while its message is checked leaves nothing behind") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("long", std::string(400'000, 'x')));
  rig.settle(false);
  rig.shard.remove_port(2, "gone");
  rig.settle();
  CHECK_FALSE(rig.server.take().has_value());
  CHECK(rig.shard.clients().open_calls() == 0);
}

TEST_CASE("receive memory goes back to the system when its application has been idle") {
  Rig rig;
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  const auto request = rig.server.take();
  rig.server.say(SlotKind::kStatus, request->slot.call_id, rig.payload("", std::string(20 << 20, 'b')));
  CHECK(rig.reply().code() == StatusCode::kOk);
  rig.settle();
  CHECK(rig.client.attachment->receive_bytes_committed() > 20 << 20);
  for (int i = 0; i < 100 && rig.shard.next_wake_ns() != UINT64_MAX; ++i) {
    rig.world.now = rig.shard.next_wake_ns();
    rig.settle();
  }
  CHECK(rig.shard.next_wake_ns() == UINT64_MAX);  // and then nobody looks any more
  CHECK(rig.client.attachment->receive_bytes_committed() < 1 << 20);
}

TEST_CASE("a stream keeps its order both ways, and ends with a status") {
  Rig rig;
  rig.client.open(Rig::kHandles + 1, 1, rig.payload("0"), 0);
  for (uint32_t i = 1; i <= 10; ++i) rig.client.say(SlotKind::kMessage, 1, rig.payload(std::to_string(i)), i);
  rig.client.say(SlotKind::kHalfClose, 1, {});
  rig.settle();
  uint64_t call = 0;
  for (uint32_t i = 0; i <= 10; ++i) {
    const auto arrival = rig.server.take();
    REQUIRE(arrival.has_value());
    call = arrival->slot.call_id;
    CHECK(arrival->slot.sequence == i);
    CHECK(rig.name_of(*arrival) == std::to_string(i));
    rig.server.say(SlotKind::kMessage, call, arrival->image, i);
  }
  CHECK(rig.server.take()->kind() == SlotKind::kHalfClose);
  rig.server.say(SlotKind::kStatus, call, {});
  rig.settle();
  for (uint32_t i = 0; i <= 10; ++i) CHECK(rig.name_of(rig.reply()) == std::to_string(i));
  CHECK(rig.reply().kind() == SlotKind::kStatus);
}

TEST_CASE("credit bounds what a stream's sender may have under way") {
  Rig rig;
  rig.client.open(Rig::kHandles + 1, 1, rig.payload("0"), 0);
  rig.settle();
  const uint64_t call = rig.server.take()->slot.call_id;
  for (uint32_t i = 1; i <= abi::kStreamWindow; ++i) rig.client.say(SlotKind::kMessage, 1, rig.payload("m"), i);
  abi::Slot credit{};
  credit.kind = static_cast<uint8_t>(SlotKind::kCredit);
  credit.call_id = call;
  credit.aux = 1;
  rig.server.submit_slot(credit);
  rig.settle();
  CHECK(rig.reply().kind() == SlotKind::kCredit);
  rig.client.say(SlotKind::kMessage, 1, rig.payload("m"), abi::kStreamWindow + 1);
  rig.settle();
  CHECK_FALSE(rig.client.take().has_value());
  rig.client.say(SlotKind::kMessage, 1, rig.payload("one too many"), abi::kStreamWindow + 2);
  CHECK(rig.reply().code() == StatusCode::kResourceExhausted);
}

TEST_CASE("a client that keeps its replies holds a share of its server's memory, and no other client waits for it") {
  Config config;
  config.send_quota_bytes = 128 << 20;
  config.receive_quota_bytes = 16 << 20;
  Rig rig(config);
  App other(3, abi::Role::kClient, "other", config);
  rig.add(other);
  rig.bind(other, rig.schema);
  rig.others = {3};
  const auto call = [&](App& app, uint64_t id) {
    app.open(Rig::kHandles, id, rig.payload("x"));
    rig.settle();
    auto request = rig.server.take();
    while (request && request->kind() == SlotKind::kReclaim) request = rig.server.take();
    REQUIRE(request.has_value());
    abi::Slot slot = write_with_blob(rig, rig.server);  // 8 MiB
    slot.kind = static_cast<uint8_t>(SlotKind::kStatus);
    slot.call_id = request->slot.call_id;
    rig.server.submit_slot(slot);
    rig.settle();
  };
  for (uint64_t id = 1; id <= 6; ++id) call(rig.client, id);  // the first is delivered and kept, two wait, three are refused
  CHECK(rig.client.port(rig.shard).pinned_bytes.at(1) <= config.send_quota_bytes / 8);
  call(other, 1);
  auto reply = other.take();
  REQUIRE(reply.has_value());
  CHECK(reply->code() == StatusCode::kOk);
  CHECK(has_blob(rig, *reply));

  size_t served = 0, refused = 0;
  for (int round = 0; round < 10; ++round) {
    while (auto arrival = rig.client.take()) {
      served += arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kOk;
      refused += arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kResourceExhausted;
    }
    rig.settle();
  }
  CHECK(served == 3);
  CHECK(refused == 3);
  CHECK(rig.client.port(rig.shard).pinned_bytes.empty());
}

TEST_CASE("a deadline is told in time though the receive heap is full") {
  Config config;
  config.receive_quota_bytes = 1 << 20;
  Rig rig(config);
  std::vector<uint64_t> kept;
  for (uint64_t id = 1; id <= 8; ++id) {  // until the heap is full, and some wait
    rig.client.open(Rig::kHandles, id, rig.payload("x"));
    rig.settle();
    auto request = rig.server.take();
    while (request && request->kind() == SlotKind::kReclaim) request = rig.server.take();
    rig.server.say(SlotKind::kStatus, request->slot.call_id, rig.payload("", std::string(200'000, 'b')));
    rig.settle();
    while (rig.client.take(true)) {}
  }
  CHECK(rig.client.port(rig.shard).parked() > 0);
  rig.client.open(Rig::kHandles, 100, rig.payload("late"), abi::kEnd, rig.world.now + 1000);
  rig.settle();
  CHECK_FALSE(rig.client.take(true).has_value());
  rig.world.now += 2000;
  const Arrival status = rig.reply();
  CHECK(status.slot.call_id == 100);
  CHECK(status.code() == StatusCode::kDeadlineExceeded);
  CHECK(status.slot.length == 0);
}

TEST_CASE("what waited for a server that died is no longer charged to its edge") {
  Config config;
  config.ring_slots = 128;
  Rig rig(config);
  for (uint64_t id = 1; id <= 90; ++id) {
    rig.client.open(Rig::kHandles, id, rig.payload("x"));
    rig.settle();
  }
  const auto& route = rig.shard.route("client-app", "test.Echo", "Echo");
  CHECK(route.parked_calls > 0);
  rig.shard.remove_port(1, "its process has died");
  CHECK(route.parked_calls == 0);
  CHECK(route.parked_bytes == 0);
}

}  // namespace mrpc::dataplane::testing
