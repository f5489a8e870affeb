#include <doctest/doctest.h>

#include "message/descriptor.h"
#include "message/fixture.h"

using namespace mrpc::message;
using namespace test;

namespace {

Wire field(std::string_view name, uint64_t number, uint64_t type, uint64_t label = 1) {
  return Wire().text(1, name).number(3, number).number(4, label).number(5, type);
}
Wire typed(std::string_view name, uint64_t number, std::string_view type_name, uint64_t type = 11, uint64_t label = 1) {
  return field(name, number, type, label).text(6, type_name);
}
Wire message(std::string_view name, std::initializer_list<Wire> fields) {
  Wire out = Wire().text(1, name);
  for (const auto& f : fields) out.text(2, f);
  return out;
}
// A set of one proto3 file in package "p".
Wire file(std::initializer_list<Wire> messages) {
  Wire out = Wire().text(1, "f.proto").text(2, "p").text(12, "proto3");
  for (const auto& m : messages) out.text(4, m);
  return out;
}
auto parse(const Wire& file) { return Schema::parse(Wire().text(1, file).bytes()); }

std::string refusal(const Wire& file) {
  const auto schema = parse(file);
  REQUIRE_FALSE(schema.ok());
  CHECK(schema.error().code == mrpc::StatusCode::kInvalidArgument);
  return schema.error().text;
}
bool mentions(const std::string& text, std::string_view part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}

}  // namespace

TEST_CASE("protoc's descriptors give the layouts that the .proto says") {
  const MessageLayout& m = layout("test.Everything");
  const auto& by_name = [&](const char* name) -> const FieldLayout& { return *m.by_name(name); };
  CHECK(m.by_number(45) == &by_name("r_point"));
  CHECK(m.by_number(18) == nullptr);
  CHECK(m.by_number(0) == nullptr);
  CHECK(m.by_name("no") == nullptr);
  CHECK(m.oneofs == std::vector<std::string>{"choice"});
  CHECK(by_name("c_point").oneof == 0);
  CHECK(by_name("o_int32").oneof == -1);
  CHECK(by_name("o_int32").has_presence);
  CHECK_FALSE(by_name("f_int32").has_presence);
  CHECK(by_name("f_point").has_presence);
  CHECK(by_name("r_int32").packed);
  CHECK_FALSE(by_name("r_unpacked").packed);
  CHECK(by_name("f_string").validate_utf8);
  CHECK(by_name("f_string").json_name == "fString");
  CHECK(by_name("child").message == &m);
  CHECK(by_name("r_point").element_bytes == layout("test.Point").struct_bytes);
  CHECK(by_name("m_point").cardinality == Cardinality::kMap);
  CHECK(by_name("m_point").message->map_entry);
  CHECK_FALSE(by_name("f_color").enumeration->closed);
  CHECK(everything_schema().enumeration("test.Everything.Nested.Kind")->has(1));
  CHECK_FALSE(everything_schema().enumeration("test.Everything.Nested.Kind")->has(2));
}

TEST_CASE("services and methods") {
  const ServiceLayout& service = *everything_schema().service("test.Echoes");
  REQUIRE(service.methods.size() == 2);
  CHECK(service.methods[1].path == "/test.Echoes/Stream");
  CHECK(service.methods[1].request == everything_schema().message("test.Everything"));
  CHECK(service.methods[1].client_streaming);
  CHECK(service.methods[1].server_streaming);
  CHECK_FALSE(service.methods[0].client_streaming);
  CHECK(everything_schema().service("test.Nobody") == nullptr);
  CHECK(everything_schema().serialized().size() == sizeof kEverythingSet);
}

TEST_CASE("proto2 has presence everywhere, closed enums, unpacked lists and unchecked strings") {
  const auto schema = parse_set(kLegacySet);
  const MessageLayout& order = *schema->message("test.legacy.Order");
  CHECK(order.by_name("id")->has_presence);
  CHECK(order.by_name("size")->enumeration->closed);
  CHECK_FALSE(order.by_name("sizes")->packed);
  CHECK(order.by_name("packed_sizes")->packed);
  CHECK_FALSE(order.by_name("text")->validate_utf8);
  CHECK(order.by_number(100) == nullptr);  // extensions are unknown fields
  CHECK(order.oneofs == std::vector<std::string>{"pick"});
}

TEST_CASE("editions set each of these by itself") {
  const auto schema = parse_set(kEditionsSet);
  const MessageLayout& mixed = *schema->message("test.editions.Mixed");
  CHECK_FALSE(mixed.by_name("implicit")->has_presence);
  CHECK(mixed.by_name("explicit")->has_presence);
  CHECK_FALSE(mixed.by_name("expanded")->packed);
  CHECK(mixed.by_name("packed")->packed);
  CHECK_FALSE(mixed.by_name("unchecked")->validate_utf8);
  CHECK(mixed.by_name("checked")->validate_utf8);
  CHECK(mixed.by_name("closed")->enumeration->closed);
  CHECK(mixed.by_name("closed")->default_bits == 3);
}

