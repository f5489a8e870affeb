// The state that a successor gets: everything that is open, and nothing but what was encoded.
#include "dataplane/rig.h"
#include "dataplane/takeover_state.h"

namespace mrpc::dataplane::testing {

TEST_CASE("open calls, blocks that are out and engine state are exported, and come back from their bytes") {
  Rig rig;
  rig.apply({{"limit", "rate_limit", {{"requests_per_second", 1.0}, {"burst", 5.0}}}});
  rig.client.open(Rig::kHandles, 7, rig.payload("open"), abi::kEnd, rig.world.now + 1'000'000);
  rig.settle();
  const auto request = rig.server.take(true);
  REQUIRE(request.has_value());
  TakeoverState state;
  state.node = "here";
  state.chains.push_back({"c", "*", "*", "*", {{"p", "rate_limit", {{"burst", "n5"}}}}});
  rig.shard.export_state(state);
  const auto bytes = encode_takeover(state);
  const auto back = decode_takeover(bytes);
  REQUIRE(back.ok());
  CHECK(encode_takeover(*back) == bytes);
  REQUIRE(back->calls.size() == 2);  // its two halves
  CHECK(back->calls[0].app_call == 7);
  CHECK(back->calls[0].deadline_ns == rig.world.now + 1'000'000);
  CHECK(back->calls[1].app_call == request->slot.call_id);
  CHECK(back->calls[1].path == "/test.Echo/Echo");
  REQUIRE(back->receive_blocks.size() == 1);
  CHECK(back->receive_blocks[0].offset == request->slot.offset);
  REQUIRE(back->engines.size() == 1);
  CHECK(back->engines[0].evaluations == 1);

  EngineConfig config{{"requests_per_second", 1.0}, {"burst", 5.0}};
  auto engine = native_engines().at("rate_limit")(config, *rig.schema->message("test.Payload"));
  REQUIRE(engine.ok());
  REQUIRE((*engine)->restore(std::as_bytes(std::span(back->engines[0].saved))).ok());
  int left = 0;
  while ((*engine)->on_request({"c", "s", "m", rig.world.now}, {}).forwards()) ++left;
  CHECK(left == 4);
}

TEST_CASE("truncated, overlong and altered state is refused") {
  TakeoverState state;
  state.node = "n";
  state.attachments.push_back({1, 2, 3, 1, 4, "app", "uid:3", "label", 5, 6});
  const auto bytes = encode_takeover(state);
  for (size_t length = 0; length < bytes.size(); ++length) CHECK_FALSE(decode_takeover(std::span(bytes).first(length)).ok());
  auto longer = bytes;
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode_takeover(longer).ok());
  auto other_version = bytes;
  other_version[4] = std::byte{99};
  CHECK_FALSE(decode_takeover(other_version).ok());
}

}  // namespace mrpc::dataplane::testing
