#include <doctest/doctest.h>

#include "message/fixture.h"

using namespace mrpc::message;
using namespace test;

namespace {

// from_protobuf, verify, to_protobuf.
std::string round_trip(const MessageLayout& layout, const Wire& wire) {
  const Bytes image = image_of(layout, wire);
  const auto verified = verify(layout, image, {}, {});
  REQUIRE_MESSAGE(verified.ok(), verified.error().text);
  return wire_of(layout, image);
}

mrpc::Error refusal(const MessageLayout& layout, const Wire& wire, const Limits& limits = {}) {
  Bytes out;
  const auto status = from_protobuf(layout, wire.bytes(), limits, out);
  REQUIRE_FALSE(status.ok());
  return status.error();
}

const MessageLayout& everything() { return layout("test.Everything"); }
const MessageLayout& order() {
  static const auto schema = parse_set(kLegacySet);
  return *schema->message("test.legacy.Order");
}

constexpr uint64_t minus(int64_t value) { return static_cast<uint64_t>(-value); }

}  // namespace

TEST_CASE("every kind of field goes into an image and back") {
  const Wire point = Wire().number(1, 3).number(2, minus(4));
  const Wire wire = Wire().fixed(1, -0.0).fixed(2, 1e30f).number(3, minus(1)).number(4, UINT64_MAX).number(5, minus(5)).fixed(6, uint64_t{6})
                        .fixed(7, uint32_t{7}).number(8, 1).text(9, "w\xc3\xa9").text(10, point).text(11, "\xff\x00").number(12, UINT32_MAX)
                        .number(13, minus(2)).fixed(14, int32_t{-14}).fixed(15, int64_t{-15}).number(16, 31).number(17, UINT64_MAX)
                        .number(20, 0).text(21, "").number(22, 0).text(32, point)
                        .text(40, std::string_view("\x00\x01\xac\x02", 4)).text(41, std::string(16, '\x11')).text(42, std::string_view("\x01\x00", 2))
                        .text(43, "").text(43, "two").text(44, "x").text(45, Wire()).text(45, point).text(46, std::string_view("\x01\x63", 2))
                        .number(47, 1).number(47, 2).text(50, Wire().text(1, "").number(2, 0)).text(50, Wire().text(1, "k").number(2, 1))
                        .text(51, Wire().number(1, minus(1)).text(2, point)).text(51, Wire().number(1, 0).text(2, Wire()))
                        .text(52, Wire().number(1, 0).text(2, "f")).text(52, Wire().number(1, 1).text(2, "t"))
                        .text(60, Wire().text(60, Wire().number(5, 9))).text(61, Wire().number(1, 1).text(2, Wire()).text(2, Wire().number(8, 1)))
                        .number(99, 1).text(100, "unknown");
  CHECK(round_trip(everything(), wire) == wire.view());
}

TEST_CASE("the empty message is a struct of zeros") {
  const Bytes image = image_of(everything(), Wire());
  CHECK(image == Bytes(everything().struct_bytes));
  CHECK(wire_of(everything(), image).empty());
}

TEST_CASE("the last of a scalar wins; zero without presence is absent") {
  CHECK(round_trip(everything(), Wire().number(5, 1).number(5, 2)) == Wire().number(5, 2).view());
  CHECK(round_trip(everything(), Wire().number(5, 1).number(5, 0)).empty());
  CHECK(round_trip(everything(), Wire().text(9, "one").text(9, "two")) == Wire().text(9, "two").view());
}

TEST_CASE("occurrences of a singular message merge, fields between them or not") {
  const Wire wire = Wire().text(60, Wire().number(5, 1).text(43, "a")).number(5, 7).text(60, Wire().number(5, 2).text(43, "b").text(10, Wire().number(1, 1)))
                        .text(60, Wire().text(10, Wire().number(2, 2)));
  const Wire merged = Wire().number(5, 7).text(60, Wire().number(5, 2).text(10, Wire().number(1, 1).number(2, 2)).text(43, "a").text(43, "b"));
  CHECK(round_trip(everything(), wire) == merged.view());
}

TEST_CASE("repeated numbers are read packed, unpacked and mixed, and written as the layout says") {
  const Wire mixed = Wire().number(40, 1).text(40, "\x02\x03").number(5, 1).number(40, 4).text(40, "");
  CHECK(round_trip(everything(), mixed) == Wire().number(5, 1).text(40, "\x01\x02\x03\x04").view());
  CHECK(round_trip(everything(), Wire().text(47, "\x02\x04")) == Wire().number(47, 2).number(47, 4).view());
  CHECK(round_trip(everything(), Wire().text(40, "")).empty());
}

TEST_CASE("maps are sorted and the last of a key wins") {
  const auto entry = [](std::string_view key, uint64_t value) { return Wire().text(1, key).number(2, value); };
  const Wire wire = Wire().text(50, entry("b", 1)).text(50, entry("a", 2)).text(50, entry("b", 3)).text(50, Wire().number(2, 4));
  CHECK(round_trip(everything(), wire) == Wire().text(50, Wire().text(1, "").number(2, 4)).text(50, entry("a", 2)).text(50, entry("b", 3)).view());
  const Wire numbers = Wire().text(51, Wire().number(1, 1)).text(51, Wire().number(1, minus(1)));
  const Wire sorted = Wire().text(51, Wire().number(1, minus(1)).text(2, Wire())).text(51, Wire().number(1, 1).text(2, Wire()));
  CHECK(round_trip(everything(), numbers) == sorted.view());
}

