// Applications that lie. Each loses its own attachment or its own call; the neighbour's next call goes through.
#include "dataplane/registrar.h"
#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {
namespace {

// Runs `attack` as a second client; returns what the daemon says of it, after checking that nobody else noticed.
std::string attacked(const std::function<void(Rig&, App&)>& attack) {
  Rig rig;
  App rogue(66, abi::Role::kClient, "rogue", rig.config);
  rig.add(rogue);
  rig.bind(rogue, rig.schema);
  rig.others.push_back(66);
  attack(rig, rogue);
  rig.settle();
  CHECK(rig.observed.violations.count(1) == 0);
  CHECK(rig.observed.violations.count(2) == 0);
  rig.client.open(Rig::kHandles, 5, rig.payload("neighbour"));
  rig.settle();
  while (auto request = rig.server.take())
    if (request->kind() == SlotKind::kOpen) rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  CHECK(rig.reply().code() == StatusCode::kOk);
  const auto said = rig.observed.violations.find(66);
  return said == rig.observed.violations.end() ? "" : said->second;
}

abi::Slot opening(App& app, std::span<const std::byte> image, uint64_t call = 1) {
  abi::Slot slot = app.write(image);
  slot.kind = static_cast<uint8_t>(SlotKind::kOpen);
  slot.flags = abi::kEnd | abi::kHasMessage;
  slot.handle = Rig::kHandles;
  slot.call_id = call;
  return slot;
}

std::string attacked_slot(const std::function<void(App&, abi::Slot&)>& spoil) {
  return attacked([&](Rig& rig, App& rogue) {
    abi::Slot slot = opening(rogue, rig.payload("rogue"));
    spoil(rogue, slot);
    rogue.submit_slot(slot);
  });
}

}  // namespace

TEST_CASE("descriptors that point outside the heap") {
  const std::string outside = "a descriptor points outside the send heap";
  CHECK(attacked_slot([](App& app, abi::Slot& s) { s.offset = app.attachment->send_heap_bytes(); }) == outside);
  CHECK(attacked_slot([](App& app, abi::Slot& s) { s.offset = app.attachment->send_heap_bytes() - 64; }) == outside);
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.offset = UINT64_MAX - 63; }) == outside);
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.length = UINT64_MAX; }) == outside);
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.region = 7; }) == outside);
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.offset += 8; }) == "a descriptor names no block");
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.length = 8; }) == "a descriptor names no block");
}

TEST_CASE("slots that nobody may send") {
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.kind = 200; }) == "a slot that no client may send");
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.kind = static_cast<uint8_t>(SlotKind::kStatus); }) == "a slot that no client may send");
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.handle = 12345; }) == "a call names a method that was not bound");
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.reserved1 = 1; }) == "reserved fields of a slot are set");
  CHECK(attacked_slot([](App&, abi::Slot& s) { s.flags = 0; }) == "a call opens without a message");
  CHECK(attacked([](Rig& rig, App& rogue) {
          rogue.submit_slot(opening(rogue, rig.payload("x"), 9));
          rogue.submit_slot(opening(rogue, rig.payload("x"), 9));
        }) == "two open calls have one id");
}

TEST_CASE("ring indexes that cannot be") {
  const std::string broken = "its ring's indexes cannot be";
  CHECK(attacked([](Rig&, App& app) { app.ring.app_shard(0).submit_tail.store(5000); }) == broken);
  CHECK(attacked([](Rig&, App& app) { app.ring.app_shard(0).submit_tail.store(UINT32_MAX); }) == broken);
  CHECK(attacked([](Rig& rig, App& app) {  // rollback
          app.submit_slot(opening(app, rig.payload("x")));
          rig.settle();
          app.ring.app_shard(0).submit_tail.store(0);
        }) == broken);
  // A wild consumer index of its own completion ring only stops its own completions.
  CHECK(attacked([](Rig& rig, App& app) {
          app.ring.app_shard(0).complete_head.store(77777);
          app.submit_slot(opening(app, rig.payload("x")));
        }) == "");
}

TEST_CASE("blocks whose parts do not add up") {
  const auto header = [](App& app, const abi::Slot& s) { return reinterpret_cast<abi::BlockHeader*>(app.heap() + s.offset); };
  CHECK(attacked_slot([&](App& a, abi::Slot& s) { header(a, s)->inline_bytes = UINT64_MAX; }) != "");
  // Too much metadata is what an honest application may try: it ends the call only.
  CHECK(attacked_slot([&](App& a, abi::Slot& s) { header(a, s)->metadata_bytes = UINT32_MAX; }) == "");
  CHECK(attacked_slot([&](App& a, abi::Slot& s) { header(a, s)->segment_count = 1u << 30; }) != "");
  CHECK(attacked_slot([&](App& a, abi::Slot& s) { header(a, s)->reserved = 1; }) != "");
}

