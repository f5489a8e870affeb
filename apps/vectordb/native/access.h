// Who may see each of the 16 vectors of a chunk: one block of memory for all, owner first in each set. The writer's alone; searches read
// the tenants' trees, which say the same from the other side.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "types.h"

namespace curator {

class AccessSets {
 public:
  std::span<const TenantId> of(uint32_t lane) const;
  bool holds(uint32_t lane, TenantId tenant) const;
  void assign(uint32_t lane, std::span<const TenantId> tenants);
  void reserve(uint32_t more);  // room for so many
  void add(uint32_t lane, TenantId tenant);
  bool remove(uint32_t lane, TenantId tenant);
  void clear(uint32_t lane) { assign(lane, {}); }
  size_t bytes() const;

 private:
  static constexpr uint32_t kLanes = 16;
  // Ends of the lanes' parts, then the capacity, then the tenants: an empty chunk costs a pointer.
  struct Block;
  struct Free { void operator()(Block* block) const; };
  void reallocate(uint32_t capacity);
  TenantId* resize(uint32_t lane, uint32_t size);

  std::unique_ptr<Block, Free> block_;
};

}  // namespace curator
