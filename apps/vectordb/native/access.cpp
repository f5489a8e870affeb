#include "access.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace curator {

struct AccessSets::Block {
  uint32_t ends[kLanes];
  uint32_t capacity;
  TenantId tenants[];

  uint32_t begin(uint32_t lane) const { return lane == 0 ? 0 : ends[lane - 1]; }
};

void AccessSets::Free::operator()(Block* block) const { std::free(block); }

std::span<const TenantId> AccessSets::of(uint32_t lane) const {
  if (!block_) return {};
  return {block_->tenants + block_->begin(lane), block_->tenants + block_->ends[lane]};
}

bool AccessSets::holds(uint32_t lane, TenantId tenant) const {
  const auto set = of(lane);
  return std::find(set.begin(), set.end(), tenant) != set.end();
}

size_t AccessSets::bytes() const { return block_ ? sizeof(Block) + block_->capacity * sizeof(TenantId) : 0; }

void AccessSets::reallocate(uint32_t capacity) {
  auto* block = static_cast<Block*>(std::realloc(block_.get(), sizeof(Block) + capacity * sizeof(TenantId)));
  if (block == nullptr) throw std::bad_alloc();
  if (!block_) std::fill(block->ends, block->ends + kLanes, 0);
  (void)block_.release();
  block_.reset(block);
  block->capacity = capacity;
}

// Makes room for `size` tenants in a lane, or takes it away at the lane's end; the first of the lane.
TenantId* AccessSets::resize(uint32_t lane, uint32_t size) {
  const uint32_t total = block_ ? block_->ends[kLanes - 1] : 0, old_size = static_cast<uint32_t>(of(lane).size());
  const uint32_t new_total = total - old_size + size, wanted = new_total + new_total / 16;
  if (!block_ || new_total > block_->capacity) reallocate(wanted);
  TenantId* const tenants = block_->tenants;
  std::memmove(tenants + block_->begin(lane) + size, tenants + block_->ends[lane], (total - block_->ends[lane]) * sizeof(TenantId));
  for (uint32_t i = lane; i < kLanes; ++i) block_->ends[i] += size - old_size;
  if (new_total < block_->capacity / 2) reallocate(wanted);
  return block_->tenants + block_->begin(lane);
}

void AccessSets::assign(uint32_t lane, std::span<const TenantId> tenants) {
  if (tenants.empty() && of(lane).empty()) return;
  std::copy(tenants.begin(), tenants.end(), resize(lane, static_cast<uint32_t>(tenants.size())));
  if (block_->ends[kLanes - 1] == 0) block_.reset();
}

void AccessSets::reserve(uint32_t more) {
  if (more > 0) reallocate((block_ ? block_->ends[kLanes - 1] : 0) + more);
}

void AccessSets::add(uint32_t lane, TenantId tenant) {
  const auto size = static_cast<uint32_t>(of(lane).size());
  resize(lane, size + 1)[size] = tenant;
}

bool AccessSets::remove(uint32_t lane, TenantId tenant) {
  const auto set = of(lane);
  const auto found = std::find(set.begin(), set.end(), tenant);
  if (found == set.end()) return false;
  TenantId* const at = block_->tenants + block_->begin(lane) + (found - set.begin());
  std::copy(at + 1, block_->tenants + block_->ends[lane], at);
  resize(lane, static_cast<uint32_t>(set.size() - 1));
  if (block_->ends[kLanes - 1] == 0) block_.reset();
  return true;
}

}  // namespace curator
