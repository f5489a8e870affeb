// From descriptors to layouts: declare every type by its full name, then resolve fields, then place them, then services.
#include <numeric>
#include <set>

#include "message/default_value.h"
#include "message/descriptor.h"
#include "message/fingerprint.h"
#include "message/layout.h"
#include "message/scalar.h"

namespace mrpc::message {
namespace {

constexpr uint32_t kLabelRepeated = 3;
constexpr uint64_t kRelativeLookupsMax = 1u << 20;  // protoc writes full names; a search scope by scope is for hand-made descriptors

uint32_t inline_bytes(const FieldLayout& field) { return field.out_of_line() ? sizeof(Ref) : field.element_bytes; }

// Offsets: after the unknown fields' Ref and the presence words, all of 8 bytes, then of 4, then of 1.
void place_fields(MessageLayout& layout) {
  layout.presence_words = static_cast<uint32_t>((layout.fields.size() + 63) / 64);
  uint32_t at = 8 + 8 * layout.presence_words;
  for (const uint32_t bytes : {8u, 4u, 1u}) {
    for (FieldLayout& field : layout.fields) {
      if (inline_bytes(field) != bytes) continue;
      field.offset = at;
      at += bytes;
    }
  }
  layout.struct_bytes = (at + 7) / 8 * 8;
}

std::string json_name_of(std::string_view name) {
  std::string out;
  bool upper = false;
  for (const char c : name) {
    if (c != '_') out.push_back(upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    upper = c == '_';
  }
  return out;
}

bool valid_map_entry(const MessageLayout& entry) {
  if (entry.fields.size() != 2 || !entry.oneofs.empty()) return false;
  const FieldLayout &key = entry.fields[0], &value = entry.fields[1];
  const bool integral = wire_type(key.type) != WireType::kBytes && key.type != FieldType::kDouble && key.type != FieldType::kFloat;
  return key.number == 1 && value.number == 2 && key.cardinality == Cardinality::kSingular &&
         value.cardinality == Cardinality::kSingular && (key.type == FieldType::kString || (integral && key.type != FieldType::kEnum));
}

}  // namespace

const FieldLayout* MessageLayout::by_number(uint32_t number) const {
  if (number - 1 < fields.size() && fields[number - 1].number == number) return &fields[number - 1];
  const auto before = [](const FieldLayout& f, uint32_t n) { return f.number < n; };
  const auto at = std::lower_bound(fields.begin(), fields.end(), number, before);
  return at != fields.end() && at->number == number ? &*at : nullptr;
}

const FieldLayout* MessageLayout::by_name(std::string_view name) const {
  const auto at = std::find_if(fields.begin(), fields.end(), [&](const FieldLayout& f) { return f.name == name; });
  return at != fields.end() ? &*at : nullptr;
}

const int32_t* EnumLayout::by_name(std::string_view name) const {
  const auto before = [&](uint32_t i, std::string_view n) { return values[i].first < n; };
  const auto at = std::lower_bound(name_order.begin(), name_order.end(), name, before);
  return at != name_order.end() && values[*at].first == name ? &values[*at].second : nullptr;
}

class SchemaBuilder {
 public:
  Result<std::shared_ptr<const Schema>> run(std::span<const std::byte> bytes) {
    if (bytes.size() <= kDescriptorBytesMax) schema_->serialized_.assign(bytes.begin(), bytes.end());
    auto files = parse_descriptor_set(as_text(bytes));
    if (!files) return files.error();
    if (!build(*files)) return invalid_argument("descriptor set: " + error_);
    return std::shared_ptr<const Schema>(schema_);
  }

 private:
  struct Open {
    MessageLayout* layout;
    const MessageDescriptor* from;
  };

  bool build(const std::vector<FileDescriptor>& files) {
    for (const auto& file : files) {
      for (const auto& m : file.messages) if (!declare_message(file.package, m)) return false;
      for (const auto& e : file.enums) if (!declare_enum(file.package, e)) return false;
    }
    for (const auto& [layout, from] : open_) if (!add_fields(*layout, *from)) return false;
    for (const auto& [layout, from] : open_) place_fields(*layout);
    for (const auto& [layout, from] : open_) if (!link(*layout)) return false;
    for (const auto& file : files) {
      for (const auto& s : file.services) if (!add_service(file.package, s)) return false;
    }
    return true;
  }

  bool fail(std::string_view where, const std::string& what) {
    error_ = std::string(where) + ": " + what;
    return false;
  }

  static std::string join(std::string_view scope, std::string_view name) {
    std::string out(scope);
    if (!out.empty()) out.push_back('.');
    return out.append(name);
  }

  bool new_name(const std::string& full_name) {
    if (full_name.size() > kNameBytesMax) {
      return fail(full_name.substr(0, 64) + "...", "full name is longer than " + std::to_string(kNameBytesMax) + " bytes");
    }
    const bool taken = schema_->message_by_name_.contains(full_name) || schema_->enum_by_name_.contains(full_name) ||
                       schema_->service_by_name_.contains(full_name);
    return !taken || fail(full_name, "is defined twice");
  }

