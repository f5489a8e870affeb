// What the recorder keeps of calls, and above all what it does not.
#include <doctest/doctest.h>

#include "dataplane/message_block.h"
#include "dataplane/policy/recorder.h"
#include "dataplane/rig.h"
#include "message/fixture.h"

namespace mrpc::dataplane::testing {
namespace {

using test::Wire;

constexpr uint64_t kSecond = 1'000'000'000;

const message::MessageLayout& order() {
  static const auto schema = parse_schema(kOrdersSchema);
  return *schema->message("shop.Order");
}

std::string_view view_of(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// What is kept of `wire`, as protobuf bytes again; it must be an image.
std::string kept(const message::MessageLayout& layout, const Wire& wire, const Redactions& redact = {}, uint64_t bytes_max = 1 << 20) {
  const auto image = test::image_of(layout, wire);
  const auto made = recordable_image(layout, image, redact, bytes_max);
  if (made.empty()) return "too long";
  CHECK(message::verify(layout, made, {}, {}).ok());
  CHECK(view_of(made).find("SECRET") == std::string_view::npos);
  return test::wire_of(layout, made);
}

Wire full_order(const Wire& part) {
  Wire wire;
  wire.text(1, "note").text(2, "SECRET").text(3, Wire().text(1, "SECRET")).text(4, "SECRET").text(4, "SECRET2");
  wire.text(5, Wire().text(1, "SECRET").text(2, "SECRET")).number(6, 1234).text(7, "SECRET");
  wire.text(9, Wire().text(1, "ann").number(2, 4)).text(10, part).text(11, "SECRET").fixed(12, 2.5).fixed(12, -0.0);
  wire.text(13, "SECRET").text(13, "").text(14, Wire().number(1, 5).text(2, Wire().text(1, "4711")));
  return wire.text(99, "SECRET");  // unknown
}

struct RecorderRig {
  Recorder recorder;
  std::shared_ptr<const message::Schema> schema = parse_schema(kEchoSchema);
  const message::MethodLayout& method = schema->service("test.Echo")->methods[0];

  std::unique_ptr<RecordedCall> begin(const std::string& name, std::span<const std::byte> metadata = {}, uint64_t at_ns = 0) {
    RecordedCall call;
    call.client = "ann";
    call.layout = &method;
    call.at_ns = at_ns;
    return recorder.begin(std::move(call), metadata, image_of(*method.request, wire_text(1, name)));
  }
  std::string name_of(const RecordedCall& call) {
    return std::string(message::root_view(*method.request, call.request).text(*method.request->by_name("name")));
  }
  bool wants(uint64_t now_ns = 0, uint64_t random = 0) {
    return recorder.wants(now_ns, [&] { return random; });
  }
};

}  // namespace

TEST_CASE("recorder: what is not secret is kept as it was") {
  const auto& everything = test::layout("test.Everything");
  const Wire point = Wire().number(1, 3).number(2, 4);
  Wire wire;
  wire.number(3, 77).text(9, "text").text(10, point).number(13, 1).number(20, 0).text(21, "").text(32, point);
  wire.text(40, std::string_view("\1\2\3")).text(43, "a").text(43, "").text(43, "bcd").text(45, point).text(45, "").text(46, std::string_view("\1\0", 2));
  wire.text(50, Wire().text(1, "k").number(2, 9)).text(51, Wire().number(1, 1).text(2, point));
  wire.text(60, Wire().number(3, 5)).text(61, Wire().number(1, 1).text(2, Wire().text(9, "deep")));
  const auto image = test::image_of(everything, wire);
  CHECK(recordable_image(everything, image, {}, 1 << 20) == image);
}

TEST_CASE("recorder: redacted fields, bytes and unknown fields are not kept, at any depth") {
  const std::string inner = kept(order(), full_order(Wire()));
  CHECK(inner == kept(order(), Wire().raw(inner)));  // what is left is kept whole
  Wire nested = full_order(full_order(Wire()));
  const std::string outer = kept(order(), nested);
  CHECK(outer.find("note") != outer.npos);
  CHECK(outer.find("4711") != outer.npos);
  const auto image = test::image_of(order(), Wire().raw(outer));
  const auto root = message::root_view(order(), image);
  CHECK_FALSE(root.present(*order().by_name("password")));
  CHECK_FALSE(root.present(*order().by_name("pin")));
  CHECK_FALSE(root.present(*order().by_name("iban")));
  CHECK(root.present(*order().by_name("scan")));  // that there was one is no content
  CHECK(root.ref(*order().by_name("scans")).length == 2);
  CHECK(root.ref(*order().by_name("prices")).length == 2);
}

TEST_CASE("recorder: any field can be redacted by name, and what is left is an image") {
  const Wire wire = full_order(full_order(Wire()));
  for (const auto& field : order().fields) {
    CAPTURE(field.name);
    const std::string left = kept(order(), wire, {"shop.Order." + field.name});
    const auto image = test::image_of(order(), Wire().raw(left));
    const auto root = message::root_view(order(), image);
    if (field.has_presence) CHECK_FALSE(root.present(field));
    else CHECK(root.ref(field).length == 0);
  }
  CHECK(kept(order(), wire, {"shop.Card.number"}).find("4711") == std::string::npos);
  for (const char* entry : {"shop.Order.TiersEntry.key", "shop.Order.TiersEntry.value"})
    CHECK(kept(order(), Wire().text(9, Wire().text(1, "ann").number(2, 4)), {entry}).empty());
}

TEST_CASE("recorder: segments are not looked for") {
  const auto& everything = test::layout("test.Everything");
  std::vector<std::byte> image(everything.struct_bytes);
  const uint32_t segment_at = static_cast<uint32_t>(abi::align_up(image.size(), abi::kBlobAlign));
  const message::Ref numbers{segment_at, 2}, payload{segment_at + static_cast<uint32_t>(abi::kBlobAlign), 3};
  std::memcpy(image.data() + everything.by_name("r_double")->offset, &numbers, sizeof numbers);
  std::memcpy(image.data() + everything.by_name("f_bytes")->offset, &payload, sizeof payload);
  const auto made = recordable_image(everything, image, {}, 1 << 20);
  CHECK(message::verify(everything, made, {}, {}).ok());
  CHECK(test::wire_of(everything, made).empty());
}

TEST_CASE("recorder: what is longer than the limit is left out") {
  const Wire wire = Wire().text(1, std::string(1000, 'x'));
  CHECK(kept(order(), wire, {}, 1000) == "too long");
  CHECK(kept(order(), wire, {}, 2000) == wire.view());
  CHECK(kept(order(), wire, {}, 8) == "too long");
  CHECK(kept(order(), full_order(wire), {}, 1200) == "too long");
}

TEST_CASE("recorder: the newest calls are kept, with how they ended") {
  RecorderRig rig;
  rig.recorder.configure({.calls_max = 2});
  for (const char* name : {"one", "two", "three"}) rig.recorder.end(rig.begin(name, {}, 5), StatusCode::kNotFound, 12);
  rig.recorder.end(nullptr, StatusCode::kOk, 0);
  REQUIRE(rig.recorder.calls().size() == 2);
  CHECK(rig.name_of(*rig.recorder.calls()[0]) == "two");
  CHECK(rig.name_of(*rig.recorder.calls()[1]) == "three");
  CHECK(rig.recorder.calls()[1]->status == StatusCode::kNotFound);
  CHECK(rig.recorder.calls()[1]->latency_ns == 7);
  CHECK(rig.recorder.calls()[1]->client == "ann");
  rig.recorder.configure({.calls_max = 1});
  CHECK(rig.recorder.calls().size() == 1);
}

TEST_CASE("recorder: only so many calls are begun: a share, a number a second, a number at a time") {
  RecorderRig rig;
  rig.recorder.configure({.sample = 0});
  CHECK_FALSE(rig.wants());
  rig.recorder.configure({.sample = 0.5});
  CHECK(rig.wants(0, 0));
  CHECK_FALSE(rig.wants(0, UINT64_MAX));
  rig.recorder.configure({.calls_per_s_max = 3});
  int wanted = 0;
  for (uint64_t n = 0; n < 10; ++n) wanted += rig.wants(5 * kSecond + n);
  CHECK(wanted == 3);
  CHECK(rig.wants(6 * kSecond));
  rig.recorder.configure({.calls_max = 2});
  std::vector<std::unique_ptr<RecordedCall>> open;
  for (uint64_t at = 10; rig.wants(at * kSecond); ++at) open.push_back(rig.begin("open"));
  CHECK(open.size() == 2);
  rig.recorder.end(std::move(open[0]), StatusCode::kOk, 0);
  CHECK(rig.wants(20 * kSecond));
}

TEST_CASE("recorder: secrets in metadata are not kept, that they were there is") {
  RecorderRig rig;
  rig.recorder.configure({.redact = {"metadata.x-own"}});
  const std::vector<shm::MetadataPair> pairs = {{"authorization", "SECRET"}, {"cookie", "SECRET"}, {"trace-bin", "SECRET"},
                                                {"x-own", "SECRET"}, {"x-tier", "gold"}};
  rig.recorder.end(rig.begin("n", pack_metadata(pairs)), StatusCode::kOk, 0);
  const auto& call = *rig.recorder.calls().back();
  CHECK(view_of(call.metadata).find("SECRET") == std::string_view::npos);
  shm::MetadataReader reader(call.metadata);
  std::map<std::string, std::string> left;
  for (shm::MetadataPair pair; reader.next(pair);) left[std::string(pair.key)] = pair.value;
  CHECK(left == std::map<std::string, std::string>{{"authorization", ""}, {"cookie", ""}, {"trace-bin", ""}, {"x-own", ""}, {"x-tier", "gold"}});
  CHECK(call.withheld == std::vector<std::string>{"authorization", "cookie", "trace-bin", "x-own"});
  CHECK_FALSE(call.metadata_withheld);
  const std::string tier(8000, 'g');
  rig.recorder.end(rig.begin("n", pack_metadata({{{"x-tier", tier}}})), StatusCode::kOk, 0);
  CHECK(rig.recorder.calls().back()->metadata_withheld);
  CHECK(rig.recorder.calls().back()->metadata.empty());
}

TEST_CASE("recorder: what is to be redacted from now on is forgotten, also of calls that are open") {
  RecorderRig rig;
  auto open = rig.begin("SECRET");
  rig.recorder.end(rig.begin("SECRET"), StatusCode::kOk, 0);
  rig.recorder.configure({.redact = {"test.Payload.name"}});
  CHECK(rig.recorder.calls().empty());
  rig.recorder.end(std::move(open), StatusCode::kOk, 0);
  CHECK(rig.recorder.calls().empty());
  rig.recorder.end(rig.begin("SECRET"), StatusCode::kOk, 0);
  REQUIRE(rig.recorder.calls().size() == 1);
  rig.recorder.configure({.sample = 0.5, .redact = {"test.Payload.name"}});
  CHECK(rig.recorder.calls().size() == 1);
  rig.recorder.configure({.redact = {}});
  CHECK(rig.recorder.calls().size() == 1);
}

}  // namespace mrpc::dataplane::testing
