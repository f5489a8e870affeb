// The verifier, refusal by refusal: each case takes a good image and breaks one rule of layout.h.
#include <doctest/doctest.h>

#include "message/builder.h"
#include "message/fixture.h"
#include "shm/abi.h"

using namespace mrpc::message;
using namespace test;

namespace {

const MessageLayout& everything() { return layout("test.Everything"); }

uint32_t offset_of(const char* field) { return everything().by_name(field)->offset; }

std::string refusal(const Bytes& image, std::vector<uint64_t> segments = {}, const MessageLayout& layout = everything()) {
  const Bytes exact(image);  // its own allocation, so that a sanitizer sees a read past its end
  const auto verified = verify(layout, exact, segments, {});
  return verified.ok() ? "" : verified.error().text;
}

bool accepts(const Bytes& image, std::vector<uint64_t> segments = {}) { return refusal(image, segments).empty(); }

bool refused(const Bytes& image, std::string_view why, std::vector<uint64_t> segments = {}) {
  const std::string text = refusal(image, std::move(segments));
  const bool found = text.find(why) != std::string::npos;
  if (!found) MESSAGE("said: ", text);
  return found;
}

Bytes good(const Wire& wire) {
  Bytes image = image_of(everything(), wire);
  REQUIRE(accepts(image));
  return image;
}

template <typename T>
Bytes poked(Bytes image, size_t at, T value) {
  poke(image, at, value);
  return image;
}

Ref ref_at(const Bytes& image, size_t at) { return load<Ref>(image.data() + at); }

void set_bit(Bytes& image, const char* field) { image[8 + everything().by_name(field)->index / 8] |= std::byte{1} << (everything().by_name(field)->index % 8); }

constexpr const char* kMisplaced = "a part is not where canonical order has it";

}  // namespace

TEST_CASE("an image shorter than its struct, or longer than its parts, is refused") {
  const Bytes image = good(Wire().text(9, "text"));
  CHECK(refused(Bytes(), "outside"));
  CHECK(refused(Bytes(everything().struct_bytes - 1), "outside"));
  for (size_t size = 0; size < image.size(); ++size) CHECK_FALSE(accepts(Bytes(image.begin(), image.begin() + static_cast<ptrdiff_t>(size))));
  Bytes longer = image;
  longer.push_back({});
  CHECK(refused(longer, "bytes stand behind its last part"));
}

TEST_CASE("parts out of place: bad offset, overlap, out of order, cycle") {
  const uint32_t name = offset_of("f_string"), point = offset_of("f_point"), child = offset_of("child");
  const Bytes image = good(Wire().text(9, "eight by").text(10, Wire().number(1, 1)).text(60, Wire()));
  const Ref text = ref_at(image, name);
  CHECK(refused(poked(image, name, Ref{text.offset + 8, 8}), kMisplaced));
  CHECK(refused(poked(image, name, Ref{text.offset + 1, 8}), kMisplaced));
  CHECK(refused(poked(image, name, Ref{0xfffffff8, 8}), kMisplaced));
  CHECK(refused(poked(image, name, Ref{text.offset, 0xffffffff}), "outside"));
  CHECK(refused(poked(image, name, Ref{text.offset, 0}), "is empty and has an offset"));
  CHECK(refused(poked(image, point, Ref{text.offset, 24}), kMisplaced));                     // overlap
  CHECK(refused(poked(image, child, ref_at(image, point)), "struct of the wrong size"));
  CHECK(refused(poked(image, child, Ref{0, everything().struct_bytes}), kMisplaced));        // cycle to the root
  Bytes swapped = poked(image, name, Ref{text.offset + 24, 8});
  poke(swapped, point, Ref{text.offset, 24});
  CHECK(refused(swapped, kMisplaced));
  const uint32_t own_child = ref_at(image, child).offset;
  Bytes cycle = poked(image, own_child + child, Ref{own_child, everything().struct_bytes});  // a child that is its own child
  cycle[own_child + 8 + everything().by_name("child")->index / 8] |= std::byte{1} << (everything().by_name("child")->index % 8);
  CHECK(refused(cycle, "field child.child: a part is not where"));
}

