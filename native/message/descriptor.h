// google.protobuf.FileDescriptorSet, read into plain structs: what layouts need of it and no more. Hostile input.
// Strings are views into the bytes that were parsed.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "message/layout.h"

namespace mrpc::message {

// Limits on a descriptor set, so that a small one cannot cost much memory or time.
constexpr size_t kDescriptorBytesMax = 16u << 20;
constexpr uint32_t kNestingMax = 32;             // message types within message types
constexpr size_t kNameBytesMax = 512;            // of a full name
constexpr uint32_t kFieldsMax = 4096;            // of one message
constexpr uint32_t kFieldsTotalMax = 1u << 18;
constexpr uint32_t kTypesMax = 1u << 16;         // messages and enums
constexpr uint32_t kEnumValuesTotalMax = 1u << 18;
constexpr uint32_t kServicesMax = 1u << 10;
constexpr uint32_t kMethodsTotalMax = 1u << 14;

// Editions' features; "proto2" and "proto3" are two settings of them.
struct Features {
  bool explicit_presence = true;
  bool closed_enums = false;
  bool packed = true;
  bool validate_utf8 = true;
  bool delimited = false;  // groups by another name: refused
};

struct FieldDescriptor {
  std::string_view name, json_name, type_name;
  std::optional<std::string_view> default_value;
  uint64_t number = 0, label = 0, type = 0;
  std::optional<uint64_t> oneof_index;
  std::optional<bool> packed;
  bool proto3_optional = false;
  bool debug_redact = false;
  Features features;
};

struct EnumDescriptor {
  std::string_view name;
  std::vector<std::pair<std::string_view, int32_t>> values;
  Features features;
};

struct MessageDescriptor {
  std::string_view name;
  std::vector<FieldDescriptor> fields;
  std::vector<MessageDescriptor> messages;
  std::vector<EnumDescriptor> enums;
  std::vector<std::string_view> oneofs;  // synthetic ones too
  bool map_entry = false;
  Features features;
};

struct MethodDescriptor {
  std::string_view name, input, output;
  bool client_streaming = false, server_streaming = false;
};

struct ServiceDescriptor {
  std::string_view name;
  std::vector<MethodDescriptor> methods;
};

struct FileDescriptor {
  std::string_view name, package;
  std::vector<MessageDescriptor> messages;
  std::vector<EnumDescriptor> enums;
  std::vector<ServiceDescriptor> services;
  Features features;
};

// Errors: kInvalidArgument, with the name of what is wrong.
Result<std::vector<FileDescriptor>> parse_descriptor_set(std::string_view bytes);

}  // namespace mrpc::message
