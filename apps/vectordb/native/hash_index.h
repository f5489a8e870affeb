// A hash table of u32 indices, whose keys lie with what they index. Readers need no lock: the writer stores single entries, and a table
// that is too full is replaced by a copy, the old one being dropped when readers have left.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "base/assert.h"
#include "epoch.h"
#include "types.h"

namespace curator {

// KeyOf: uint64_t operator()(uint32_t index) const. An index must keep its key until readers have left.
template <typename KeyOf>
class HashIndex {
 public:
  HashIndex(KeyOf key_of, Epochs& epochs) : key_of_(key_of), epochs_(epochs), table_(new Table(kSmallest)) {}
  ~HashIndex() { delete table_.load(std::memory_order_relaxed); }

  uint32_t find(uint64_t key) const {  // kNone: not there
    const Table& table = *table_.load(std::memory_order_seq_cst);
    for (size_t at = table.home(key);; at = table.next(at)) {
      const uint32_t index = table.entries[at].load(std::memory_order_seq_cst);
      if (index == kNone) return kNone;
      if (index != kErased && key_of_(index) == key) return index;
    }
  }

  void insert(uint64_t key, uint32_t index) {  // a key that is not there
    if ((used_ + 1) * 5 > table_.load(std::memory_order_relaxed)->size * 4) rehash();
    put(*table_.load(std::memory_order_relaxed), key, index);
    ++count_;
  }

  // The same key, at another index.
  void move(uint64_t key, uint32_t index) { entry(key).store(index, std::memory_order_seq_cst); }

  void erase(uint64_t key) {
    entry(key).store(kErased, std::memory_order_seq_cst);
    --count_;
  }

  size_t size() const { return count_.load(std::memory_order_relaxed); }
  size_t bytes() const { return table_.load(std::memory_order_relaxed)->size * sizeof(uint32_t); }
  void reserve(size_t count) {
    if (count * 5 > table_.load(std::memory_order_relaxed)->size * 4) rehash(count);
  }

 private:
  static constexpr uint32_t kErased = kNone - 1;
  static constexpr size_t kSmallest = 16;

  struct Table {
    explicit Table(size_t size) : size(size), entries(new std::atomic<uint32_t>[size]) {
      for (size_t i = 0; i < size; ++i) entries[i].store(kNone, std::memory_order_relaxed);
    }
    size_t home(uint64_t key) const {
      uint64_t mixed = (key ^ key >> 32) * 0x9E3779B97F4A7C15ull;
      mixed = (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9ull;
      return static_cast<size_t>(static_cast<unsigned __int128>(mixed) * size >> 64);
    }
    size_t next(size_t at) const { return at + 1 == size ? 0 : at + 1; }

    const size_t size;
    const std::unique_ptr<std::atomic<uint32_t>[]> entries;
  };

  std::atomic<uint32_t>& entry(uint64_t key) {
    Table& table = *table_.load(std::memory_order_relaxed);
    for (size_t at = table.home(key);; at = table.next(at)) {
      const uint32_t index = table.entries[at].load(std::memory_order_relaxed);
      MRPC_ASSERT(index != kNone);
      if (index != kErased && key_of_(index) == key) return table.entries[at];
    }
  }

  void put(Table& table, uint64_t key, uint32_t index) {
    size_t at = table.home(key);
    uint32_t there;
    while ((there = table.entries[at].load(std::memory_order_relaxed)) < kErased) at = table.next(at);
    table.entries[at].store(index, std::memory_order_seq_cst);
    used_ += there == kNone;
  }

  // Leaves the erased behind; between 8/15 and 4/5 of a table are used.
  void rehash(size_t count = 0) {
    Table* old = table_.load(std::memory_order_relaxed);
    const size_t wanted = std::max(count, count_.load(std::memory_order_relaxed) + 1);
    auto* table = new Table(std::max(kSmallest, wanted * 15 / 8));
    used_ = 0;
    for (size_t i = 0; i < old->size; ++i) {
      const uint32_t index = old->entries[i].load(std::memory_order_relaxed);
      if (index < kErased) put(*table, key_of_(index), index);
    }
    table_.store(table, std::memory_order_seq_cst);
    epochs_.retire([](void*, uint64_t what) { delete reinterpret_cast<Table*>(what); }, nullptr, reinterpret_cast<uint64_t>(old));
  }

  const KeyOf key_of_;
  Epochs& epochs_;
  std::atomic<Table*> table_;
  std::atomic<size_t> count_{0};
  size_t used_ = 0;  // entries that are not kNone
};

// The key of an index is the id there in an array.
struct RowId {
  const VectorId* ids;
  uint64_t operator()(uint32_t row) const { return ids[row]; }
};

}  // namespace curator
