// Reads everything that a verified image holds, as a reader does, and notes which bytes were read: all but padding.
#pragma once

#include <vector>

#include "message/image.h"

namespace test {

class ImageWalk {
 public:
  explicit ImageWalk(size_t image_bytes) : read_(image_bytes) {}

  void message(const mrpc::message::MessageView& view) {
    using namespace mrpc::message;
    const auto at = static_cast<size_t>(view.fields - view.image);
    mark(at, 8 + 8 * view.layout->presence_words);
    mark(load<Ref>(view.fields), 1);
    for (const FieldLayout& field : view.layout->fields) {
      mark(at + field.offset, field.out_of_line() ? sizeof(Ref) : field.element_bytes);
      if (field.out_of_line()) part(view, field, view.ref(field));
    }
  }

  // Were the same bytes read in both?
  bool equal(std::span<const std::byte> a, std::span<const std::byte> b) const {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i) {
      if (read_[i] && a[i] != b[i]) return false;
    }
    return true;
  }

 private:
  void part(const mrpc::message::MessageView& view, const mrpc::message::FieldLayout& field, mrpc::message::Ref ref) {
    using namespace mrpc::message;
    if (ref.length == 0) return;
    if (field.type == FieldType::kMessage) {
      const bool one = field.cardinality == Cardinality::kSingular;
      for (uint32_t i = 0; i < (one ? 1 : ref.length); ++i) message(one ? view.child(field) : view.element(field, i));
      return;
    }
    if (field.cardinality == Cardinality::kSingular) return mark(ref, 1);
    mark(ref, field.element_bytes);
    if (field.type != FieldType::kString && field.type != FieldType::kBytes) return;
    for (uint32_t i = 0; i < ref.length; ++i) mark(load<Ref>(view.image + ref.offset + size_t{i} * sizeof(Ref)), 1);
  }

  void mark(mrpc::message::Ref ref, size_t element_bytes) { mark(ref.offset, ref.length * element_bytes); }
  void mark(size_t at, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i) read_.at(at + i) = true;
  }

  std::vector<bool> read_;
};

}  // namespace test
