// Layout tables: where each field of a protobuf message stands in its image.
//
// THE IMAGE (layout version 1)
//
// An image is the in-memory form of one message: a root struct at offset 0, then out-of-line parts. Little-endian,
// position-independent, at most 4 GiB. A struct of message type M is, at a multiple of 8:
//   [0, 8)                     Ref of unknown fields: raw protobuf bytes, length 0 when there are none
//   [8, 8 + 8 * words)         presence bits, words = ceil(field_count / 64); bit i belongs to the i-th field by number
//   then the singular scalars and Refs: all of 8 bytes, then all of 4, then all of 1; by field number in each group
//   padded with zeros to a multiple of 8.
// Singular scalars stand inline (bool 1 byte; 32-bit kinds, float, enum 4; 64-bit kinds, double 8). Everything else is a
// Ref {u32 offset, u32 length}; offset counts from the image's start, and is 0 when length is 0:
//   string, bytes       length in bytes; content; no terminator
//   sub-message         length = its struct's size, when present
//   repeated scalar     length = count; packed elements of the scalar's size (bool 1)
//   repeated string     length = count; an array of Ref, then each element's content
//   repeated message    length = count; structs side by side, then each one's out-of-line parts
//   map                 repeated message of the entry type {key 1, value 2}, strictly ascending by key (integers by
//                       value, strings by bytes, false before true): so no key stands twice
// Presence: the bit of a field with presence (proto3 optional, proto2 singular, oneof member, sub-message) is set when it is
// present; bits of other fields are zero, and they are absent when zero or empty. Absent fields are all zeros.
// In a oneof at most one bit is set. A map entry's fields have no presence: its key and value always stand, so a message
// value always has its struct, and a closed enum's value is one of its own.
//
// CANONICAL ORDER: out-of-line parts stand in the order of a depth-first walk: fields by number (unknown fields first),
// an array before what its elements point to. Each part starts exactly at the next multiple of 8 after the part before it.
// The inline part ends where its last part ends, with nothing after it.
// So a verifier needs one cursor, and overlap, cycles and sharing cannot be expressed. Only content of `bytes` and
// repeated numeric fields (not bool, not enum) may instead stand in a segment (blob): segments are taken in the same order,
// each wholly, by one field. The first segment starts at the next multiple of kBlobAlign after the inline part, the next
// at the next multiple after the one before. A segment is never empty.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mrpc::message {

constexpr uint32_t kLayoutVersion = 1;

struct Ref {
  uint32_t offset = 0;
  uint32_t length = 0;
};
static_assert(sizeof(Ref) == 8);

// google.protobuf.FieldDescriptorProto.Type, by its numbers (group, 10, is not supported).
enum class FieldType : uint8_t {
  kDouble = 1, kFloat = 2, kInt64 = 3, kUint64 = 4, kInt32 = 5, kFixed64 = 6, kFixed32 = 7, kBool = 8, kString = 9,
  kMessage = 11, kBytes = 12, kUint32 = 13, kEnum = 14, kSfixed32 = 15, kSfixed64 = 16, kSint32 = 17, kSint64 = 18,
};

enum class Cardinality : uint8_t { kSingular, kRepeated, kMap };

struct MessageLayout;

struct EnumLayout {
  std::string full_name;
  std::vector<std::pair<std::string, int32_t>> values;  // in declaration order
  std::vector<int32_t> numbers;                         // ascending, each once
  std::vector<uint32_t> name_order;                     // indexes of values, ascending by name
  bool closed = false;                                  // proto2: unknown numbers are kept as unknown fields

  bool has(int32_t number) const { return std::binary_search(numbers.begin(), numbers.end(), number); }
  const int32_t* by_name(std::string_view name) const;  // nullptr when there is none
};

struct FieldLayout {
  std::string name, json_name;
  uint32_t number = 0;
  uint32_t index = 0;        // by number; also the presence bit
  uint32_t offset = 0;       // in the struct
  uint32_t element_bytes = 0;  // of the scalar, of Ref, or (repeated message, map) of the struct
  int32_t oneof = -1;        // index into MessageLayout::oneofs; -1: none, also for proto3 optional
  FieldType type{};
  Cardinality cardinality{};
  bool has_presence = false;
  bool packed = false;       // how the transcoder writes it
  bool validate_utf8 = false;  // proto3 strings
  bool debug_redact = false;   // the option of that name: not for records that people read
  uint64_t default_bits = 0;   // proto2 default of a scalar, as it would stand in the image
  std::string default_text;    // proto2 default of a string or bytes
  const MessageLayout* message = nullptr;  // sub-message, or map entry
  const EnumLayout* enumeration = nullptr;

  bool out_of_line() const {
    return cardinality != Cardinality::kSingular || type == FieldType::kString || type == FieldType::kBytes || type == FieldType::kMessage;
  }
};

struct MessageLayout {
  std::string full_name;
  std::vector<FieldLayout> fields;  // by number
  std::vector<std::string> oneofs;  // real ones
  uint32_t struct_bytes = 0;
  uint32_t presence_words = 0;
  bool map_entry = false;

  const FieldLayout* by_number(uint32_t number) const;  // nullptr when there is none
  const FieldLayout* by_name(std::string_view name) const;
};

struct MethodLayout {
  std::string name;
  std::string path;  // "/package.Service/Method"
  const MessageLayout* request = nullptr;
  const MessageLayout* reply = nullptr;
  bool client_streaming = false, server_streaming = false;
};

struct ServiceLayout {
  std::string full_name;
  std::vector<MethodLayout> methods;
  // Of everything that its methods' messages can reach, kLayoutVersion included (fingerprint.h). Two schemas of equal
  // fingerprint lay out and name every field alike.
  uint64_t fingerprint = 0;
};

// All layouts of one FileDescriptorSet. Immutable once made; the pointers inside live as long as it does.
class Schema {
 public:
  // `bytes`: a serialised google.protobuf.FileDescriptorSet, hostile; dependencies before their users. Errors: kInvalidArgument
  // with the name of what is wrong (unknown type, group, duplicate number, more than 4096 fields, depth...).
  static Result<std::shared_ptr<const Schema>> parse(std::span<const std::byte> bytes);

  const MessageLayout* message(std::string_view full_name) const;
  const EnumLayout* enumeration(std::string_view full_name) const;
  const ServiceLayout* service(std::string_view full_name) const;
  const std::vector<std::unique_ptr<ServiceLayout>>& services() const { return services_; }
  std::span<const std::byte> serialized() const { return serialized_; }

 private:
  friend class SchemaBuilder;
  std::vector<std::byte> serialized_;
  std::vector<std::unique_ptr<MessageLayout>> messages_;
  std::vector<std::unique_ptr<EnumLayout>> enums_;
  std::vector<std::unique_ptr<ServiceLayout>> services_;
  // Ordered: names are hostile, and a hash table's buckets could be flooded.
  std::map<std::string_view, const MessageLayout*> message_by_name_;
  std::map<std::string_view, const EnumLayout*> enum_by_name_;
  std::map<std::string_view, const ServiceLayout*> service_by_name_;
};

}  // namespace mrpc::message
