// The state that a successor gets: everything that is open, and nothing but what was encoded.
#include <unistd.h>

#include "dataplane/rig.h"
#include "dataplane/takeover/reader.h"
#include "dataplane/takeover/writer.h"

namespace mrpc::dataplane::testing {

// What a data plane does around its shards: registrations by hand, and a successor's shard that goes on from the bytes.
class Successor {
 public:
  explicit Successor(Rig& rig) : rig_(rig), shard(0, rig.config, rig.world, rig.catalog, rig.observed) {
    while (rig.shard.settle(true)) {
    }
    TakeoverWriter writer;
    writer.state.shards = 1;
    for (App* app : {&rig.server, &rig.client}) writer.add_memory(app->attachment);
    const uint32_t schema = writer.add_schema(*rig.schema);
    add_service(writer.state, rig.server, Rig::kOffered, 1, schema);
    add_service(writer.state, rig.client, Rig::kHandles, 0, schema);
    rig.shard.export_state(writer);
    REQUIRE(writer.write_payload().ok());
    bytes = encode_takeover(writer.state);
    auto state = decode_takeover(bytes);
    REQUIRE(state.ok());
    CHECK(encode_takeover(*state) == bytes);
    std::vector<Fd> fds;
    for (const int fd : writer.fds()) fds.emplace_back(::dup(fd));
    TakeoverReader reader(std::move(*state), std::move(fds));
    for (App* app : {&rig.server, &rig.client}) reader.attachments.emplace(app->attachment->id, app->attachment);
    shard.chains = rig.shard.chains;
    const Status imported = shard.import_state(reader);
    REQUIRE_MESSAGE(imported.ok(), imported.error().text);
  }

  void settle() {
    for (int i = 0; i < 1000; ++i) {
      for (App* app : {&rig_.server, &rig_.client}) shard.ring(app->attachment->id);
      if (!shard.turn()) return;
    }
    FAIL("the shard does not come to rest");
  }
  void begin() {
    shard.begin();
    settle();
  }

 private:
  static void add_service(TakeoverState& state, const App& app, uint32_t handles, uint32_t offered, uint32_t schema) {
    TakeoverService service{app.attachment->id, handles, offered, "test.Echo", "", ""};
    service.schema_index = schema;
    state.services.push_back(service);
  }
  Rig& rig_;