  bool declare_message(std::string_view scope, const MessageDescriptor& from) {
    auto layout = std::make_unique<MessageLayout>();
    layout->full_name = join(scope, from.name);
    if (!new_name(layout->full_name)) return false;
    layout->map_entry = from.map_entry;
    MessageLayout* const added = layout.get();
    open_.push_back({added, &from});
    schema_->message_by_name_.emplace(added->full_name, added);
    schema_->messages_.push_back(std::move(layout));
    for (const auto& m : from.messages) if (!declare_message(added->full_name, m)) return false;
    for (const auto& e : from.enums) if (!declare_enum(added->full_name, e)) return false;
    return true;
  }

  bool declare_enum(std::string_view scope, const EnumDescriptor& from) {
    auto layout = std::make_unique<EnumLayout>();
    layout->full_name = join(scope, from.name);
    if (!new_name(layout->full_name)) return false;
    layout->closed = from.features.closed_enums;
    if (from.values.empty()) return fail(layout->full_name, "an enum needs a value");
    if (!layout->closed && from.values[0].second != 0) return fail(layout->full_name, "the first value of an open enum must be 0");
    for (const auto& [name, number] : from.values) {
      layout->values.emplace_back(name, number);
      layout->numbers.push_back(number);
    }
    auto& order = layout->name_order;
    order.resize(layout->values.size());
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return layout->values[a].first < layout->values[b].first; });
    auto& numbers = layout->numbers;
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    schema_->enum_by_name_.emplace(layout->full_name, layout.get());
    schema_->enums_.push_back(std::move(layout));
    return true;
  }

  // Looks for `name` in `table`: ".a.b" as it stands, "b" in `scope` and outwards.
  template <typename Table>
  auto find(const Table& table, std::string_view scope, std::string_view name) -> typename Table::mapped_type {
    if (name.starts_with('.')) {
      const auto at = table.find(name.substr(1));
      return at != table.end() ? at->second : nullptr;
    }
    while (++relative_lookups_ <= kRelativeLookupsMax) {
      if (const auto at = table.find(join(scope, name)); at != table.end()) return at->second;
      if (scope.empty()) break;
      const size_t dot = scope.rfind('.');
      scope = scope.substr(0, dot == std::string_view::npos ? 0 : dot);
    }
    return nullptr;
  }