TEST_CASE("segments that point outside what their sender may name") {
  const auto with_segment = [](const abi::Segment& segment, bool hold = true) {
    return attacked([&](Rig&, App& app) {
      std::vector<std::byte> inline_part(32);
      abi::Slot slot = app.write(inline_part, {}, std::span(&segment, 1));
      slot.kind = static_cast<uint8_t>(SlotKind::kOpen);
      slot.flags = static_cast<uint8_t>(abi::kEnd | abi::kHasMessage | (hold ? abi::kHold : 0));
      slot.handle = Rig::kHandles;
      slot.call_id = 1;
      app.submit_slot(slot);
    });
  };
  const std::string outside = "a segment points outside the memory that its sender may name";
  CHECK(with_segment({1ull << 40, 64, abi::kSendRegion, 0}) == outside);
  CHECK(with_segment({0, 4096, abi::kReceiveRegion, 0}) == outside);  // nothing of it is out with the rogue
  CHECK(with_segment({64, 64, 9, 0}) == outside);
  CHECK(with_segment({64, 64, abi::kSendRegion, 0}, false) == "segments were sent without kHold");
}

TEST_CASE("giving back what was never given") {
  CHECK(attacked([](Rig&, App& app) { app.reclaim(64); }) == "a receive block was given back that was not out");
  CHECK(attacked([](Rig&, App& app) { app.reclaim(UINT64_MAX); }) == "a receive block was given back that was not out");
  CHECK(attacked([](Rig& rig, App& app) {  // twice
          app.submit_slot(opening(app, rig.payload("x")));
          rig.settle();
          auto request = rig.server.take();
          rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
          rig.settle();
          const auto reply = app.take(true);
          app.reclaim(reply->slot.offset);
          app.reclaim(reply->slot.offset);
        }) == "a receive block was given back that was not out");
}

TEST_CASE("an image that is not one ends its call only") {
  Rig rig;
  auto image = rig.payload("ann", "data");
  const auto& layout = *rig.schema->message("test.Payload");
  const message::Ref wild{0x7fffffff, 16};
  std::memcpy(image.data() + layout.by_name("name")->offset, &wild, sizeof wild);
  rig.client.open(Rig::kHandles, 1, image);
  CHECK(rig.reply().code() == StatusCode::kInvalidArgument);
  rig.client.open(Rig::kHandles, 2, rig.payload("ann"));
  rig.settle();
  auto request = rig.server.take();
  rig.server.say(SlotKind::kStatus, request->slot.call_id, image);  // the server's may be broken too
  CHECK(rig.reply().code() == StatusCode::kInternal);
  CHECK(rig.observed.violations.empty());
}

TEST_CASE("what is judged is what arrives, whatever the sender does to its heap afterwards") {
  Rig rig;
  rig.apply({{"no-mallory", "access_control", {{"field", std::string("name")}, {"deny", std::vector<std::string>{"mallory"}}}}});
  abi::Slot slot = opening(rig.client, rig.payload("a-friend"), 1);
  rig.client.submit_slot(slot);
  rig.settle();
  const auto evil = rig.payload("mallory");
  std::memcpy(rig.client.heap() + slot.offset + slot.length - evil.size(), evil.data(), evil.size());
  CHECK(rig.name_of(*rig.server.take()) == "a-friend");
}

TEST_CASE("a server cannot answer calls that are not its own") {
  Rig rig;
  App rogue(66, abi::Role::kServer, "rogue", rig.config);
  rig.add(rogue);
  rig.others.push_back(66);
  rig.client.open(Rig::kHandles, 1, rig.payload("x"));
  rig.settle();
  const auto request = rig.server.take();
  rogue.say(SlotKind::kStatus, request->slot.call_id, rig.payload("forged"));
  rig.settle();
  CHECK_FALSE(rig.client.take().has_value());
  rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
  CHECK(rig.name_of(rig.reply()) == "x");
}

TEST_CASE("an application that is slow to look waits with its submissions; one that never looks ends") {
  Config config;
  config.ring_slots = 128;
  config.untaken_max = 30;
  config.untaken_limit = 200;
  Rig rig(config);
  rig.apply({{"nobody", "access_control", {{"field", std::string("name")}, {"deny", std::vector<std::string>{"x"}}}}});
  uint64_t id = 0;
  const auto submit_all = [&] {
    while (rig.client.submit.room() == shm::RingState::kOk) rig.client.open(Rig::kHandles, ++id, rig.payload("x"));
    rig.settle();
  };
  for (int i = 0; i < 10; ++i) submit_all();
  CHECK(rig.client.port(rig.shard).paused);
  CHECK(rig.observed.violations.empty());
  CHECK(rig.shard.prepare_sleep());  // what it submitted keeps nobody awake
  uint64_t told = 0;
  for (int i = 0; i < 20; ++i) {
    while (auto arrival = rig.client.take(true)) told += arrival->kind() == SlotKind::kStatus;
    rig.settle();
  }
  CHECK(told == id);
  CHECK_FALSE(rig.client.port(rig.shard).paused);
}

TEST_CASE("no principal holds more names of services than it may") {
  Registrar registrar;
  for (size_t i = 0; i < kNamesOfPrincipalMax; ++i) REQUIRE(registrar.claim("s" + std::to_string(i), "uid:1").ok());
  CHECK(registrar.claim("one more", "uid:1").error().code == StatusCode::kResourceExhausted);
  CHECK(registrar.claim("s1", "uid:1").ok());
  CHECK(registrar.claim("one more", "uid:2").ok());
}

}  // namespace mrpc::dataplane::testing
