// The verifier: a depth-first walk in canonical order with one cursor, which every part must meet. A Ref is believed only when it
// points at the cursor (or at the next segment), so nothing is read twice or out of order. Time is linear in the image.
#include "message/error_path.h"
#include "message/image.h"
#include "message/map_key.h"
#include "message/scalar.h"
#include "message/utf8.h"
#include "message/wire.h"
#include "shm/abi.h"

namespace mrpc::message {
namespace {

constexpr uint64_t align8(uint64_t value) { return (value + 7) & ~uint64_t{7}; }

class Verifier {
 public:
  Verifier(std::span<const std::byte> image, std::span<const uint64_t> segments)
      : image_(image.data()), size_(image.size()), segments_(segments), segment_at_(size_) {
    next_segment();
  }

  Result<Verified> run(const MessageLayout& layout, const Limits& limits) {
    const bool ok = take(0, layout.struct_bytes) && message(layout, 0, std::min(limits.depth_max, kDepthCeiling)) && finish();
    if (ok) return Verified{has_unknown_};
    return invalid_argument("message " + layout.full_name + (path_.empty() ? "" : ", field " + path_) + ": " + error_);
  }

 private:
  bool fail(const char* error) { return error_ = error, false; }

  // Called on the way out of a failed walk, innermost field first.
  bool fail_in(const FieldLayout& field) { return prepend_field(path_, field.name), false; }

  bool finish() {
    if (end_ != size_) return fail("bytes stand behind its last part");
    return segments_.empty() || fail("a segment belongs to no field");
  }

  // The next part is `bytes` long and must be at `offset`.
  bool take(uint64_t offset, uint64_t bytes) {
    if (offset != align8(end_)) return fail("a part is not where canonical order has it");
    if (offset > size_ || bytes > size_ - offset) return fail("a part ends outside the image");
    end_ = offset + bytes;
    return true;
  }

  // Content of bytes and numbers may also be the whole of the next segment.
  bool take_blob(uint64_t offset, uint64_t bytes) {
    if (segments_.empty() || offset != segment_at_) return take(offset, bytes);
    if (bytes != segments_[0]) return fail("it does not take the whole of its segment");
    segment_at_ += bytes;
    segments_ = segments_.subspan(1);
    next_segment();
    return true;
  }

  void next_segment() { segment_at_ = abi::align_up(segment_at_, abi::kBlobAlign); }

  bool message(const MessageLayout& layout, uint64_t at, uint32_t depth) {
    const std::byte* fields = image_ + at;
    if (!unknown(load<Ref>(fields)) || !presence_bits(layout, fields)) return false;
    for (const FieldLayout& field : layout.fields) {
      if (!this->field(layout, field, fields, depth)) [[unlikely]] return fail_in(field);
    }
    return true;
  }

  bool field(const MessageLayout& layout, const FieldLayout& field, const std::byte* fields, uint32_t depth) {
    const bool bit = load<uint64_t>(fields + 8 + 8 * (field.index / 64)) >> (field.index % 64) & 1;
    if (bit && !field.has_presence) return fail("has a presence bit and no presence");
    if (field.out_of_line()) {
      const Ref ref = load<Ref>(fields + field.offset);
      if (ref.length == 0) return ref.offset == 0 ? empty(layout, field, bit) : fail("is empty and has an offset");
      if (field.has_presence && !bit) return fail("is absent and not zero");
      return part(field, ref, depth);
    }
    const uint64_t bits = load_bits(fields + field.offset, field.element_bytes);
    if (field.has_presence && !bit) return bits == 0 || fail("is absent and not zero");
    if (bits == 0 && !bit && !layout.map_entry) return true;
    return scalar(field, bits);
  }

  // A present message has a struct, and so has a map's value.
  bool empty(const MessageLayout& layout, const FieldLayout& field, bool present) {
    const bool message = field.type == FieldType::kMessage && field.cardinality == Cardinality::kSingular;
    return !message || !(present || layout.map_entry) || fail("is present and has no struct");
  }

  bool scalar(const FieldLayout& field, uint64_t bits) {
    if (field.type == FieldType::kBool) return bits <= 1 || fail("is neither true nor false");
    if (field.type != FieldType::kEnum || !field.enumeration->closed) return true;
    return field.enumeration->has(static_cast<int32_t>(static_cast<uint32_t>(bits))) || fail("is no value of its closed enum");
  }

  bool part(const FieldLayout& field, Ref ref, uint32_t depth) {
    if (field.type == FieldType::kMessage) return messages(field, ref, depth);
    if (field.cardinality == Cardinality::kSingular) return content(field, ref);
    return is_scalar(field.type) ? scalars(field, ref) : contents(field, ref);
  }

  bool content(const FieldLayout& field, Ref ref) {
    if (field.type == FieldType::kBytes) return take_blob(ref.offset, ref.length);
    if (!take(ref.offset, ref.length)) return false;
    return !field.validate_utf8 || valid_utf8(text(ref)) || fail("is not UTF-8");
  }