 public:
  Shard shard;
  std::vector<std::byte> bytes;
};

TEST_CASE("a call that is open is answered through the successor") {
  Rig rig;
  rig.client.open(Rig::kHandles, 7, rig.payload("open"), abi::kEnd, rig.world.now + 1'000'000);
  rig.settle();
  const auto request = rig.server.take(true);
  REQUIRE(request.has_value());
  Successor next(rig);
  next.begin();
  CHECK(next.shard.clients().open_calls() == 1);
  rig.server.reclaim(request->slot.offset);
  rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  next.settle();
  const auto reply = rig.client.take();
  REQUIRE(reply.has_value());
  CHECK(reply->slot.call_id == 7);
  CHECK(rig.name_of(*reply) == "open");
  CHECK(next.shard.clients().open_calls() == 0);
  CHECK(next.shard.servers().open_calls() == 0);
  CHECK(rig.observed.violations.empty());
}

TEST_CASE("deadlines, numbers of calls and blocks that are out stay what they were") {
  Rig rig;
  rig.client.open(Rig::kHandles, 7, rig.payload("late"), abi::kEnd, rig.world.now + 1'000'000);
  rig.settle();
  const auto request = rig.server.take(true);
  REQUIRE(request.has_value());
  Successor next(rig);
  next.begin();
  rig.world.now += 2'000'000;
  next.settle();
  const auto expired = rig.client.take();
  REQUIRE(expired.has_value());
  CHECK(expired->code() == StatusCode::kDeadlineExceeded);
  const auto cancel = rig.server.take();
  REQUIRE(cancel.has_value());
  CHECK(cancel->slot.call_id == request->slot.call_id);
  rig.client.open(Rig::kHandles, 8, rig.payload("new"));
  next.settle();
  const auto second = rig.server.take(true);
  REQUIRE(second.has_value());
  CHECK(second->slot.call_id != request->slot.call_id);  // a name is not used twice
  CHECK(second->slot.offset != request->slot.offset);    // nor memory that is still out
}

TEST_CASE("what waits for its receiver arrives in order, and held blocks come back once") {
  Config config;
  config.ring_slots = 128;  // of which 64 are reserved
  Rig rig(config);
  const std::string large(40'000, 'x');
  for (uint64_t call = 1; call <= 100; ++call) rig.client.open(Rig::kHandles, call, rig.payload(std::to_string(call), large));
  rig.settle();
  size_t seen = 0, returned = 0;
  const auto take_all = [&](Shard& shard) {
    for (bool more = true; more;) {
      more = false;
      while (const auto arrival = rig.server.take()) {
        CHECK(rig.name_of(*arrival) == std::to_string(++seen));
        more = true;
      }
      while (const auto arrival = rig.client.take()) returned += arrival->kind() == SlotKind::kReclaim ? (more = true) : 0;
      shard.ring(rig.server.attachment->id);
      shard.ring(rig.client.attachment->id);
      while (shard.turn()) {
      }
    }
  };
  CHECK(rig.shard.ports().at(rig.server.attachment->id)->parked() > 0);
  Successor next(rig);
  next.begin();
  take_all(next.shard);
  CHECK(seen == 100);
  CHECK(returned == 100);
  CHECK(rig.observed.violations.empty());
}

TEST_CASE("a predecessor whose successor did not come up goes on as if nothing had been") {
  Rig rig;
  rig.client.open(Rig::kHandles, 7, rig.payload("still here"));
  rig.settle();
  { Successor never(rig); }
  const Arrival request = rig.echo();
  CHECK(rig.name_of(request) == "still here");
  CHECK(rig.reply().slot.call_id == 7);
  CHECK(rig.observed.violations.empty());
}

TEST_CASE("policies go on with what they know") {
  Rig rig;
  rig.apply({{"limit", "rate_limit", {{"requests_per_second", 0.001}, {"burst", 5.0}}}});
  for (uint64_t call = 1; call <= 3; ++call) {
    rig.client.open(Rig::kHandles, call, rig.payload("counted"));
    rig.echo();
    CHECK(rig.reply().code() == StatusCode::kOk);
  }
  Successor next(rig);
  next.begin();
  int served = 0;
  for (uint64_t call = 4; call <= 8; ++call) {
    rig.client.open(Rig::kHandles, call, rig.payload("counted"));
    next.settle();
    served += rig.server.take().has_value();
  }
  CHECK(served == 2);
}

TEST_CASE("state that contradicts itself is refused, and never believed") {
  Rig rig;
  rig.client.open(Rig::kHandles, 7, rig.payload("open"));
  rig.settle();
  const auto bytes = Successor(rig).bytes;
  const auto refused = [&](auto&& change) {
    auto state = decode_takeover(bytes);
    REQUIRE(state.ok());
    change(*state);
    TakeoverReader reader(std::move(*state), {});
    for (App* app : {&rig.server, &rig.client}) reader.attachments.emplace(app->attachment->id, app->attachment);
    Shard shard(0, rig.config, rig.world, rig.catalog, rig.observed);
    return !shard.import_state(reader).ok();
  };
  CHECK_FALSE(refused([](TakeoverState&) {}));
  CHECK(refused([](TakeoverState& state) { state.ports[0].submit_head += 1; }));
  CHECK(refused([](TakeoverState& state) { state.ports.push_back(state.ports[0]); }));
  CHECK(refused([](TakeoverState& state) { state.calls[0].attachment = 99; }));
  CHECK(refused([](TakeoverState& state) { state.calls[0].path = "/test.Echo/None"; state.calls[0].handle = 5; }));
  CHECK(refused([](TakeoverState& state) { state.calls.push_back(state.calls[0]); }));
  CHECK(refused([](TakeoverState& state) { state.tables.clear(); }));
  CHECK(refused([](TakeoverState& state) { state.schemas[0] = "no schema"; }));
  CHECK(refused([](TakeoverState& state) { state.fd_count = 1; }));
  CHECK(refused([](TakeoverState& state) {
    for (TakeoverPort& port : state.ports)
      if (!port.spans.empty()) port.spans[0].object_bytes = 65;
  }));
}

TakeoverAttachment an_attachment() {
  TakeoverAttachment made;
  made.id = 1;
  made.role = 2;
  made.app = "app";
  made.label = "label";
  return made;
}

TEST_CASE("truncated, overlong and altered state is refused") {
  TakeoverState state;
  state.node = "n";
  state.attachments.push_back(an_attachment());
  const auto bytes = encode_takeover(state);
  for (size_t length = 0; length < bytes.size(); ++length) CHECK_FALSE(decode_takeover(std::span(bytes).first(length)).ok());
  auto longer = bytes;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode_takeover(longer).ok());
  auto other_version = bytes;
  other_version[4] = std::byte{99};
  CHECK_FALSE(decode_takeover(other_version).ok());
}

TEST_CASE("an older build's state is read, and one for an older build leaves out what that does not know") {
  TakeoverState state;
  state.node = "n";
  state.ring_slots = 1024;
  state.attachments.push_back(an_attachment());
  state.attachments[0].accepted_ns = 77;
  const auto old = encode_takeover(state, 1);
  CHECK(old.size() < encode_takeover(state, 2).size());
  const auto back = decode_takeover(old);
  REQUIRE(back.ok());
  CHECK(back->attachments[0].label == "label");
  CHECK(back->attachments[0].accepted_ns == 0);
  CHECK(back->ring_slots == 0);
  CHECK(encode_takeover(*back, 1) == old);
  state.calls.emplace_back().judged = "limits";
  CHECK(decode_takeover(encode_takeover(state, 2))->calls[0].judged.empty());
  CHECK(decode_takeover(encode_takeover(state))->calls[0].judged == "limits");
}

}  // namespace mrpc::dataplane::testing
