// Calls between two daemons: long messages, and what a peer may not do.
#include "dataplane/peers.h"

namespace mrpc::dataplane::testing {
namespace {

const std::string kLong(400'000, 'x');

void run_job(Rig& rig) {
  REQUIRE_FALSE(rig.world.long_jobs.empty());
  const auto job = std::move(rig.world.long_jobs.front());
  rig.world.long_jobs.pop_front();
  job();
}

std::string far_name(Peers& peers) {
  const auto arrival = peers.far.server.take();
  REQUIRE(arrival.has_value());
  return peers.far.name_of(*arrival);
}

// A stream whose first message the near daemon still prepares for its link, and one more of its messages. A call that came after it has passed.
void send_prepared(Peers& peers) {
  Rig& near = peers.near;
  near.client.open(Rig::kHandles + 1, 1, near.payload("long", std::string(3'000'000, 'x')), 0);
  for (int i = 0; i < 2; ++i) {  // it is copied, and checked
    peers.settle(false);
    run_job(near);
  }
  near.client.say(SlotKind::kMessage, 1, near.payload("then"), 1);
  near.client.open(Rig::kHandles, 2, near.payload("short"));
  peers.settle(false);
  CHECK(near.world.long_jobs.size() == 1);
  CHECK(far_name(peers) == "short");
  CHECK_FALSE(peers.far.server.take().has_value());
}

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

TEST_CASE("daemons of unequal layout versions send each other protobuf bytes") {
  Config old = Peers::named("near");
  old.layout_version = message::kLayoutVersion + 1;
  Peers peers(old);
  Rig &near = peers.near, &far = peers.far;
  CHECK(near.shard.protobuf_links.size() == 1);
  CHECK(far.shard.protobuf_links.size() == 1);
  near.client.open(Rig::kHandles + 1, 1, near.payload("0", kLong), 0);
  near.client.say(SlotKind::kMessage, 1, near.payload("1"), 1);
  peers.settle();
  uint64_t call = 0;
  for (uint32_t i = 0; i < 2; ++i) {
    const auto arrival = far.server.take();
    REQUIRE(arrival.has_value());
    CHECK(arrival->image == far.payload(std::to_string(i), i == 0 ? kLong : ""));
    call = arrival->slot.call_id;
    far.server.say(SlotKind::kMessage, call, arrival->image, i);
  }
  far.server.say(SlotKind::kStatus, call, {}, 0, StatusCode::kNotFound, "that was all");
  peers.settle();
  CHECK(near.reply().image == near.payload("0", kLong));
  CHECK(near.reply().image == near.payload("1"));
  CHECK(near.reply().text == "that was all");
}

TEST_CASE("a long message becomes protobuf bytes elsewhere, and only what follows of its call waits for it") {
  Config old = Peers::named("near");
  old.layout_version = message::kLayoutVersion + 1;
  Peers peers(old);
  send_prepared(peers);
  peers.settle();
  for (const char* name : {"long", "then"}) CHECK(far_name(peers) == name);
}

TEST_CASE("a long message is compressed elsewhere, by pieces, and only what follows of its call waits for it") {
  Peers peers;
  peers.near.apply({{"pack", "compression", {{"algorithm", std::string("zstd")}, {"level", int64_t{1}}}}});
  send_prepared(peers);
  int pieces = 0;
  for (; !peers.near.world.long_jobs.empty(); ++pieces) {
    CHECK_FALSE(peers.far.server.take().has_value());
    run_job(peers.near);
    peers.settle(false);
  }
  CHECK(pieces == 3);  // 23 segments, eight at a time
  peers.settle();
  for (const char* name : {"long", "then"}) CHECK(far_name(peers) == name);
  CHECK(peers.near.shard.tcp_stats()->bytes_saved > 2'900'000);
}

TEST_CASE("what is being prepared for a link that goes down ends with its call") {
  Peers peers;
  peers.near.apply({{"pack", "compression", {{"algorithm", std::string("zstd")}, {"level", int64_t{1}}}}});
  send_prepared(peers);
  const auto given_back = [&] {
    int blocks = 0;
    while (const auto arrival = peers.near.client.take()) blocks += arrival->kind() == SlotKind::kReclaim;
    return blocks;
  };
  CHECK(given_back() == 1);
  run_job(peers.near);
  SUBCASE("the link goes down") { peers.near.shard.remove_peer(peers.link); }
  SUBCASE("the caller dies") { peers.near.shard.remove_port(2, "killed"); }
  peers.settle();
  CHECK(peers.near.shard.clients().open_calls() == 0);
  CHECK(peers.far.shard.servers().open_calls() == 0);
  CHECK_FALSE(peers.near.shard.works_long());
}

TEST_CASE("nobody to have the call is told as such, by another daemon, too") {
  Peers peers;
  const auto refused = [&](uint64_t call) {
    peers.near.client.open(Rig::kHandles, call, peers.near.payload("x"));
    peers.settle();
    const Arrival reply = peers.near.reply();
    CHECK(reply.code() == StatusCode::kUnavailable);
    return reply.slot.flags;
  };
  peers.far.shard.directory.find("test.Echo")->endpoints.clear();  // which the near daemon has yet to hear
  CHECK((refused(1) & abi::kNotDelivered) != 0);
  peers.near.shard.directory.find("test.Echo")->endpoints.clear();
  CHECK((refused(2) & abi::kNotDelivered) != 0);
}

TEST_CASE("an image from a daemon of another layout version is refused") {
  Peers peers;
  peers.far.shard.protobuf_links.insert(peers.far.shard.peers().front().id | kTcpLink);  // as if it had said so
  peers.near.client.open(Rig::kHandles, 1, peers.near.payload("x"));
  peers.settle();
  CHECK(peers.near.reply().code() == StatusCode::kInvalidArgument);
  CHECK_FALSE(peers.far.server.take().has_value());
}

TEST_CASE("a peer's callers share one route beyond a bound") {
  Config bounded = Peers::named("far");
  bounded.routes_max = 2;
  Peers peers(Peers::named("near"), bounded);
  for (uint32_t i = 0; i < 5; ++i) {
    App app(10 + i, abi::Role::kClient, "caller-" + std::to_string(i), peers.near.config);
    peers.near.add(app);
    peers.near.bind(app, peers.near.schema);
    peers.near.others.push_back(10 + i);
    app.open(Rig::kHandles, 1, peers.near.payload("x"));
    peers.settle();
    const auto request = peers.far.server.take();
    REQUIRE(request.has_value());  // served all the same
    peers.far.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
    peers.settle();
    CHECK(app.take()->code() == StatusCode::kOk);
  }
  CHECK(peers.far.shard.routes.size() == 3);
}

TEST_CASE("a peer that announces too many services is left, and the reason is told") {
  Config bounded = Peers::named("near");
  SUBCASE("names") { bounded.peer_services_max = 0; }
  SUBCASE("schemas") { bounded.peer_schema_bytes_max = 10; }
  Rig near(bounded), far(Peers::named("far"));
  near.shard.remove_port(1, "not asked");
  const auto address = far.shard.listen("127.0.0.1:0");
  REQUIRE((address.ok() && near.shard.connect_peer(*address).ok()));
  const auto refused = [&] { return std::count(near.observed.events.begin(), near.observed.events.end(), "refused"); };
  for (int i = 0; i < 1000 && refused() == 0; ++i) {
    near.settle();
    far.settle();
  }
  CHECK(refused() == 1);
  CHECK_FALSE(near.shard.peers().front().up);
  CHECK(near.shard.peers().front().error.starts_with("refused: it announces more services"));
}

TEST_CASE("a message over the peer's limit ends its call, whether it waited for its link or not, and nothing else") {
  static const std::string kHuge(3 << 20, 'x');
  Config near_config = Peers::named("near"), far_config = Peers::named("far");
  bool replies = false, streams = false;
  SUBCASE("that goes at once") {}
  SUBCASE("that waits until it is protobuf bytes") { near_config.layout_version += 1; }
  SUBCASE("of a stream") { streams = true; }
  SUBCASE("of a stream, that waits") { streams = true, near_config.layout_version += 1; }
  SUBCASE("a reply") { replies = true; }
  SUBCASE("a reply that waits") { replies = true, near_config.layout_version += 1; }
  SUBCASE("a stream's reply") { replies = streams = true; }
  SUBCASE("a stream's reply that waits") { replies = streams = true, near_config.layout_version += 1; }
  (replies ? near_config : far_config).message_bytes_max = 1 << 20;
  Peers peers(near_config, far_config);
  Rig &near = peers.near, &far = peers.far;
  if (streams || replies) {
    near.client.open(Rig::kHandles + streams, 1, near.payload("first"), streams ? 0 : abi::kEnd);
    peers.settle();
    const auto request = far.server.take();
    REQUIRE(request.has_value());
    if (!replies) near.client.say(SlotKind::kMessage, 1, near.payload("huge", kHuge), 1);
    else far.server.say(streams ? SlotKind::kMessage : SlotKind::kStatus, request->slot.call_id, far.payload("huge", kHuge));
  } else {
    near.client.open(Rig::kHandles, 1, near.payload("huge", kHuge));
  }
  near.client.open(Rig::kHandles, 2, near.payload("other"));
  peers.settle();
  const Arrival reply = near.reply();
  CHECK(reply.slot.call_id == 1);
  CHECK(reply.code() == StatusCode::kResourceExhausted);
  CHECK(reply.text.find("peer daemon's limit") != std::string::npos);
  CHECK(near.shard.clients().open_calls() == 1);
  CHECK(far.shard.servers().open_calls() == 1);
  bool cancelled = false, other = false;
  while (const auto arrival = far.server.take()) {
    cancelled |= arrival->kind() == SlotKind::kCancel;
    other |= arrival->kind() == SlotKind::kOpen;
  }
  CHECK(other);
  CHECK(cancelled == streams);
}

}  // namespace mrpc::dataplane::testing