TEST_CASE("relative type names resolve from the inside outwards") {
  Wire inner = message("Outer", {typed("near", 1, "Inner"), typed("far", 2, "Other"), typed("by_package", 3, "p.Other"), typed("any", 4, "Inner", 0)});
  inner.text(3, message("Inner", {field("x", 1, 5)}));
  const auto schema = parse(file({inner, message("Inner", {}), message("Other", {})}));
  REQUIRE(schema.ok());
  const MessageLayout& outer = *(*schema)->message("p.Outer");
  CHECK(outer.by_name("near")->message->full_name == "p.Outer.Inner");
  CHECK(outer.by_name("far")->message->full_name == "p.Other");
  CHECK(outer.by_name("by_package")->message->full_name == "p.Other");
  CHECK(outer.by_name("any")->message->full_name == "p.Outer.Inner");
}

TEST_CASE("fields stand by number whatever their order in the descriptor") {
  const auto schema = parse(file({message("M", {field("c", 3, 5), field("a", 1, 8), field("b", 2, 1)})}));
  REQUIRE(schema.ok());
  const MessageLayout& m = *(*schema)->message("p.M");
  CHECK(m.fields[0].name == "a");
  CHECK(m.fields[0].offset == 28);
  CHECK(m.fields[1].offset == 16);
  CHECK(m.fields[2].offset == 24);
}

TEST_CASE("the fingerprint tells every change that matters, wherever in reach it is") {
  const auto fingerprint = [](const Wire& leaf_field, const char* unrelated = "U", const char* method = "Call") {
    Wire f = file({message("Root", {typed("child", 1, ".p.Leaf", 11, 3), typed("self", 2, ".p.Root")}), message("Leaf", {leaf_field}), message(unrelated, {})});
    f.text(6, Wire().text(1, "S").text(2, Wire().text(1, method).text(2, ".p.Root").text(3, ".p.Root")));
    const auto schema = parse(f);
    REQUIRE(schema.ok());
    return (*schema)->service("p.S")->fingerprint;
  };
  const uint64_t base = fingerprint(field("x", 1, 5));
  CHECK(base == fingerprint(field("x", 1, 5), "Other"));  // out of reach
  CHECK(base != fingerprint(field("y", 1, 5)));
  CHECK(base != fingerprint(field("x", 2, 5)));
  CHECK(base != fingerprint(field("x", 1, 17)));
  CHECK(base != fingerprint(field("x", 1, 5, 3)));
  CHECK(base != fingerprint(field("x", 1, 5).number(17, 1)));
  CHECK(base != fingerprint(field("x", 1, 5), "U", "Other"));
}

TEST_CASE("descriptors that make no sense are refused by name") {
  CHECK(mentions(refusal(file({message("M", {field("g", 1, 10)})})), "group"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 5), field("b", 1, 5)})})), "two fields have number 1"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 5), field("a", 2, 5)})})), "two fields are named 'a'"));
  CHECK(mentions(refusal(file({message("M", {field("a", 0, 5)})})), "number outside"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1u << 29, 5)})})), "number outside"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 19)})})), "unknown type"));
  CHECK(mentions(refusal(file({message("M", {typed("a", 1, ".p.None")})})), "include imports"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 11)})})), "names no type"));
  CHECK(mentions(refusal(file({message("M", {}), message("M", {})})), "p.M: is defined twice"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 5).number(9, 0)})})), "oneof that does not exist"));
  CHECK(mentions(refusal(file({message("M", {}).text(8, Wire().text(1, "o"))})), "oneof has no fields"));
  CHECK(mentions(refusal(file({message("M", {field("a", 1, 5).text(7, "many")})})), "default"));
  CHECK(mentions(refusal(file({message("not a name", {})})), "not a name"));
  CHECK(mentions(refusal(file({message("", {})})), "name is missing"));
  CHECK(mentions(refusal(file({message("M", {}).text(7, Wire().number(7, 1))})), "not a valid map entry"));
  CHECK(mentions(refusal(Wire(file({})).text(5, Wire().text(1, "E"))), "an enum needs a value"));
  CHECK(mentions(refusal(Wire().text(1, "f").text(12, "proto9")), "syntax"));
  CHECK(mentions(refusal(Wire(file({})).text(6, Wire().text(1, "S").text(2, Wire().text(1, "Go").text(2, ".p.X").text(3, ".p.X")))), "/p.S/Go"));
  CHECK_FALSE(Schema::parse(to_bytes("\x0a\x7f")).ok());
}

TEST_CASE("hostile descriptors meet a limit") {
  Wire nested = message("M", {});
  for (uint32_t i = 0; i < kNestingMax; ++i) nested = message("M", {}).text(3, nested);
  CHECK(mentions(refusal(file({nested})), "nest deeper"));
  Wire wide = message("M", {});
  for (uint32_t i = 0; i <= kFieldsMax; ++i) wide.text(2, field("f" + std::to_string(i), i + 1, 5));
  CHECK(mentions(refusal(file({wide})), "more than 4096 fields"));
  CHECK(mentions(refusal(file({message(std::string(kNameBytesMax + 1, 'x'), {})})), "longer than"));
  CHECK(mentions(refusal(file({message(std::string(kNameBytesMax, 'x'), {})})), "longer than"));  // with its package
  const auto large = Schema::parse(Bytes(kDescriptorBytesMax + 1));
  REQUIRE_FALSE(large.ok());
  CHECK(mentions(large.error().text, "larger than"));
}
