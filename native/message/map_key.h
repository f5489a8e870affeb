// Map keys in the order of layout.h: integers by value, strings by bytes, false before true.
#pragma once

#include <compare>

#include "message/image.h"
#include "message/scalar.h"

namespace mrpc::message {

struct MapKey {
  uint64_t order = 0;     // integers and bool
  std::string_view text;  // strings

  friend auto operator<=>(const MapKey&, const MapKey&) = default;
};

inline MapKey integer_key(FieldType type, uint64_t bits) {
  if (!is_signed(type)) return {bits, {}};
  return {static_cast<uint64_t>(signed_value(type, bits)) ^ uint64_t{1} << 63, {}};
}

// Of an entry in an image.
inline MapKey map_key(const MessageView& entry) {
  const FieldLayout& key = entry.layout->fields[0];
  if (key.type == FieldType::kString) return {0, entry.text(key)};
  return integer_key(key.type, load_bits(entry.fields + key.offset, key.element_bytes));
}

}  // namespace mrpc::message
