#include "message/field_path.h"

#include <doctest/doctest.h>

#include <limits>

#include "message/fixture.h"

using namespace mrpc::message;
using namespace test;

namespace {

std::optional<FieldValue> read(const MessageLayout& layout, const Bytes& image, std::string_view path) {
  const auto resolved = resolve_path(layout, path);
  REQUIRE_MESSAGE(resolved.ok(), path);
  return read_path(root_view(layout, image), *resolved);
}

}  // namespace

TEST_CASE("a path reads singular scalars, strings and enums, each as its widest type") {
  const MessageLayout& m = layout("test.Everything");
  const Bytes image = image_of(m, Wire().fixed(1, 1.5).fixed(2, 0.5f).number(3, uint64_t(-3)).number(4, UINT64_MAX).number(5, uint64_t(-5)).number(8, 1)
                                      .text(9, "text").text(10, Wire().number(1, 11)).text(11, "raw").number(13, uint64_t(-2)).number(16, 3)
                                      .text(60, Wire().text(60, Wire().text(10, Wire().number(2, 7)))));
  CHECK(read(m, image, "f_double") == FieldValue(1.5));
  CHECK(read(m, image, "f_float") == FieldValue(0.5));
  CHECK(read(m, image, "f_int64") == FieldValue(int64_t{-3}));
  CHECK(read(m, image, "f_uint64") == FieldValue(UINT64_MAX));
  CHECK(read(m, image, "f_int32") == FieldValue(int64_t{-5}));
  CHECK(read(m, image, "f_bool") == FieldValue(true));
  CHECK(read(m, image, "f_string") == FieldValue(std::string_view("text")));
  CHECK(read(m, image, "f_bytes") == FieldValue(std::string_view("raw")));
  CHECK(read(m, image, "f_color") == FieldValue(int64_t{-2}));
  CHECK(read(m, image, "f_sint32") == FieldValue(int64_t{-2}));
  CHECK(read(m, image, "f_point.x") == FieldValue(int64_t{11}));
  CHECK(read(m, image, "child.child.f_point.y") == FieldValue(int64_t{7}));
}

TEST_CASE("what is absent reads as its default") {
  const MessageLayout& m = layout("test.Everything");
  const Bytes empty = image_of(m, Wire());
  CHECK(read(m, empty, "f_uint32") == FieldValue(uint64_t{0}));
  CHECK(read(m, empty, "child.child.f_string") == FieldValue(std::string_view()));
  const auto legacy = parse_set(kLegacySet);
  const MessageLayout& order = *legacy->message("test.legacy.Order");
  const Bytes none = image_of(order, Wire());
  CHECK(read(order, none, "size") == FieldValue(int64_t{2}));
  CHECK(read(order, none, "plain") == FieldValue(int64_t{1}));
  CHECK(read(order, none, "text") == FieldValue(std::string_view("hi \"there\"")));
  CHECK(read(order, none, "raw") == FieldValue(std::string_view("\001\xff\n")));
  CHECK(read(order, none, "big") == FieldValue(UINT64_MAX));
  CHECK(read(order, none, "share") == FieldValue(1.5));
  CHECK(read(order, none, "ratio") == FieldValue(-std::numeric_limits<double>::infinity()));
  CHECK(read(order, none, "yes") == FieldValue(true));
  CHECK(read(order, image_of(order, Wire().number(12, 0).text(7, "")), "yes") == FieldValue(false));
}

TEST_CASE("a path that does not fit the schema is refused with what there is") {
  const MessageLayout& m = layout("test.Everything");
  const auto text = [&](std::string_view path) { return resolve_path(m, path).error().text; };
  CHECK(text("f_point.z") == "message test.Point has no field 'z'; it has: x y");
  CHECK(text("").find("has no field ''") != std::string::npos);
  CHECK(text("f_point.").find("has no field ''") != std::string::npos);
  CHECK(text("f_string.x").find("is not a single message") != std::string::npos);
  CHECK(text("r_point.x").find("is not a single message") != std::string::npos);
  CHECK(text("m_point.value").find("is not a single message") != std::string::npos);
}

TEST_CASE("a message, a repeated field or a map at the end of a path has no single value") {
  const MessageLayout& m = layout("test.Everything");
  const Bytes empty = image_of(m, Wire());
  for (const char* path : {"f_point", "r_int32", "m_string"}) CHECK_FALSE(read(m, empty, path).has_value());
}
