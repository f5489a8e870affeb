// A table whose entries are named by (index, generation): a stale or invented name finds nothing.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mrpc::dataplane {

template <typename T>
class Slab {
 public:
  uint64_t insert(T value) {
    if (free_.empty()) {
      free_.push_back(static_cast<uint32_t>(entries_.size()));
      entries_.emplace_back();
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    Entry& entry = entries_[index];
    entry.value = std::move(value);
    entry.live = true;
    ++live_;
    return uint64_t{entry.generation} << 32 | index;
  }
  // Valid until the next insert().
  T* find(uint64_t id) {
    const uint32_t index = static_cast<uint32_t>(id);
    if (index >= entries_.size()) return nullptr;
    Entry& entry = entries_[index];
    return entry.live && entry.generation == id >> 32 ? &entry.value : nullptr;
  }
  void erase(uint64_t id) {
    MRPC_ASSERT(find(id) != nullptr);
    Entry& entry = entries_[static_cast<uint32_t>(id)];
    entry.value = T{};
    entry.live = false;
    ++entry.generation;
    free_.push_back(static_cast<uint32_t>(id));
    --live_;
  }
  size_t size() const { return live_; }

  // For a successor process: names that are out stay good there, and names that were good once find nothing.
  std::vector<uint32_t> generations() const {
    std::vector<uint32_t> all;
    for (const Entry& entry : entries_) all.push_back(entry.generation);
    return all;
  }
  // Into a table that was never used: first this, then restore() of each id that is live, then finish_restore().
  bool restore_generations(const std::vector<uint32_t>& generations) {
    if (!entries_.empty()) return false;
    for (const uint32_t generation : generations) entries_.emplace_back().generation = generation;
    return true;
  }
  // False when `id` was not live when the generations were taken.
  bool restore(uint64_t id, T value) {
    const auto index = static_cast<uint32_t>(id);
    if (index >= entries_.size() || entries_[index].live || entries_[index].generation != id >> 32) return false;
    entries_[index].value = std::move(value);
    entries_[index].live = true;
    ++live_;
    return true;
  }
  void finish_restore() {
    for (uint32_t i = 0; i < entries_.size(); ++i)
      if (!entries_[i].live) free_.push_back(i);
  }

  template <typename Fn>
  void for_each(Fn&& fn) {
    for (uint32_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].live) fn(uint64_t{entries_[i].generation} << 32 | i, entries_[i].value);
  }

 private:
  struct Entry {
    T value{};
    uint32_t generation = 1;  // 0 never names anything
    bool live = false;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
  size_t live_ = 0;
};

}  // namespace mrpc::dataplane
