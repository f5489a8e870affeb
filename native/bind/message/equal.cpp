// Equality, decided on images: floats by value (so NaN is unlike itself), everything else by bits.
#include "bind/message/equal.h"
#include "bind/message/value.h"

namespace mrpc::bind {
namespace {

using message::load;
using message::Ref;

template <typename T>
bool equal_floats(const std::byte* a, const std::byte* b, size_t count) {
  for (size_t i = 0; i < count; ++i)
    if (load<T>(a + i * sizeof(T)) != load<T>(b + i * sizeof(T))) return false;
  return true;
}

bool equal_scalars(const FieldLayout& field, const std::byte* a, const std::byte* b, size_t count) {
  if (field.type == FieldType::kFloat) return equal_floats<float>(a, b, count);
  if (field.type == FieldType::kDouble) return equal_floats<double>(a, b, count);
  return std::memcmp(a, b, count * field.element_bytes) == 0;
}

bool equal_content(const MessageView& a, Ref left, const MessageView& b, Ref right) {
  return left.length == right.length && std::memcmp(a.image + left.offset, b.image + right.offset, left.length) == 0;
}

bool equal_part(const FieldLayout& field, const MessageView& a, const MessageView& b) {
  const Ref left = a.ref(field), right = b.ref(field);
  if (left.length != right.length) return false;
  const std::byte *from = a.image + left.offset, *to = b.image + right.offset;
  if (field.type == FieldType::kMessage) {
    const uint32_t count = field.cardinality == Cardinality::kSingular ? left.length != 0 : left.length;
    for (uint64_t i = 0, bytes = field.message->struct_bytes; i < count; ++i)
      if (!equal_views({a.image, from + i * bytes, field.message}, {b.image, to + i * bytes, field.message})) return false;
    return true;
  }
  if (field.cardinality == Cardinality::kSingular) return equal_content(a, left, b, right);
  if (storage_of(field.type) != Storage::kOutOfLine) return equal_scalars(field, from, to, left.length);
  for (uint64_t i = 0; i < left.length; ++i)
    if (!equal_content(a, load<Ref>(from + i * sizeof(Ref)), b, load<Ref>(to + i * sizeof(Ref)))) return false;
  return true;
}

}  // namespace

bool equal_views(const MessageView& a, const MessageView& b) {
  if (!equal_content(a, load<Ref>(a.fields), b, load<Ref>(b.fields))) return false;
  if (std::memcmp(a.fields + 8, b.fields + 8, 8 * a.layout->presence_words) != 0) return false;
  for (const FieldLayout& field : a.layout->fields) {
    if (field.out_of_line() ? !equal_part(field, a, b) : !equal_scalars(field, a.fields + field.offset, b.fields + field.offset, 1)) return false;
  }
  return true;
}

}  // namespace mrpc::bind
