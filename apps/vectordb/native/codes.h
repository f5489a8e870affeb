// Short codes of vectors, from which a search tells which of them need an exact look.
#pragma once

#include <cstddef>

#include "types.h"

namespace curator {

class Codec {
 public:
  explicit Codec(const Options&) {}
  uint32_t bytes() const { return 0; }  // of a code
  // `vector` relative to `reference` (the centroid of the node's reference, see tree.h).
  void encode(const float* vector, const float* reference, std::byte* out) const { (void)vector, (void)reference, (void)out; }
};

}  // namespace curator
