#include <doctest/doctest.h>

#include "message/fixture.h"
#include "message/sha256.h"
#include "message/utf8.h"

using namespace mrpc::message;

namespace {

bool reads(std::string_view bytes) {
  WireReader in(bytes);
  WireField field;
  return in.field(field) && in.done();
}

}  // namespace

TEST_CASE("a wire field reads back as it was written") {
  for (const uint64_t value : {uint64_t{0}, uint64_t{127}, uint64_t{128}, uint64_t{300}, uint64_t{1} << 63, UINT64_MAX}) {
    std::vector<std::byte> bytes;
    WireWriter(bytes).varint_field(kFieldNumberMax, value);
    WireReader in(as_text(bytes));
    WireField field;
    REQUIRE(in.field(field));
    CHECK(in.done());
    CHECK(field.number == kFieldNumberMax);
    CHECK(field.value == value);
    CHECK(bytes.size() == 5 + varint_bytes(value));
  }
}

TEST_CASE("malformed wire fields are refused") {
  using namespace std::literals;
  CHECK(reads("\x08\x01"sv));
  CHECK_FALSE(reads("\x08"sv));                                              // no value
  CHECK_FALSE(reads("\x00\x01"sv));                                          // number 0
  CHECK_FALSE(reads("\x0b"sv));                                              // group start
  CHECK_FALSE(reads("\x0c"sv));                                              // group end
  CHECK_FALSE(reads("\x0e"sv));                                              // wire type 6
  CHECK_FALSE(reads("\x0a\x05hey"sv));                                       // longer than the input
  CHECK_FALSE(reads("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv));      // length of 2^64 - 1
  CHECK_FALSE(reads("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"sv));  // eleven bytes
  CHECK_FALSE(reads("\x88\x80\x80\x80\x80\x00\x01"sv));                      // tag of six bytes
  CHECK_FALSE(reads("\xff\xff\xff\xff\x7f\x01"sv));                          // tag over 32 bits
  CHECK_FALSE(reads("\x0d\x01\x02\x03"sv));                                  // short fixed32
  CHECK_FALSE(reads("\x09\x01\x02\x03\x04\x05\x06\x07"sv));                  // short fixed64
}

TEST_CASE("UTF-8 is shortest forms without surrogates up to U+10FFFF") {
  for (const char* good : {"", "ascii only", "w\xc3\xa9", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf",
                           "eight by\xe2\x82\xac and more \xf0\x9f\x98\x80"}) {
    CHECK_MESSAGE(valid_utf8(good), good);
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\xff", "12345678\xff", "1234567\xc3"}) {
    CHECK_FALSE_MESSAGE(valid_utf8(bad), bad);
  }
}

TEST_CASE("SHA-256 gives the standard's digests") {
  const auto hex = [](const Sha256& digest) {
    std::string out;
    for (const uint8_t byte : digest) out += "0123456789abcdef"[byte >> 4], out += "0123456789abcdef"[byte & 15];
    return out;
  };
  CHECK(hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}