  bool contents(const FieldLayout& field, Ref array) {
    if (!take(array.offset, uint64_t{array.length} * sizeof(Ref))) return false;
    for (uint32_t i = 0; i < array.length; ++i) {
      const Ref ref = load<Ref>(image_ + array.offset + uint64_t{i} * sizeof(Ref));
      if (ref.length == 0 && ref.offset != 0) return fail("has an empty element with an offset");
      if (ref.length != 0 && !content(field, ref)) return false;
    }
    return true;
  }

  bool scalars(const FieldLayout& field, Ref array) {
    const uint64_t bytes = uint64_t{array.length} * field.element_bytes;
    if (is_numeric(field.type)) return take_blob(array.offset, bytes);
    if (!take(array.offset, bytes)) return false;
    for (uint64_t at = array.offset; at != array.offset + bytes; at += field.element_bytes) {
      if (!scalar(field, load_bits(image_ + at, field.element_bytes))) return false;
    }
    return true;
  }

  bool messages(const FieldLayout& field, Ref ref, uint32_t depth) {
    if (depth == 0) return fail("nests too deep");
    const MessageLayout& child = *field.message;
    const bool one = field.cardinality == Cardinality::kSingular;
    if (one && ref.length != child.struct_bytes) return fail("has a struct of the wrong size");
    const uint64_t count = one ? 1 : ref.length;
    if (!take(ref.offset, count * child.struct_bytes)) return false;
    MapKey last;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t at = ref.offset + i * child.struct_bytes;
      if (!message(child, at, depth - 1)) return false;
      if (field.cardinality != Cardinality::kMap) continue;
      const MapKey key = map_key({image_, image_ + at, &child});
      if (i > 0 && !(last < key)) return fail("has map keys that do not ascend");
      last = key;
    }
    return true;
  }

  bool unknown(Ref ref) {
    if (ref.length == 0) return ref.offset == 0 || fail("unknown fields are empty and have an offset");
    has_unknown_ = true;
    if (!take(ref.offset, ref.length)) return false;
    WireReader in(text(ref));
    for (WireField field; !in.done();) {
      if (!in.field(field)) return fail("unknown fields are malformed");
    }
    return true;
  }

  bool presence_bits(const MessageLayout& layout, const std::byte* fields) {
    const uint32_t used = layout.fields.size() % 64;
    if (used != 0 && load<uint64_t>(fields + 8 * layout.presence_words) >> used != 0) {
      return fail("presence bits stand behind the last field");
    }
    return layout.oneofs.empty() || oneofs(layout, fields);
  }

  bool oneofs(const MessageLayout& layout, const std::byte* fields) {
    uint64_t small = 0;
    std::vector<uint64_t> large(layout.oneofs.size() > 64 ? (layout.oneofs.size() + 63) / 64 : 0);
    uint64_t* const taken = large.empty() ? &small : large.data();
    for (const FieldLayout& field : layout.fields) {
      if (field.oneof < 0 || !(load<uint64_t>(fields + 8 + 8 * (field.index / 64)) >> (field.index % 64) & 1)) continue;
      uint64_t& word = taken[field.oneof / 64];
      const uint64_t bit = uint64_t{1} << (field.oneof % 64);
      if (word & bit) return fail("two fields of its oneof are present"), fail_in(field);
      word |= bit;
    }
    return true;
  }

  std::string_view text(Ref ref) const { return {reinterpret_cast<const char*>(image_ + ref.offset), ref.length}; }

  const std::byte* image_;
  uint64_t size_;
  std::span<const uint64_t> segments_;  // not yet taken
  uint64_t segment_at_;                 // where the first of them starts
  uint64_t end_ = 0;                    // of the last part taken
  bool has_unknown_ = false;
  const char* error_ = "";
  std::string path_;
};

}  // namespace

uint64_t image_bytes(uint64_t inline_bytes, std::span<const uint64_t> segment_bytes) {
  uint64_t end = inline_bytes;
  for (const uint64_t bytes : segment_bytes) {
    if (end > UINT64_MAX - abi::kBlobAlign || bytes > UINT64_MAX - abi::align_up(end, abi::kBlobAlign)) return UINT64_MAX;
    end = abi::align_up(end, abi::kBlobAlign) + bytes;
  }
  return end;
}

Result<Verified> verify(const MessageLayout& layout, std::span<const std::byte> inline_part, std::span<const uint64_t> segment_bytes,
                        const Limits& limits) {
  const uint64_t bytes = image_bytes(inline_part.size(), segment_bytes);
  const uint64_t bytes_max = std::min<uint64_t>(limits.message_bytes_max, UINT32_MAX);
  if (bytes > bytes_max) {
    return resource_exhausted("message " + layout.full_name + " is larger than the limit of " + std::to_string(bytes_max) +
                              " bytes; send less at a time, or raise message_bytes_max");
  }
  return Verifier(inline_part, segment_bytes).run(layout, limits);
}

}  // namespace mrpc::message
