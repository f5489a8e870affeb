#include <doctest/doctest.h>

#include "message/builder.h"
#include "message/fixture.h"

using namespace mrpc::message;
using namespace test;

namespace {

const MessageLayout& before() {
  static const auto schema = parse_set(kBeforeSet);
  return *schema->message("test.before.Booking");
}
const MessageLayout& after() {
  static const auto schema = parse_set(kAfterSet);
  return *schema->message("test.after.Booking");
}

Bytes relayed(const MessageLayout& from, const Bytes& image, const MessageLayout& to) {
  Bytes out;
  REQUIRE(relay(from, image, to, {}, out).ok());
  REQUIRE(verify(to, out, {}, {}).ok());
  return out;
}

std::string_view text_of(const MessageLayout& layout, const Bytes& image, const char* field) {
  return root_view(layout, image).text(*layout.by_name(field));
}

}  // namespace

TEST_CASE("fields that the older schema lacks survive a way there and back") {
  Wire room = Wire().number(1, 12).text(2, std::string(16, '\x01'));
  const Bytes image = image_of(after(), Wire().number(2, 3).text(3, room).text(4, "a").text(4, "b").text(7, "agency").text(9, "ann"));
  const Bytes old = relayed(after(), image, before());
  CHECK(verify(before(), old, {}, {})->has_unknown);
  CHECK(text_of(before(), old, "guest").empty());  // number 9 is not the old guest
  CHECK(relayed(before(), old, after()) == image);
}

TEST_CASE("and those that the newer lacks, the other way") {
  const Bytes image = image_of(before(), Wire().text(1, "bob").number(2, 2).text(3, Wire().number(1, 5)));
  const Bytes newer = relayed(before(), image, after());
  CHECK(text_of(after(), newer, "guest").empty());
  CHECK(relayed(after(), newer, before()) == image);
}

TEST_CASE("a client that renumbers a field does not hide it from the server's schema") {
  // Its own schema has "guest" at 1, the server's at 9: what it sends at 9, though unknown to itself, is the server's guest.
  const Bytes image = image_of(before(), Wire().text(1, "innocent").text(9, "banned"));
  CHECK(text_of(before(), image, "guest") == "innocent");
  CHECK(text_of(after(), relayed(before(), image, after()), "guest") == "banned");
}

TEST_CASE("a field that is hidden as unknown comes to light, in the same layout too") {
  const MessageLayout& layout = before();
  Bytes image;
  ImageBuilder builder(image, 1 << 20);
  const auto root = builder.append(layout.struct_bytes);
  builder.set(*root, *builder.append_content(Wire().text(1, "banned").number(77, 1).view()));
  REQUIRE(verify(layout, image, {}, {}).ok());
  CHECK(text_of(layout, image, "guest").empty());
  const Bytes out = relayed(layout, image, layout);
  CHECK(text_of(layout, out, "guest") == "banned");
  CHECK(out == image_of(layout, Wire().text(1, "banned").number(77, 1)));
}

TEST_CASE("without unknown fields the same layout is a plain copy") {
  const Bytes image = image_of(before(), Wire().text(1, "bob").text(4, "x"));
  CHECK(relayed(before(), image, before()) == image);
}

TEST_CASE("relay keeps to the limits") {
  const Bytes image = image_of(before(), Wire().text(1, std::string(1000, 'x')));
  Bytes out;
  const auto status = relay(before(), image, after(), {.message_bytes_max = 500}, out);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == mrpc::StatusCode::kResourceExhausted);
}
