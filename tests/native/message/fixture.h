// What the tests of native/message share: schemas made by protoc, and protobuf bytes written by hand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "message/image.h"
#include "message/wire.h"
#include "message/descriptors.h"

namespace test {

using Bytes = std::vector<std::byte>;

template <size_t n>
std::shared_ptr<const mrpc::message::Schema> parse_set(const unsigned char (&set)[n]) {
  auto schema = mrpc::message::Schema::parse(std::as_bytes(std::span(set)));
  MRPC_ASSERT(schema.ok());
  return *schema;
}

inline const mrpc::message::Schema& everything_schema() {
  static const auto schema = parse_set(kEverythingSet);
  return *schema;
}

inline const mrpc::message::MessageLayout& layout(const char* name) { return *everything_schema().message(name); }

inline Bytes to_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

// Protobuf bytes, field by field: Wire().number(1, 5).text(2, "x").text(3, Wire().number(1, 1)).
class Wire {
 public:
  Wire& number(uint32_t field, uint64_t value) { return mrpc::message::WireWriter(bytes_).varint_field(field, value), *this; }
  Wire& text(uint32_t field, std::string_view value) { return mrpc::message::WireWriter(bytes_).bytes_field(field, value), *this; }
  Wire& text(uint32_t field, const Wire& value) { return text(field, value.view()); }
  template <typename T>
  Wire& fixed(uint32_t field, T value) {
    mrpc::message::WireWriter writer(bytes_);
    writer.tag(field, sizeof value == 8 ? mrpc::message::WireType::kFixed64 : mrpc::message::WireType::kFixed32);
    writer.fixed(value);
    return *this;
  }
  Wire& raw(std::string_view value) { return mrpc::message::WireWriter(bytes_).raw(value), *this; }

  std::string_view view() const { return mrpc::message::as_text(bytes_); }
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// The image of protobuf bytes that are valid.
inline Bytes image_of(const mrpc::message::MessageLayout& layout, const Wire& wire) {
  Bytes image;
  const auto status = mrpc::message::from_protobuf(layout, wire.bytes(), {}, image);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().text.c_str());
  MRPC_ASSERT(status.ok());
  return image;
}

// The protobuf bytes of an image.
inline std::string wire_of(const mrpc::message::MessageLayout& layout, const Bytes& image) {
  Bytes out;
  mrpc::message::to_protobuf(layout, image, out);
  return std::string(mrpc::message::as_text(out));
}

template <typename T>
void poke(Bytes& image, size_t at, T value) {
  std::memcpy(image.data() + at, &value, sizeof value);
}

}  // namespace test
