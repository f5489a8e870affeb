#include "dataplane/policy/message_edit.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "dataplane/policy/engine.h"

namespace mrpc::dataplane {
namespace {

using message::FieldLayout;
using message::FieldType;

Error cannot_hold(const FieldLayout& field) { return invalid_argument("field '" + field.name + "' cannot hold the value"); }

void append_varint(std::string& out, uint64_t value) {
  for (; value > 127; value >>= 7) out += static_cast<char>((value & 127) | 128);
  out += static_cast<char>(value);
}

template <typename T>
std::optional<T> narrow(int64_t value) {
  if constexpr (sizeof(T) == 8) return static_cast<T>(value);
  else if (value < static_cast<int64_t>(std::numeric_limits<T>::min()) || value > static_cast<int64_t>(std::numeric_limits<T>::max())) return std::nullopt;
  else return static_cast<T>(value);
}

struct Scalar {
  uint64_t bits = 0;   // as it stands in an image
  uint32_t bytes = 8;  // of it
};

template <typename T>
std::optional<Scalar> scalar(std::optional<T> value) {
  if (!value) return std::nullopt;
  Scalar made{0, sizeof(T)};
  std::memcpy(&made.bits, &*value, sizeof(T));
  return made;
}

std::optional<Scalar> scalar_of(const FieldLayout& field, int64_t value) {
  switch (field.type) {
    case FieldType::kBool: return Scalar{value != 0, 1};
    case FieldType::kEnum:
      if (field.enumeration != nullptr && field.enumeration->closed && !(narrow<int32_t>(value) && field.enumeration->has(static_cast<int32_t>(value)))) return std::nullopt;
      return scalar(narrow<int32_t>(value));
    case FieldType::kInt32: case FieldType::kSint32: case FieldType::kSfixed32: return scalar(narrow<int32_t>(value));
    case FieldType::kUint32: case FieldType::kFixed32: return scalar(narrow<uint32_t>(value));
    case FieldType::kUint64: case FieldType::kFixed64: case FieldType::kInt64: case FieldType::kSint64: case FieldType::kSfixed64:
      return Scalar{static_cast<uint64_t>(value), 8};
    case FieldType::kDouble: return scalar(std::optional<double>(static_cast<double>(value)));
    case FieldType::kFloat: return scalar(std::optional<float>(static_cast<float>(value)));
    default: return std::nullopt;
  }
}

std::optional<Scalar> scalar_of(const FieldLayout& field, double value) {
  if (field.type == FieldType::kDouble) return scalar(std::optional<double>(value));
  if (field.type == FieldType::kFloat) return scalar(std::optional<float>(static_cast<float>(value)));
  return std::nullopt;
}

std::optional<Scalar> scalar_of(const FieldLayout& field, const FieldEdit& edit) {
  if (const auto* integer = std::get_if<int64_t>(&edit.value)) return scalar_of(field, *integer);
  return scalar_of(field, std::get<double>(edit.value));
}

// In place. False when a message on the way is absent.
bool set_in_place(std::byte* image, const message::FieldPath& path, const Scalar& value) {
  std::byte* at = image;
  for (size_t i = 0; i + 1 < path.fields.size(); ++i) {
    const auto ref = message::load<message::Ref>(at + path.fields[i]->offset);
    if (ref.length == 0) return false;
    at = image + ref.offset;
  }
  const FieldLayout& leaf = path.leaf();
  std::memcpy(at + leaf.offset, &value.bits, value.bytes);
  if (!leaf.has_presence) return true;
  std::byte* word = at + 8 + 8 * (leaf.index / 64);
  const uint64_t bits = message::load<uint64_t>(word) | uint64_t{1} << (leaf.index % 64);
  std::memcpy(word, &bits, sizeof bits);
  return true;
}

std::string wire_scalar(const FieldLayout& field, const Scalar& value) {
  std::string out;
  const auto raw = [&](uint32_t wire) {
    append_varint(out, uint64_t{field.number} << 3 | wire);
    out.append(reinterpret_cast<const char*>(&value.bits), value.bytes);
  };
  switch (field.type) {
    case FieldType::kDouble: case FieldType::kFixed64: case FieldType::kSfixed64: raw(1); return out;
    case FieldType::kFloat: case FieldType::kFixed32: case FieldType::kSfixed32: raw(5); return out;
    default: break;
  }
  int64_t wide = static_cast<int64_t>(value.bits);
  if (field.type == FieldType::kInt32 || field.type == FieldType::kEnum || field.type == FieldType::kSint32) wide = static_cast<int32_t>(value.bits);
  append_varint(out, uint64_t{field.number} << 3);
  const bool zigzag = field.type == FieldType::kSint32 || field.type == FieldType::kSint64;
  append_varint(out, zigzag ? static_cast<uint64_t>(wide) << 1 ^ static_cast<uint64_t>(wide >> 63) : static_cast<uint64_t>(wide));
  return out;
}

std::string wire_bytes(uint32_t number, std::string_view content) {
  std::string out;
  append_varint(out, uint64_t{number} << 3 | 2);
  append_varint(out, content.size());
  return out.append(content);
}

// The edit as protobuf bytes which, behind a message's own, set the field: last one wins, and messages merge.
Result<std::string> wire_of(const FieldEdit& edit) {
  const FieldLayout& leaf = edit.field->path.leaf();
  std::string out;
  if (const auto* text = std::get_if<std::string>(&edit.value)) {
    out = wire_bytes(leaf.number, *text);
  } else {
    const auto value = scalar_of(leaf, edit);
    if (!value) return cannot_hold(leaf);
    out = wire_scalar(leaf, *value);
  }
  for (size_t i = edit.field->path.fields.size() - 1; i-- > 0;) out = wire_bytes(edit.field->path.fields[i]->number, out);
  return out;
}

// A block with other metadata or another image, and all else as it was.
Message remade(Message& message, std::span<const shm::MetadataPair> metadata) {
  const auto details = message.details();
  const shm::BlockShape shape{message.header.segment_count, shm::metadata_bytes(metadata), message.header.details_bytes, message.header.inline_bytes};
  std::vector<std::byte> bytes(message.block_at + shm::block_bytes(shape));
  std::memcpy(bytes.data(), message.bytes.data(), message.block_at);
  shm::BlockWriter writer(bytes.data() + message.block_at, shape);
  writer.metadata(metadata);
  for (uint32_t i = 0; i < shape.segment_count; ++i) writer.segment(i, message.segments[i]);
  const auto image = message.inline_image();
  if (!image.empty()) std::memcpy(writer.image(), image.data(), image.size());
  const auto at = abi::block_layout(shape.segment_count, shape.metadata_bytes, shape.details_bytes, shape.inline_bytes);
  if (!details.empty()) std::memcpy(bytes.data() + message.block_at + at.details, details.data(), details.size());
  writer.finish();
  auto made = parse_block(std::move(bytes), message.block_at, {UINT64_MAX, UINT32_MAX});
  MRPC_ASSERT(made.ok());
  made->blobs = std::move(message.blobs);
  made->hold = std::move(message.hold);
  return std::move(*made);
}

}  // namespace

Status edit_fields(Message& message, const message::MessageLayout& layout, const std::vector<FieldEdit>& edits, const message::Limits& limits) {
  MRPC_ASSERT(message.blobs.empty());
  std::string appended;
  for (const FieldEdit& edit : edits) {
    const FieldLayout& leaf = edit.field->path.leaf();
    if (!std::holds_alternative<std::string>(edit.value) && appended.empty()) {
      const auto value = scalar_of(leaf, edit);
      if (!value) return cannot_hold(leaf);
      if (set_in_place(message.bytes.data() + message.block_at + message.at.image, edit.field->path, *value)) continue;
    }
    auto wire = wire_of(edit);
    if (!wire) return wire.error();
    appended += *wire;
  }
  if (appended.empty()) return ok_status();
  std::vector<std::byte> protobuf, image;
  message::to_protobuf(layout, message.inline_image(), protobuf);
  const auto more = std::as_bytes(std::span(appended));
  protobuf.insert(protobuf.end(), more.begin(), more.end());
  const Status laid_out = message::from_protobuf(layout, protobuf, limits, image);
  if (!laid_out) return laid_out;
  Message made = make_message(message.block_at, message.metadata(), message.details(), image);
  std::memcpy(made.bytes.data(), message.bytes.data(), message.block_at);
  message = std::move(made);
  return ok_status();
}

void edit_metadata(Message& message, const std::vector<std::pair<std::string, std::string>>& edits) {
  std::vector<shm::MetadataPair> kept;
  const auto edited = [&](std::string_view key) { return std::any_of(edits.begin(), edits.end(), [&](const auto& edit) { return edit.first == key; }); };
  shm::MetadataReader reader(message.metadata());
  for (shm::MetadataPair pair; reader.next(pair);)
    if (!edited(pair.key)) kept.push_back(pair);
  for (const auto& [key, value] : edits)
    if (!value.empty()) kept.push_back({key, value});
  message = remade(message, kept);
}

bool is_settable_key(std::string_view key) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; };
  return !key.empty() && !key.starts_with("mrpc-") && !key.starts_with("grpc-") && std::all_of(key.begin(), key.end(), allowed);
}

}  // namespace mrpc::dataplane
