// What a scalar type is on the wire and in the image. `bits` is a value as it stands in the image, widened with zeros.
#pragma once

#include <cstdint>

#include "message/layout.h"
#include "message/wire.h"

namespace mrpc::message {

// Of the type's value, not of a packed run of them.
constexpr WireType wire_type(FieldType type) {
  switch (type) {
    case FieldType::kDouble: case FieldType::kFixed64: case FieldType::kSfixed64: return WireType::kFixed64;
    case FieldType::kFloat: case FieldType::kFixed32: case FieldType::kSfixed32: return WireType::kFixed32;
    case FieldType::kString: case FieldType::kBytes: case FieldType::kMessage: return WireType::kBytes;
    default: return WireType::kVarint;
  }
}

constexpr bool is_scalar(FieldType type) { return wire_type(type) != WireType::kBytes; }

// Bytes in the image; strings, bytes and messages are a Ref.
constexpr uint32_t scalar_bytes(FieldType type) {
  switch (type) {
    case FieldType::kBool: return 1;
    case FieldType::kFloat: case FieldType::kInt32: case FieldType::kFixed32: case FieldType::kUint32:
    case FieldType::kEnum: case FieldType::kSfixed32: case FieldType::kSint32: return 4;
    default: return 8;
  }
}

// May its repeated content stand in a segment? Only where every bit pattern is a value.
constexpr bool is_numeric(FieldType type) {
  return is_scalar(type) && type != FieldType::kBool && type != FieldType::kEnum;
}

constexpr bool is_signed(FieldType type) {
  switch (type) {
    case FieldType::kInt32: case FieldType::kInt64: case FieldType::kSint32: case FieldType::kSint64:
    case FieldType::kSfixed32: case FieldType::kSfixed64: case FieldType::kEnum: return true;
    default: return false;
  }
}

inline uint64_t load_bits(const std::byte* at, uint32_t bytes) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, bytes);
  return bits;
}

constexpr int64_t signed_value(FieldType type, uint64_t bits) {
  return scalar_bytes(type) == 4 ? static_cast<int32_t>(static_cast<uint32_t>(bits)) : static_cast<int64_t>(bits);
}

constexpr uint64_t bits_of_wire(FieldType type, uint64_t value) {
  switch (type) {
    case FieldType::kBool: return value != 0;
    case FieldType::kSint64: return (value >> 1) ^ (0 - (value & 1));
    case FieldType::kSint32: {
      const auto low = static_cast<uint32_t>(value);
      return static_cast<uint32_t>((low >> 1) ^ (0 - (low & 1)));
    }
    default: return scalar_bytes(type) == 4 ? static_cast<uint32_t>(value) : value;
  }
}

constexpr uint64_t wire_of_bits(FieldType type, uint64_t bits) {
  switch (type) {
    case FieldType::kInt32: case FieldType::kEnum: return static_cast<uint64_t>(signed_value(type, bits));
    case FieldType::kSint32: case FieldType::kSint64: {
      const int64_t value = signed_value(type, bits);
      return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
    }
    default: return bits;
  }
}

}  // namespace mrpc::message
