// The protobuf wire format, bounded: nothing here reads or writes outside what it was given. Groups are refused.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace mrpc::message {

static_assert(std::endian::native == std::endian::little, "images and fixed-width wire values are copied as they stand");

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

constexpr uint32_t kFieldNumberMax = (1u << 29) - 1;

// One field as it stood on the wire.
struct WireField {
  uint32_t number = 0;
  WireType wire{};
  uint64_t value = 0;      // varint, fixed64, fixed32
  std::string_view bytes;  // kBytes
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  bool done() const { return at_ == end_; }
  const char* position() const { return at_; }

  // Each returns false, and may stand anywhere, when the bytes are malformed or end too soon.
  bool varint(uint64_t& value) {
    if (at_ != end_ && static_cast<uint8_t>(*at_) < 0x80) {
      value = static_cast<uint8_t>(*at_++);
      return true;
    }
    return long_varint(value);
  }

  template <typename T>
  bool fixed(T& value) {
    if (static_cast<size_t>(end_ - at_) < sizeof value) return false;
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    return true;
  }

  bool field(WireField& out) {
    if (!tag(out)) return false;
    switch (out.wire) {
      case WireType::kVarint: return varint(out.value);
      case WireType::kFixed64: return fixed(out.value);
      case WireType::kBytes: return bytes(out.bytes);
      case WireType::kFixed32: break;
    }
    uint32_t value = 0;
    if (!fixed(value)) return false;
    out.value = value;
    return true;
  }

 private:
  // Ten bytes at most; bits beyond 64 are dropped, as protobuf does.
  bool long_varint(uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<uint8_t>(*at_++);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  // A tag is a 32-bit varint: five bytes at most.
  bool tag(WireField& out) {
    const char* start = at_;
    uint64_t tag = 0;
    if (!varint(tag) || tag > UINT32_MAX || at_ - start > 5) return false;
    const auto wire = static_cast<uint8_t>(tag & 7);
    out.number = static_cast<uint32_t>(tag >> 3);
    out.wire = static_cast<WireType>(wire);
    return out.number != 0 && (wire <= 2 || wire == 5);
  }

  bool bytes(std::string_view& out) {
    uint64_t length = 0;
    if (!varint(length) || length > static_cast<size_t>(end_ - at_)) return false;
    out = {at_, static_cast<size_t>(length)};
    at_ += length;
    return true;
  }

  const char* at_;
  const char* end_;
};

constexpr unsigned varint_bytes(uint64_t value) { return (static_cast<unsigned>(std::bit_width(value | 1)) + 6) / 7; }

constexpr uint64_t wire_tag(uint32_t number, WireType wire) { return uint64_t{number} << 3 | static_cast<uint8_t>(wire); }

class WireWriter {
 public:
  explicit WireWriter(std::vector<std::byte>& out) : out_(out) {}

  void varint(uint64_t value) {
    std::byte buffer[10];
    unsigned n = 0;
    for (; value >= 0x80; value >>= 7) buffer[n++] = static_cast<std::byte>(value | 0x80);
    buffer[n++] = static_cast<std::byte>(value);
    out_.insert(out_.end(), buffer, buffer + n);
  }
  void raw(std::string_view bytes) {
    const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
    out_.insert(out_.end(), data, data + bytes.size());
  }
  template <typename T>
  void fixed(T value) { raw({reinterpret_cast<const char*>(&value), sizeof value}); }
  void tag(uint32_t number, WireType wire) { varint(wire_tag(number, wire)); }

  // Whole fields.
  void varint_field(uint32_t number, uint64_t value) {
    tag(number, WireType::kVarint);
    varint(value);
  }
  void bytes_field(uint32_t number, std::string_view bytes) {
    tag(number, WireType::kBytes);
    varint(bytes.size());
    raw(bytes);
  }

 private:
  std::vector<std::byte>& out_;
};

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mrpc::message
