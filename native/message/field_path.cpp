#include "message/field_path.h"

#include <bit>

#include "message/scalar.h"

namespace mrpc::message {
namespace {

Error no_field(const MessageLayout& layout, std::string_view name) {
  std::string text = "message " + layout.full_name + " has no field '" + std::string(name) + "'; it has:";
  constexpr size_t kListed = 16;
  for (size_t i = 0; i < layout.fields.size() && i < kListed; ++i) text += " " + layout.fields[i].name;
  if (layout.fields.size() > kListed) text += " ...";
  return invalid_argument(std::move(text));
}

FieldValue value_of_bits(FieldType type, uint64_t bits) {
  switch (type) {
    case FieldType::kBool: return bits != 0;
    case FieldType::kDouble: return std::bit_cast<double>(bits);
    case FieldType::kFloat: return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)));
    default: break;
  }
  if (is_signed(type)) return signed_value(type, bits);
  return bits;
}

FieldValue default_value(const FieldLayout& field) {
  if (!is_scalar(field.type)) return std::string_view(field.default_text);
  return value_of_bits(field.type, field.default_bits);
}

}  // namespace

Result<FieldPath> resolve_path(const MessageLayout& layout, std::string_view path) {
  FieldPath out;
  const MessageLayout* at = &layout;
  while (true) {
    const size_t dot = path.find('.');
    const std::string_view name = path.substr(0, dot);
    const FieldLayout* field = at->by_name(name);
    if (field == nullptr) return no_field(*at, name);
    out.fields.push_back(field);
    if (dot == std::string_view::npos) return out;
    if (field->type != FieldType::kMessage || field->cardinality != Cardinality::kSingular) {
      return invalid_argument("field '" + field->name + "' of message " + at->full_name +
                              " is not a single message: a path cannot go through it");
    }
    at = field->message;
    path.remove_prefix(dot + 1);
  }
}

std::optional<FieldValue> read_path(MessageView root, const FieldPath& path) {
  const FieldLayout& leaf = path.leaf();
  if (leaf.cardinality != Cardinality::kSingular || leaf.type == FieldType::kMessage) return std::nullopt;
  for (size_t i = 0; i + 1 < path.fields.size(); ++i) {
    if (root.ref(*path.fields[i]).length == 0) return default_value(leaf);
    root = root.child(*path.fields[i]);
  }
  if (leaf.has_presence && !root.present(leaf)) return default_value(leaf);
  if (!is_scalar(leaf.type)) return root.text(leaf);
  return value_of_bits(leaf.type, load_bits(root.fields + leaf.offset, leaf.element_bytes));
}

}  // namespace mrpc::message
