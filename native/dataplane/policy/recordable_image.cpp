// Copies an image without what is not to be recorded, in canonical order (message/layout.h): the same walk that wrote it.
#include "dataplane/policy/recorder.h"
#include "message/builder.h"
#include "message/scalar.h"

namespace mrpc::dataplane {
namespace {

using message::Cardinality;
using message::FieldLayout;
using message::FieldType;
using message::ImageBuilder;
using message::MessageLayout;
using message::MessageView;
using message::Ref;

class Copier {
 public:
  Copier(std::span<const std::byte> from, const Redactions& redact, ImageBuilder& to) : from_(from), redact_(redact), to_(to) {}

  // False when it became too long.
  bool message(const MessageView& view, uint32_t at) {
    for (const FieldLayout& field : view.layout->fields) {
      if (is_redacted(*view.layout, field)) continue;
      const bool present = field.has_presence && view.present(field);
      if (present) to_.set_present(at, field);
      if (!field.out_of_line()) scalar(view, field, at);
      else if (!out_of_line(view, field, at, present)) return false;
    }
    return true;
  }

 private:
  bool is_redacted(const MessageLayout& layout, const FieldLayout& field) {
    if (field.debug_redact) return true;
    if (redact_.empty()) return false;
    name_.assign(layout.full_name).append(".").append(field.name);
    return redact_.find(name_) != redact_.end();
  }
  // An entry of a map cannot stand without its key or value: the map goes.
  bool has_redacted_entry(const FieldLayout& field) {
    if (field.cardinality != Cardinality::kMap) return false;
    return is_redacted(*field.message, field.message->fields[0]) || is_redacted(*field.message, field.message->fields[1]);
  }

  void scalar(const MessageView& view, const FieldLayout& field, uint32_t at) {
    std::memcpy(to_.at(at + field.offset), view.fields + field.offset, field.element_bytes);
  }

  bool out_of_line(const MessageView& view, const FieldLayout& field, uint32_t at, bool present) {
    const Ref ref = view.ref(field);
    if (field.cardinality == Cardinality::kSingular && field.type == FieldType::kMessage)
      return (!present && !view.layout->map_entry) || messages(view, field, 1, at);
    if (ref.length == 0 || has_redacted_entry(field)) return true;
    if (field.cardinality == Cardinality::kSingular) return content(field, view.text(field), at + field.offset);
    if (field.type == FieldType::kMessage) return messages(view, field, ref.length, at);
    return message::is_scalar(field.type) ? scalars(view, field, ref, at) : contents(view, field, ref, at);
  }

  bool content(const FieldLayout& field, std::string_view content, uint32_t at) {
    if (field.type == FieldType::kBytes) return true;
    const auto made = to_.append_content(content);
    if (made) to_.set(at, *made);
    return made.has_value();
  }

  bool contents(const MessageView& view, const FieldLayout& field, Ref ref, uint32_t at) {
    const auto array = to_.append(uint64_t{ref.length} * sizeof(Ref));
    if (!array) return false;
    to_.set(at + field.offset, Ref{*array, ref.length});
    for (uint32_t i = 0; i < ref.length; ++i) {
      const Ref element = message::load<Ref>(view.image + ref.offset + size_t{i} * sizeof(Ref));
      const std::string_view text(reinterpret_cast<const char*>(view.image + element.offset), element.length);
      if (!content(field, text, *array + i * sizeof(Ref))) return false;
    }
    return true;
  }

  bool scalars(const MessageView& view, const FieldLayout& field, Ref ref, uint32_t at) {
    if (ref.offset >= from_.size()) return true;  // in a segment
    const uint64_t bytes = uint64_t{ref.length} * field.element_bytes;
    const auto array = to_.append(bytes);
    if (!array) return false;
    to_.set(at + field.offset, Ref{*array, ref.length});
    std::memcpy(to_.at(*array), view.image + ref.offset, bytes);
    return true;
  }

  // One (a sub-message) or several side by side.
  bool messages(const MessageView& view, const FieldLayout& field, uint32_t count, uint32_t at) {
    const uint64_t each = field.message->struct_bytes;
    const auto array = to_.append(count * each);
    if (!array) return false;
    const bool single = field.cardinality == Cardinality::kSingular;
    to_.set(at + field.offset, Ref{*array, single ? static_cast<uint32_t>(each) : count});
    for (uint32_t i = 0; i < count; ++i) {
      const MessageView element = single ? view.child(field) : view.element(field, i);
      if (!message(element, *array + i * static_cast<uint32_t>(each))) return false;
    }
    return true;
  }

  std::span<const std::byte> from_;
  const Redactions& redact_;
  ImageBuilder& to_;
  std::string name_;
};

}  // namespace

std::vector<std::byte> recordable_image(const MessageLayout& layout, std::span<const std::byte> inline_image, const Redactions& redact,
                                        uint64_t bytes_max) {
  std::vector<std::byte> image;
  ImageBuilder builder(image, bytes_max);
  const auto root = builder.append(layout.struct_bytes);
  if (root && Copier(inline_image, redact, builder).message(message::root_view(layout, inline_image), *root)) return image;
  return {};
}

}  // namespace mrpc::dataplane