TEST_CASE("presence and absence") {
  Bytes image = good(Wire());
  CHECK(refused(poked(image, offset_of("o_int32"), 5), "field o_int32: is absent and not zero"));
  CHECK(refused(poked(image, 8 + 8 * (everything().presence_words - 1), uint64_t{1} << 63), "presence bits stand behind"));
  Bytes zero_present = image;
  set_bit(zero_present, "o_int32");
  set_bit(zero_present, "o_string");
  CHECK(accepts(zero_present));
  Bytes needless = image;
  set_bit(needless, "f_int32");
  CHECK(refused(needless, "f_int32: has a presence bit and no presence"));
  Bytes hollow = image;
  set_bit(hollow, "f_point");
  CHECK(refused(hollow, "f_point: is present and has no struct"));
  const Bytes with_text = good(Wire().text(21, "x"));
  Bytes hidden = with_text;
  std::memset(hidden.data() + 8, 0, 8 * everything().presence_words);
  CHECK(refused(hidden, "o_string: is absent and not zero"));
}

TEST_CASE("a oneof has one member") {
  Bytes image = good(Wire().number(30, 1));
  set_bit(image, "c_string");
  CHECK(refused(image, "field c_string: two fields of its oneof"));
}

TEST_CASE("values: bool, closed enum, UTF-8") {
  CHECK(refused(poked(good(Wire().number(8, 1)), offset_of("f_bool"), uint8_t{2}), "f_bool: is neither true nor false"));
  Bytes flags = good(Wire().text(42, "\x01\x01"));
  poke(flags, flags.size() - 1, uint8_t{255});
  CHECK(refused(flags, "r_bool"));
  CHECK(accepts(poked(good(Wire()), offset_of("f_color"), 12345)));  // open
  const auto legacy = parse_set(kLegacySet);
  const MessageLayout& order = *legacy->message("test.legacy.Order");
  Bytes sized = image_of(order, Wire().number(2, 7));
  CHECK(refusal(sized, {}, order).empty());
  poke(sized, order.by_name("size")->offset, 3);
  CHECK(refusal(sized, {}, order).find("field size: is no value of its closed enum") != std::string::npos);
  Bytes sizes = image_of(order, Wire().number(4, 7));
  poke(sizes, ref_at(sizes, order.by_name("sizes")->offset).offset, 3);
  CHECK(refusal(sizes, {}, order).find("field sizes") != std::string::npos);

  for (const uint32_t number : {9u, 43u}) {
    Bytes text = good(Wire().text(number, "0123456789"));
    poke(text, text.size() - 1, uint8_t{0xff});
    CHECK(refused(text, "is not UTF-8"));
  }
  CHECK(accepts(good(Wire().text(11, "\xff").text(44, "\xff"))));
}

TEST_CASE("maps ascend strictly") {
  const auto entry = [](uint64_t key) { return Wire().number(1, key).text(2, Wire()); };
  const Bytes image = good(Wire().text(51, entry(static_cast<uint64_t>(-5))).text(51, entry(7)));
  const FieldLayout& map = *everything().by_name("m_point");
  const uint32_t first = ref_at(image, map.offset).offset + map.message->fields[0].offset, second = first + map.element_bytes;
  CHECK(refused(poked(image, second, -5), "m_point: has map keys that do not ascend"));
  CHECK(refused(poked(image, second, -6), "do not ascend"));
  CHECK(refused(poked(image, first, 8), "do not ascend"));
  Bytes words = good(Wire().text(50, Wire().text(1, "a")).text(50, Wire().text(1, "b")));
  poke(words, words.size() - 1, 'a');
  CHECK(refused(words, "do not ascend"));
  Bytes hollow = good(Wire().text(51, entry(0)));
  const uint32_t at = ref_at(hollow, map.offset).offset + map.message->fields[1].offset;
  poke(hollow, at, Ref{});
  CHECK(refused(hollow, "m_point.value: is present and has no struct"));
}

TEST_CASE("repeated fields") {
  const Bytes image = good(Wire().text(43, "").text(43, "abc"));
  const Ref array = ref_at(image, offset_of("r_string"));
  CHECK(refused(poked(image, array.offset, Ref{8, 0}), "empty element with an offset"));
  CHECK(refused(poked(image, array.offset + 8, Ref{array.offset, 3}), kMisplaced));
  CHECK(refused(poked(image, offset_of("r_string"), Ref{array.offset, 0x20000000}), "outside"));
  CHECK(refused(poked(good(Wire().text(45, Wire())), offset_of("r_point"), Ref{everything().struct_bytes, UINT32_MAX}), "outside"));
  CHECK(refused(poked(good(Wire().number(40, 1)), offset_of("r_int32"), Ref{everything().struct_bytes, 2}), "outside"));
}

