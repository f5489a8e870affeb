#include "bind/dataplane/layout.h"

#include <bit>
#include <set>

#include "message/image.h"
#include "message/layout.h"
#include "message/scalar.h"

namespace nb = nanobind;

namespace mrpc::bind {
namespace {

using message::Cardinality;
using message::FieldLayout;
using message::FieldType;
using message::MessageLayout;

nb::str text(const std::string& value) { return nb::str(value.data(), value.size()); }

const char* cardinality_name(Cardinality cardinality) {
  switch (cardinality) {
    case Cardinality::kSingular: return "singular";
    case Cardinality::kRepeated: return "repeated";
    case Cardinality::kMap: return "map";
  }
  return "";
}

// The value that an absent singular field reads as; 0 for messages.
nb::object default_value(const FieldLayout& field) {
  switch (field.type) {
    case FieldType::kString:
    case FieldType::kBytes: return nb::bytes(field.default_text.data(), field.default_text.size());
    case FieldType::kDouble: return nb::float_(std::bit_cast<double>(field.default_bits));
    case FieldType::kFloat: return nb::float_(static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(field.default_bits))));
    case FieldType::kMessage: return nb::int_(0);
    default: break;
  }
  if (!message::is_signed(field.type)) return nb::int_(field.default_bits);
  return nb::int_(message::signed_value(field.type, field.default_bits));
}

nb::object enum_values(const message::EnumLayout* enumeration) {
  if (enumeration == nullptr) return nb::none();
  nb::dict values;
  for (const auto& [name, number] : enumeration->values) values[text(name)] = number;
  return values;
}

nb::dict field_layout(const FieldLayout& field) {
  nb::dict out;
  out["number"] = field.number;
  out["index"] = field.index;
  out["offset"] = field.offset;
  out["type"] = static_cast<int>(field.type);
  out["cardinality"] = cardinality_name(field.cardinality);
  out["has_presence"] = field.has_presence;
  out["oneof"] = field.oneof;
  out["element_bytes"] = field.element_bytes;
  out["message"] = field.message == nullptr ? nb::str("") : text(field.message->full_name);
  out["enum"] = enum_values(field.enumeration);
  out["default"] = default_value(field);
  return out;
}

std::span<const std::byte> bytes_of(const nb::bytes& bytes) { return std::as_bytes(std::span(bytes.c_str(), bytes.size())); }

std::shared_ptr<const message::Schema> parse(const nb::bytes& schema) {
  auto parsed = message::Schema::parse(bytes_of(schema));
  if (!parsed) throw nb::value_error(parsed.error().text.c_str());
  return *parsed;
}

const MessageLayout& find(const message::Schema& schema, const std::string& message) {
  const MessageLayout* found = schema.message(message);
  if (found == nullptr) throw nb::key_error(("the schema has no message '" + message + "'").c_str());
  return *found;
}

}  // namespace

nb::bytes message_image(const nb::bytes& schema, const std::string& message, const nb::bytes& protobuf) {
  const auto parsed = parse(schema);
  std::vector<std::byte> image;
  const Status made = message::from_protobuf(find(*parsed, message), bytes_of(protobuf), {}, image);
  if (!made) throw nb::value_error(made.error().text.c_str());
  return nb::bytes(image.data(), image.size());
}

nb::dict message_layout(const nb::bytes& schema, const std::string& message) {
  const auto parsed = parse(schema);
  const MessageLayout* root = &find(*parsed, message);
  nb::dict messages;
  std::set<const MessageLayout*> reached{root};
  std::vector<const MessageLayout*> open{root};
  while (!open.empty()) {
    const MessageLayout& layout = *open.back();
    open.pop_back();
    nb::dict fields;
    for (const FieldLayout& field : layout.fields) {
      fields[text(field.name)] = field_layout(field);
      if (field.message != nullptr && reached.insert(field.message).second) open.push_back(field.message);
    }
    nb::dict entry;
    entry["struct_bytes"] = layout.struct_bytes;
    entry["fields"] = fields;
    messages[text(layout.full_name)] = entry;
  }
  nb::dict out;
  out["root"] = text(root->full_name);
  out["messages"] = messages;
  return out;
}

}  // namespace mrpc::bind
