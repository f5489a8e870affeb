// Calls between two daemons: long messages, and what a peer may not do.
#include "dataplane/peers.h"

namespace mrpc::dataplane::testing {
namespace {

const std::string kLong(400'000, 'x');

}  // namespace

TEST_CASE("a call goes to another daemon and back") {
  Peers peers;
  peers.near.client.open(Rig::kHandles, 1, peers.near.payload("ann"));
  peers.settle();
  const auto request = peers.far.server.take();
  REQUIRE(request.has_value());
  CHECK(peers.far.name_of(*request) == "ann");
  peers.far.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  peers.settle();
  CHECK(peers.near.name_of(peers.near.reply()) == "ann");
}

TEST_CASE("long messages from another daemon are checked elsewhere, and their stream keeps its order") {
  Peers peers;
  Rig &near = peers.near, &far = peers.far;
  near.client.open(Rig::kHandles + 1, 1, near.payload("0", kLong), 0);
  near.client.say(SlotKind::kMessage, 1, near.payload("1", kLong), 1);
  near.client.say(SlotKind::kMessage, 1, near.payload("2"), 2);
  near.client.say(SlotKind::kHalfClose, 1, {});
  for (int i = 0; i < 6; ++i) peers.settle(true, false);  // here checked when they are sent, there not yet
  CHECK(far.world.long_jobs.size() == 1);  // the first; the others wait for it
  CHECK_FALSE(far.server.take().has_value());
  peers.settle();
  uint64_t call = 0;
  for (int i = 0; i < 3; ++i) {
    const auto arrival = far.server.take();
    REQUIRE(arrival.has_value());
    CHECK(far.name_of(*arrival) == std::to_string(i));
    call = arrival->slot.call_id;
    far.server.say(SlotKind::kMessage, call, arrival->image, static_cast<uint32_t>(i));
  }
  CHECK(far.server.take()->kind() == SlotKind::kHalfClose);
  far.server.say(SlotKind::kStatus, call, {});
  far.settle();
  for (int i = 0; i < 6; ++i) peers.settle(false, true);
  CHECK(near.world.long_jobs.size() == 1);
  peers.settle();
  for (int i = 0; i < 3; ++i) CHECK(near.name_of(near.reply()) == std::to_string(i));
  CHECK(near.reply().kind() == SlotKind::kStatus);
  CHECK(near.client.port(near.shard).checking_bytes == 0);
}

TEST_CASE("a call ends though its message is still being checked") {
  Peers peers;
  Rig &near = peers.near, &far = peers.far;
  SUBCASE("its caller cancels") {
    near.client.open(Rig::kHandles, 1, near.payload("long", kLong));
    for (int i = 0; i < 6; ++i) peers.settle(true, false);
    near.client.say(SlotKind::kCancel, 1, {});
    peers.settle();
    CHECK(near.reply().code() == StatusCode::kCancelled);
  }
  SUBCASE("its server dies") {
    near.client.open(Rig::kHandles, 1, near.payload("long", kLong));
    for (int i = 0; i < 6; ++i) peers.settle(true, false);
    far.shard.remove_port(1, "gone");
    peers.settle();
    CHECK(near.reply().code() == StatusCode::kUnavailable);
  }
  SUBCASE("the link goes down") {
    near.client.open(Rig::kHandles, 1, near.payload("long", kLong));
    for (int i = 0; i < 6; ++i) peers.settle(true, false);
    near.shard.remove_peer(peers.link);
    peers.settle();
    CHECK(near.reply().code() == StatusCode::kUnavailable);
  }
  CHECK(far.shard.servers().open_calls() == 0);
  CHECK(near.shard.clients().open_calls() == 0);
}

}  // namespace mrpc::dataplane::testing
