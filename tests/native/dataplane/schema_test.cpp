// Client and server of different schema versions: protobuf's rules, and no way past a field policy.
#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {
namespace {

struct Deviant {
  Deviant() : app(3, abi::Role::kClient, "deviant", rig.config), schema(parse_schema(kDeviantSchema)) {
    rig.add(app);
    rig.bind(app, schema);
    rig.others.push_back(3);
    rig.apply({{"no-mallory", "access_control", {{"field", std::string("name")}, {"deny", std::vector<std::string>{"mallory"}}}}});
  }
  // Calls with these protobuf bytes as the deviant's own schema lays them out.
  Arrival call(const std::string& protobuf, uint32_t method = 0) {
    app.open(Rig::kHandles + method, ++calls, image_of(*schema->message("test.Payload"), protobuf));
    rig.settle();
    if (auto request = rig.server.take()) {
      seen = request->image;
      rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
      rig.settle();
    }
    while (auto arrival = app.take())
      if (arrival->kind() == SlotKind::kStatus) return *arrival;
    FAIL("no status");
    return {};
  }

  Rig rig;
  App app;
  std::shared_ptr<const message::Schema> schema;
  std::vector<std::byte> seen;
  uint64_t calls = 0;
};

}  // namespace

TEST_CASE("a field keeps its meaning by number, and the reply comes back in the client's schema") {
  Deviant d;
  const Arrival reply = d.call(wire_text(1, "ann") + wire_text(2, "data"));
  REQUIRE(reply.code() == StatusCode::kOk);
  const auto& mine = *d.schema->message("test.Payload");
  CHECK(message::root_view(mine, reply.image).text(*mine.by_name("label")) == "ann");
  const auto& theirs = *d.rig.schema->message("test.Payload");
  CHECK(message::root_view(theirs, d.seen).text(*theirs.by_name("name")) == "ann");
}

TEST_CASE("renaming a field does not get past a policy on it") {
  CHECK(Deviant().call(wire_text(1, "mallory")).code() == StatusCode::kPermissionDenied);
}

TEST_CASE("sending a field twice does not: the last one counts, for the policy as for the server") {
  CHECK(Deviant().call(wire_text(1, "ann") + wire_text(1, "mallory")).code() == StatusCode::kPermissionDenied);
}

TEST_CASE("hiding a field among the unknown ones does not") {
  Deviant d;
  // An image of the server's own layout whose unknown fields hold a second `name`.
  const auto& layout = *d.rig.schema->message("test.Payload");
  const std::string hidden = wire_text(1, "mallory");
  std::vector<std::byte> image(layout.struct_bytes + abi::align_up(hidden.size(), 8));
  const message::Ref unknown{layout.struct_bytes, static_cast<uint32_t>(hidden.size())};
  std::memcpy(image.data(), &unknown, sizeof unknown);
  std::memcpy(image.data() + layout.struct_bytes, hidden.data(), hidden.size());
  image.resize(layout.struct_bytes + hidden.size());
  d.rig.client.open(Rig::kHandles, 1, image);
  CHECK(d.rig.reply().code() == StatusCode::kPermissionDenied);
}

TEST_CASE("what the client does not know is kept for it, and what the server does not know is kept for the way back") {
  Deviant d;
  const std::string words = wire_text(3, "kept");
  const std::string extra = {'\x48', '\x05'};  // field 9, varint 5
  const Arrival reply = d.call(wire_text(1, "ann") + words + extra);
  REQUIRE(reply.code() == StatusCode::kOk);
  const auto& theirs = *d.rig.schema->message("test.Payload");
  CHECK(message::root_view(theirs, d.seen).ref(*theirs.by_name("words")).length == 1);
  std::vector<std::byte> back;
  message::to_protobuf(*d.schema->message("test.Payload"), reply.image, back);
  const std::string text(reinterpret_cast<const char*>(back.data()), back.size());
  CHECK(text.find(words) != std::string::npos);
  CHECK(text.find(extra) != std::string::npos);
}

TEST_CASE("a method that the server lacks is UNIMPLEMENTED at once") {
  CHECK(Deviant().call(wire_text(1, "ann"), 1).code() == StatusCode::kUnimplemented);
}

}  // namespace mrpc::dataplane::testing
