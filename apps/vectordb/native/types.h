// Words that every part of the index uses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace curator {

using Slot = uint32_t;      // where a vector lies in the store; its name inside the index
using NodeId = uint32_t;    // a node of the global clustering tree
using TenantId = uint32_t;  // named by the caller
using VectorId = uint64_t;  // named by the caller
using Path = uint64_t;      // the way from the root to a node: kPathBits a level, from the top bit

inline constexpr uint32_t kNone = UINT32_MAX;
inline constexpr uint32_t kPathBits = 5;
inline constexpr uint32_t kFanoutMax = 1u << kPathBits;
inline constexpr uint32_t kDepthMax = 64 / kPathBits;  // 12 levels below the root

// The child index, at `depth`, of what lies below a node of that depth on `path`.
inline uint32_t step(Path path, uint32_t depth) { return static_cast<uint32_t>(path >> (64 - kPathBits * (depth + 1))) & (kFanoutMax - 1); }
inline Path extend(Path path, uint32_t depth, uint32_t child) { return path | Path{child} << (64 - kPathBits * (depth + 1)); }
// Whether `path` is that of a node of `depth` at `ancestor`, or of something below it.
inline bool below(Path path, Path ancestor, uint32_t depth) { return depth == 0 || (path ^ ancestor) >> (64 - kPathBits * depth) == 0; }

enum class Metric : uint8_t { kL2, kInnerProduct, kCosine };
enum class Element : uint8_t { kFloat32, kFloat16 };

struct Options {
  uint32_t dim = 0;
  Metric metric = Metric::kL2;
  Element element = Element::kFloat32;
  uint32_t shortlist_max = 128;
  uint32_t leaf_max = 256;
  uint32_t branching = 16;
  float recall = 0.97f;
  uint64_t seed = 0;

  uint32_t row_bytes() const { return dim * (element == Element::kFloat32 ? 4 : 2); }
};

}  // namespace curator