TEST_CASE("depth") {
  Wire wire;
  for (int i = 0; i < 5; ++i) wire = Wire().text(60, wire);
  const Bytes image = good(wire);
  CHECK(verify(everything(), image, {}, {.depth_max = 5}).ok());
  const auto shallow = verify(everything(), image, {}, {.depth_max = 4});
  REQUIRE_FALSE(shallow.ok());
  CHECK(shallow.error().text == "message test.Everything, field child.child.child.child.child: nests too deep");
}

TEST_CASE("unknown fields are well-formed protobuf") {
  Bytes image = good(Wire().number(5, 1).number(200, 1));
  CHECK(verify(everything(), image, {}, {})->has_unknown);
  CHECK_FALSE(verify(everything(), good(Wire()), {}, {})->has_unknown);
  poke(image, everything().struct_bytes, uint8_t{0xc3});  // a group
  CHECK(refused(image, "unknown fields are malformed"));
  CHECK(refused(poked(good(Wire()), 0, Ref{8, 0}), "unknown fields are empty"));
}

TEST_CASE("a message over the limit is refused before it is looked at") {
  const auto verified = verify(everything(), Bytes(1001), {}, {.message_bytes_max = 1000});
  REQUIRE_FALSE(verified.ok());
  CHECK(verified.error().code == mrpc::StatusCode::kResourceExhausted);
  CHECK_FALSE(verify(everything(), Bytes(everything().struct_bytes), std::vector<uint64_t>{UINT64_MAX}, {}).ok());
  CHECK_FALSE(verify(everything(), Bytes(everything().struct_bytes), std::vector<uint64_t>{1ull << 32}, {.message_bytes_max = UINT64_MAX}).ok());
}

TEST_CASE("segments are taken in order, wholly, each by one field") {
  const uint64_t start = mrpc::abi::align_up(everything().struct_bytes, mrpc::abi::kBlobAlign);
  const auto at = [](uint64_t offset, uint32_t length) { return Ref{static_cast<uint32_t>(offset), length}; };
  Bytes image = good(Wire());
  CHECK(refused(image, "a segment belongs to no field", {100}));
  CHECK(refused(image, "a segment belongs to no field", {0}));

  Bytes bytes = poked(image, offset_of("f_bytes"), at(start, 100));
  CHECK(accepts(bytes, {100}));
  CHECK(refused(bytes, "does not take the whole", {101}));
  CHECK(refused(bytes, "does not take the whole", {99}));
  CHECK(refused(bytes, "f_bytes: a part"));
  CHECK(refused(bytes, "belongs to no field", {100, 8}));
  CHECK(refused(poked(image, offset_of("f_bytes"), at(start + 64, 36)), kMisplaced, {100}));

  Bytes two = poked(bytes, offset_of("r_double"), at(start + 128, 2));
  CHECK(accepts(two, {100, 16}));
  CHECK(refused(two, "does not take the whole", {100, 24}));
  Bytes swapped = poked(image, offset_of("f_bytes"), at(start + 128, 16));
  poke(swapped, offset_of("r_double"), at(start, 2));
  CHECK(refused(swapped, kMisplaced, {16, 16}));

  CHECK(refused(poked(image, offset_of("f_string"), at(start, 100)), "a part ends outside", {100}));
  CHECK(refused(poked(image, offset_of("r_bool"), at(start, 100)), "a part ends outside", {100}));
  CHECK(refused(poked(image, offset_of("r_color"), at(start, 25)), "a part ends outside", {100}));
  CHECK(image_bytes(10, std::vector<uint64_t>{5, 3}) == 131);
  CHECK(image_bytes(10, std::vector<uint64_t>{UINT64_MAX - 10, 100}) == UINT64_MAX);
  CHECK(image_bytes(10, {}) == 10);
}

TEST_CASE("a whole image of what came in segments says the same") {
  const uint64_t start = mrpc::abi::align_up(everything().struct_bytes, mrpc::abi::kBlobAlign);
  Bytes image = poked(good(Wire()), offset_of("f_bytes"), Ref{static_cast<uint32_t>(start), 3});
  image.resize(start);
  image.insert(image.end(), {std::byte{'a'}, std::byte{'b'}, std::byte{'c'}});
  CHECK(wire_of(everything(), image) == Wire().text(11, "abc").view());
}