  bool add_fields(MessageLayout& layout, const MessageDescriptor& from) {
    const auto oneofs = real_oneofs(from);
    for (size_t i = 0; i < from.oneofs.size(); ++i) if (oneofs[i] >= 0) layout.oneofs.emplace_back(from.oneofs[i]);
    std::set<std::string_view> names;
    layout.fields.reserve(from.fields.size());
    for (const auto& f : from.fields) {
      if (!names.insert(f.name).second) return fail(layout.full_name, "two fields are named '" + std::string(f.name) + "'");
      if (!add_field(layout, f, oneofs)) return fail(layout.full_name, "field '" + std::string(f.name) + "' " + error_);
    }
    std::sort(layout.fields.begin(), layout.fields.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
    for (uint32_t i = 0; i < layout.fields.size(); ++i) {
      layout.fields[i].index = i;
      if (i > 0 && layout.fields[i].number == layout.fields[i - 1].number) {
        return fail(layout.full_name, "two fields have number " + std::to_string(layout.fields[i].number));
      }
    }
    std::vector<bool> used(layout.oneofs.size());
    for (const auto& f : layout.fields) if (f.oneof >= 0) used[static_cast<size_t>(f.oneof)] = true;
    return std::find(used.begin(), used.end(), false) == used.end() || fail(layout.full_name, "a oneof has no fields");
  }

  // For each declared oneof its index among the real ones, or -1: proto3 optional is a oneof of one on paper only.
  static std::vector<int32_t> real_oneofs(const MessageDescriptor& from) {
    std::vector<int32_t> index(from.oneofs.size(), 0);
    for (const auto& f : from.fields) {
      if (f.proto3_optional && f.oneof_index && *f.oneof_index < index.size()) index[*f.oneof_index] = -1;
    }
    int32_t real = 0;
    for (auto& i : index) if (i == 0) i = real++;
    return index;
  }

  // On failure error_ is the end of a sentence that begins with the field's name.
  bool fail_field(const char* what) { return error_ = what, false; }

  bool add_field(MessageLayout& layout, const FieldDescriptor& from, const std::vector<int32_t>& oneofs) {
    if (from.number == 0 || from.number > kFieldNumberMax) return fail_field("has a number outside 1 to 2^29 - 1");
    if (from.name.size() > kNameBytesMax || from.json_name.size() > kNameBytesMax) return fail_field("has too long a name");
    FieldLayout field;
    field.name = from.name;
    field.json_name = from.json_name.empty() ? json_name_of(from.name) : std::string(from.json_name);
    field.number = static_cast<uint32_t>(from.number);
    if (!set_type(field, layout.full_name, from) || !set_cardinality(field, layout, from, oneofs)) return false;
    field.element_bytes = scalar_bytes(field.type);
    const bool packable = field.cardinality == Cardinality::kRepeated && is_scalar(field.type);
    field.packed = packable && from.packed.value_or(from.features.packed);
    field.debug_redact = from.debug_redact;
    field.validate_utf8 = field.type == FieldType::kString && from.features.validate_utf8;
    if (from.default_value && field.cardinality != Cardinality::kSingular) return fail_field("is repeated and has a default");
    if (!set_default(field, from.default_value)) return fail_field("has a default that is not of its type");
    layout.fields.push_back(std::move(field));
    return true;
  }

  bool set_type(FieldLayout& field, std::string_view scope, const FieldDescriptor& from) {
    uint64_t type = from.type;
    if (type == 10 || (type == 11 && from.features.delimited && !from.type_name.empty() && !is_map(scope, from))) {
      return fail_field("is a group (delimited), which is not supported: make it a message field");
    }
    if (!from.type_name.empty()) {
      if (type == 0 || type == 11) field.message = find(schema_->message_by_name_, scope, from.type_name);
      if (type == 0 || type == 14) field.enumeration = field.message ? nullptr : find(schema_->enum_by_name_, scope, from.type_name);
      if (!field.message && !field.enumeration) return fail_field("has a type that the set does not define; include imports");
      type = field.message ? 11 : 14;
    } else if (type == 11 || type == 14) {
      return fail_field("names no type");
    }
    if (type < 1 || type > 18) return fail_field("has an unknown type");
    field.type = static_cast<FieldType>(type);
    return true;
  }

  // A map is never delimited, whatever the file's features say.
  bool is_map(std::string_view scope, const FieldDescriptor& from) {
    const auto* message = find(schema_->message_by_name_, scope, from.type_name);
    return message != nullptr && message->map_entry;
  }

  bool set_cardinality(FieldLayout& field, const MessageLayout& owner, const FieldDescriptor& from, const std::vector<int32_t>& oneofs) {
    const bool entry = field.message != nullptr && field.message->map_entry;
    if (from.label == kLabelRepeated) field.cardinality = entry ? Cardinality::kMap : Cardinality::kRepeated;
    else if (entry) return fail_field("is a map entry and not repeated");
    if (from.oneof_index) {
      if (*from.oneof_index >= oneofs.size()) return fail_field("belongs to a oneof that does not exist");
      if (field.cardinality != Cardinality::kSingular) return fail_field("is repeated and in a oneof");
      field.oneof = oneofs[*from.oneof_index];
    }
    const bool chosen = field.type == FieldType::kMessage || from.oneof_index || from.proto3_optional || from.features.explicit_presence;
    field.has_presence = field.cardinality == Cardinality::kSingular && !owner.map_entry && chosen;
    return true;
  }

  bool link(MessageLayout& layout) {
    for (FieldLayout& field : layout.fields) {
      if (field.message && field.cardinality != Cardinality::kSingular) field.element_bytes = field.message->struct_bytes;
    }
    return !layout.map_entry || valid_map_entry(layout) || fail(layout.full_name, "is not a valid map entry");
  }

  bool add_service(std::string_view package, const ServiceDescriptor& from) {
    auto service = std::make_unique<ServiceLayout>();
    service->full_name = join(package, from.name);
    if (!new_name(service->full_name)) return false;
    std::set<std::string_view> names;
    for (const auto& m : from.methods) {
      MethodLayout method;
      method.name = m.name;
      method.path = "/" + service->full_name + "/" + method.name;
      method.request = find(schema_->message_by_name_, service->full_name, m.input);
      method.reply = find(schema_->message_by_name_, service->full_name, m.output);
      method.client_streaming = m.client_streaming;
      method.server_streaming = m.server_streaming;
      if (!names.insert(m.name).second) return fail(method.path, "is defined twice");
      if (!method.request || !method.reply) return fail(method.path, "has a type that the set does not define; include imports");
      if (method.request->map_entry || method.reply->map_entry) return fail(method.path, "has a map entry for a message");
      service->methods.push_back(std::move(method));
    }
    service->fingerprint = fingerprinter_.service(*service);
    if (service->fingerprint == 0) return fail(service->full_name, "the services reach too many messages; register fewer in one set");
    schema_->service_by_name_.emplace(service->full_name, service.get());
    schema_->services_.push_back(std::move(service));
    return true;
  }

  std::shared_ptr<Schema> schema_ = std::make_shared<Schema>();
  std::vector<Open> open_;
  Fingerprinter fingerprinter_;
  std::string error_;
  uint64_t relative_lookups_ = 0;
};

Result<std::shared_ptr<const Schema>> Schema::parse(std::span<const std::byte> bytes) { return SchemaBuilder().run(bytes); }

template <typename Table>
static auto find_or_null(const Table& table, std::string_view name) -> typename Table::mapped_type {
  const auto at = table.find(name);
  return at != table.end() ? at->second : nullptr;
}

const MessageLayout* Schema::message(std::string_view full_name) const { return find_or_null(message_by_name_, full_name); }
const EnumLayout* Schema::enumeration(std::string_view full_name) const { return find_or_null(enum_by_name_, full_name); }
const ServiceLayout* Schema::service(std::string_view full_name) const { return find_or_null(service_by_name_, full_name); }

}  // namespace mrpc::message
