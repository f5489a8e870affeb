// Reading, verifying and transcoding images (see layout.h for their form).
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "base/result.h"
#include "message/layout.h"

namespace mrpc::message {

constexpr uint32_t kDepthCeiling = 200;  // whatever Limits say: walks recurse, and a thread's stack is finite

struct Limits {
  uint64_t message_bytes_max = 64ull << 20;
  uint32_t depth_max = 100;  // messages within the root, map entries too; protobuf's own; kDepthCeiling at most
};

// What a verified image told about itself on the way.
struct Verified {
  bool has_unknown = false;  // some message in it carries unknown fields
};

// One pass over a whole image whose inline part is `inline_part` and whose segments are segment_bytes[i] long (their
// content is not looked at). Checks bounds, canonical order, presence, UTF-8, map order, depth, size. Never reads outside `inline_part`.
// Errors: kInvalidArgument with the field's path; kResourceExhausted over message_bytes_max.
Result<Verified> verify(const MessageLayout& layout, std::span<const std::byte> inline_part,
                        std::span<const uint64_t> segment_bytes, const Limits& limits);

// Bytes of the whole image: the inline part, and the segments where they start.
uint64_t image_bytes(uint64_t inline_bytes, std::span<const uint64_t> segment_bytes);

// `image` must be verified, and whole (no segments). Appends protobuf bytes: fields by number, unknown fields after them.
void to_protobuf(const MessageLayout& layout, std::span<const std::byte> image, std::vector<std::byte>& out);

// Appends the canonical image of protobuf bytes (hostile) to `out`, which must be empty. Last one wins for singular
// fields, sub-messages merge, packed and unpacked are both read, fields that the layout lacks are kept as unknown.
// Errors: kInvalidArgument (truncated, bad tag, bad UTF-8, depth), kResourceExhausted (limit).
Status from_protobuf(const MessageLayout& layout, std::span<const std::byte> bytes, const Limits& limits, std::vector<std::byte>& out);

// Re-lays a verified whole image of one schema version into another by field number, by protobuf's rules: unknown fields of `from`
// that `to` knows become fields of it. Errors as from_protobuf.
Status relay(const MessageLayout& from, std::span<const std::byte> image, const MessageLayout& to, const Limits& limits,
             std::vector<std::byte>& out);

// ---- reading a verified image: no checks, all inline ---------------------------------------------------

template <typename T>
inline T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// A message inside a verified image.
struct MessageView {
  const std::byte* image = nullptr;   // start of the whole image
  const std::byte* fields = nullptr;  // this message's struct
  const MessageLayout* layout = nullptr;

  bool present(const FieldLayout& field) const {
    return load<uint64_t>(fields + 8 + 8 * (field.index / 64)) >> (field.index % 64) & 1;
  }
  template <typename T>
  T scalar(const FieldLayout& field) const { return load<T>(fields + field.offset); }
  Ref ref(const FieldLayout& field) const { return load<Ref>(fields + field.offset); }
  std::string_view text(const FieldLayout& field) const {
    const Ref r = ref(field);
    return {reinterpret_cast<const char*>(image + r.offset), r.length};
  }
  MessageView child(const FieldLayout& field) const { return {image, image + ref(field).offset, field.message}; }
  MessageView element(const FieldLayout& field, uint32_t i) const {
    return {image, image + ref(field).offset + size_t{i} * field.element_bytes, field.message};
  }
};

inline MessageView root_view(const MessageLayout& layout, std::span<const std::byte> image) {
  return {image.data(), image.data(), &layout};
}

}  // namespace mrpc::message