TEST_CASE("the last member of a oneof wins, and one that comes back starts afresh") {
  CHECK(round_trip(everything(), Wire().number(30, 1).text(31, "s")) == Wire().text(31, "s").view());
  CHECK(round_trip(everything(), Wire().text(31, "s").number(30, 0)) == Wire().number(30, 0).view());
  const Wire back = Wire().text(32, Wire().number(1, 1)).number(30, 5).text(32, Wire().number(2, 2)).text(32, Wire().number(2, 3));
  CHECK(round_trip(everything(), back) == Wire().text(32, Wire().number(2, 3)).view());
}

TEST_CASE("unknown fields and fields of the wrong wire type are kept byte for byte, at every level") {
  const std::string_view odd("\xb0\x86\x00\x81\x00", 5);  // number 102, in more bytes than needed
  const Wire wire = Wire().text(60, Wire().number(5, 1).raw(odd)).raw(odd).text(5, "not a number").fixed(99, 1.0).number(9, 1);
  CHECK(round_trip(everything(), wire) == wire.view());
}

TEST_CASE("a closed enum's unknown values are kept as unknown fields") {
  CHECK(round_trip(order(), Wire().number(2, 99)) == Wire().number(2, 99).view());
  CHECK_FALSE(root_view(order(), image_of(order(), Wire().number(2, 99))).present(*order().by_name("size")));
  CHECK(round_trip(order(), Wire().number(2, 7).number(2, 99)) == Wire().number(2, 7).number(2, 99).view());
  CHECK(round_trip(order(), Wire().text(5, "\x01\x63\x02\x64")) == Wire().text(5, "\x01\x02").number(5, 99).number(5, 100).view());
  CHECK(round_trip(order(), Wire().number(4, 99).number(4, 1)) == Wire().number(4, 1).number(4, 99).view());
  CHECK(round_trip(order(), Wire().number(13, 99).number(14, 5)) == Wire().number(14, 5).number(13, 99).view());
  const Wire entry = Wire().text(6, Wire().text(1, "k").number(2, 99));
  CHECK(round_trip(order(), entry) == entry.view());
  CHECK(root_view(order(), image_of(order(), entry)).ref(*order().by_name("by_name")).length == 0);
}

TEST_CASE("proto2 keeps the presence of zeros") {
  const Wire wire = Wire().number(1, 0).text(7, "").text(8, "").fixed(9, 0.0).number(12, 0);
  CHECK(round_trip(order(), wire) == wire.view());
}

TEST_CASE("malformed protobuf bytes are refused with the field's path") {
  CHECK(refusal(everything(), Wire().raw("\x0b")).code == mrpc::StatusCode::kInvalidArgument);
  CHECK(refusal(everything(), Wire().raw("\x28")).text.find("malformed") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(60, Wire().text(9, "\xff"))).text == "message test.Everything, field child.f_string: is not UTF-8");
  CHECK(refusal(everything(), Wire().text(43, "\xff")).text.find("r_string") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(50, Wire().text(1, "\xff"))).text.find("m_string.key") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(41, "1234567")).text.find("r_double") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(40, "\x80")).text.find("r_int32") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(60, Wire().raw("\x0a\x7f"))).text.find("child") != std::string::npos);
}

TEST_CASE("depth is limited as protobuf limits it") {
  Wire wire;
  for (int i = 0; i < 100; ++i) wire = Wire().text(60, wire);
  CHECK(round_trip(everything(), wire) == wire.view());
  CHECK(refusal(everything(), Wire().text(60, wire)).text.find("nests too deep") != std::string::npos);
  CHECK(refusal(everything(), Wire().text(60, Wire()), {.depth_max = 0}).code == mrpc::StatusCode::kInvalidArgument);
  Wire deep;
  for (uint32_t i = 0; i <= kDepthCeiling; ++i) deep = Wire().text(60, deep);
  CHECK(refusal(everything(), deep, {.depth_max = UINT32_MAX}).text.find("nests too deep") != std::string::npos);
}

TEST_CASE("a small input cannot make an image over the limit") {
  Wire wire;
  for (int i = 0; i < 1000; ++i) wire.text(61, Wire().text(2, Wire()));
  Bytes out;
  const auto status = from_protobuf(everything(), wire.bytes(), {.message_bytes_max = 100'000}, out);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == mrpc::StatusCode::kResourceExhausted);
  CHECK(out.capacity() <= 200'000);
  CHECK(refusal(everything(), Wire().text(9, "12345678"), {.message_bytes_max = 8}).code == mrpc::StatusCode::kResourceExhausted);
}

TEST_CASE("notes about scattered fields are limited too") {
  Wire scattered, entries, pieces;
  for (int i = 0; i < 6000; ++i) scattered.number(3, 1).number(4, 1), entries.text(50, Wire().number(2, 1)), pieces.text(10, Wire().number(1, 1));
  const Limits limits{.message_bytes_max = 100'000};
  CHECK(refusal(everything(), scattered, limits).text.find("too many pieces") != std::string::npos);
  CHECK(refusal(everything(), entries, limits).code == mrpc::StatusCode::kResourceExhausted);
  CHECK(round_trip(everything(), pieces) == Wire().text(10, Wire().number(1, 1)).view());
}
