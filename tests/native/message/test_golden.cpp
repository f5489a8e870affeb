// Layout version 1, computed by hand. If one of these fails, kLayoutVersion must change, and old peers must still be served.
#include <doctest/doctest.h>

#include "message/builder.h"
#include "message/fixture.h"

using namespace mrpc::message;
using namespace test;

namespace {

Bytes from_hex(std::string_view hex) {
  Bytes out;
  int half = -1;
  for (const char c : hex) {
    if (c == ' ' || c == '\n') continue;
    const int digit = c <= '9' ? c - '0' : c - 'a' + 10;
    if (half < 0) half = digit;
    else out.push_back(static_cast<std::byte>(half << 4 | digit)), half = -1;
  }
  return out;
}

// flag = true, count = -2, name = "bob", id = 0 (present), sizes = {7, 300}, at = {x = 5}, and an unknown field 9 = 1.
const Bytes kGolden = from_hex(
    "38000000 02000000"  //  0 root: unknown fields at 56, 2 bytes
    "28000000 00000000"  //  8 presence: id (3), at (5)
    "40000000 03000000"  // 16 name at 64, 3 bytes
    "00000000 00000000"  // 24 id
    "48000000 02000000"  // 32 sizes at 72, 2 elements
    "50000000 18000000"  // 40 at: struct at 80, 24 bytes
    "feffffff 01000000"  // 48 count; 52 flag; 53 padding
    "4801     00000000 0000"  // 56 unknown fields; padding
    "626f62   00000000 00"    // 64 "bob"; padding
    "07000000 2c010000"  // 72 sizes
    "00000000 00000000"  // 80 Point: no unknown fields
    "00000000 00000000"  // 88 no presence
    "05000000 00000000"  // 96 x, y
);

}  // namespace

TEST_CASE("the layout table of Small") {
  const MessageLayout& small = layout("test.Small");
  CHECK(kLayoutVersion == 1);
  CHECK(small.struct_bytes == 56);
  CHECK(small.presence_words == 1);
  const std::pair<const char*, uint32_t> offsets[] = {{"flag", 52}, {"count", 48}, {"name", 16}, {"id", 24}, {"sizes", 32}, {"at", 40}};
  REQUIRE(small.fields.size() == std::size(offsets));
  for (uint32_t i = 0; i < std::size(offsets); ++i) {
    CHECK(small.fields[i].name == offsets[i].first);
    CHECK(small.fields[i].offset == offsets[i].second);
    CHECK(small.fields[i].index == i);
  }
}

TEST_CASE("the image of Small") {
  const MessageLayout& small = layout("test.Small");
  const Wire wire = Wire().number(1, 1).number(2, static_cast<uint64_t>(-2)).text(3, "bob").number(4, 0).text(5, "\x07\xac\x02")
                        .text(6, Wire().number(1, 5)).number(9, 1);
  CHECK(image_of(small, wire) == kGolden);
  const auto verified = verify(small, kGolden, {}, {});
  REQUIRE(verified.ok());
  CHECK(verified->has_unknown);
  CHECK(wire_of(small, kGolden) == wire.view());
}

TEST_CASE("the builder makes the same image, in a vector and in a span") {
  const MessageLayout& small = layout("test.Small");
  const auto build = [&](ImageBuilder& image) {
    const auto root = image.append(small.struct_bytes);
    image.set(*root, *image.append_content("\x48\x01"));
    image.set(*root + 52, true);
    image.set(*root + 48, int32_t{-2});
    image.set(*root + 16, *image.append_content("bob"));
    image.set_present(*root, *small.by_name("id"));
    const uint32_t sizes[] = {7, 300};
    const auto array = image.append(sizeof sizes);
    image.set(*array, sizes);
    image.set(*root + 32, Ref{*array, 2});
    const auto at = image.append(24);
    image.set_present(*root, *small.by_name("at"));
    image.set(*root + 40, Ref{*at, 24});
    image.set(*at + 16, 5);
  };
  Bytes grown;
  ImageBuilder growing(grown, 1 << 20);
  build(growing);
  CHECK(grown == kGolden);
  CHECK_FALSE(growing.append(1 << 20).has_value());
  Bytes fixed(kGolden.size(), std::byte{0xaa});
  ImageBuilder fixed_builder{std::span(fixed)};
  build(fixed_builder);
  CHECK(fixed == kGolden);
  CHECK_FALSE(fixed_builder.append(1).has_value());
}

TEST_CASE("the fingerprint of test.Echoes stands still") {
  CHECK(everything_schema().service("test.Echoes")->fingerprint == 0x72b71de005491361);
}
