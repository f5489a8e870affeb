// State of one policy in one scope: rows of 8-byte cells, one row for each value of the scope, shared by all edges that the policy selects
// and by all shards.
//
// VERSIONS. Cells are named by (field, type). A program's version maps its fields onto cells that exist, and takes free cells for
// new ones; rows stay where they are. Each row says which version touched it last; the next version brings it up when it
// first touches it (new cells get their initial value, then mrpc_upgrade runs), so a swap costs the same for one row as for 100,000.
// A cell is free again when no version that uses it is alive, calls that entered by an old version included.
//
// SHARDS. With one shard nothing here is atomic. With several, a row is *taken*, by a flag in it, for the duration of one hook: hooks are
// bounded by fuel and call nothing that waits, so a shard spins for a microsecond at most, and only when two calls of
// one row meet. Rows are taken in the order of their tables' addresses, so that hooks with several rows cannot wait for each other.
//
// BOUND. At most kRowsMax rows that no open call and no route holds; beyond, those not used for longest go (second chance), and are counted.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dataplane/policy/program.h"

namespace mrpc::dataplane {

// Where the fields of one version of a program stand in the rows of a table.
struct CellMap {
  struct Field {
    uint8_t cell;
    uint32_t since;    // the version in which the cell came to mean this field
    uint64_t initial;  // bits
  };
  uint32_t version = 0;
  std::vector<Field> fields;
  std::vector<uint8_t> old;  // what upgrade reads; StateTable::kZeroCell where there is no such field
};

class StateTable {
 public:
  static constexpr uint32_t kCellsMax = 16, kZeroCell = kCellsMax;
  static constexpr uint32_t kRowsMax = 100'000;

  struct alignas(64) Row {  // what a hook touches stands in its first line
    uint32_t version = 0;   // 0: nothing is in it yet
    std::atomic<uint32_t> taken{0}, pins{0};
    std::atomic<bool> used{true};
    std::array<uint64_t, kCellsMax + 1> cells{};  // the last one is always zero
    std::string key;
  };
  struct Name {
    std::string field;
    CellType type;
    bool operator==(const Name&) const = default;
  };

  explicit StateTable(Scope scope, bool concurrent, uint32_t rows_max = kRowsMax);

  // Control thread: cells for a version whose source has the hash `source`. Errors: kFailedPrecondition when no cell is free.
  Result<std::shared_ptr<const CellMap>> map(const std::string& source, const std::vector<StateFieldSpec>& fields,
                                             const std::vector<uint64_t>& initials, const std::vector<Name>& old);

  // The row of `key`, made if need be, which stays until it is unpinned as often.
  Row* pin(std::string_view key);
  void pin_again(Row& row) { count(row.pins, 1); }
  void unpin(Row& row) { count(row.pins, static_cast<uint32_t>(-1)); }
  void take(Row& row);
  void release(Row& row);

  struct SavedCell { std::string field; CellType type; uint64_t bits; };
  struct SavedRow { std::string key; std::vector<SavedCell> cells; };
  // Any thread, while shards run. Of the rows as they stand now, `count` from `from` on.
  std::vector<SavedRow> save(size_t from = 0, size_t count = SIZE_MAX);
  // A row as the version `map` sees it; cells that it does not know are dropped. `adds`: what is saved is a difference, of numbers. Before calls
  // run, or as save().
  void restore(const CellMap& map, const std::vector<StateFieldSpec>& fields, const SavedRow& row, bool adds = false);

  const Scope& scope() const { return scope_; }
  bool concurrent() const { return concurrent_; }  // several shards share it
  uint64_t rows() const { return rows_.load(std::memory_order_relaxed); }
  uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

 private:
  struct Cell {
    Name name;
    uint32_t since = 0;
    std::vector<std::weak_ptr<const CellMap>> users;
  };
  struct KeyHash {
    uint64_t seed;
    size_t operator()(std::string_view key) const;
  };
  struct Part {  // of the rows, by hash: one mutex each
    explicit Part(uint64_t seed) : by_key(16, KeyHash{seed}) {}
    std::mutex mutex;
    std::unordered_map<std::string_view, Row*, KeyHash> by_key;
    std::vector<std::unique_ptr<Row>> rows;
    size_t hand = 0;
  };

  void count(std::atomic<uint32_t>& counter, uint32_t by) {
    if (concurrent_) counter.fetch_add(by, std::memory_order_acq_rel);
    else counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  Row* find_or_make(Part& part, std::string_view key);
  void evict_one(Part& part);
  int cell_of(const Name& name) const;
  Result<uint8_t> take_cell(const Name& name, uint32_t version);

  const Scope scope_;
  const bool concurrent_;
  const uint32_t part_rows_max_;
  const KeyHash hash_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::atomic<uint64_t> rows_{0}, evicted_{0};
  // Control thread only.
  std::array<Cell, kCellsMax> cells_;
  uint32_t version_ = 0;
  std::string source_;
};

// Keeps a row from being evicted.
class RowPin {
 public:
  RowPin() = default;
  RowPin(StateTable& table, std::string_view key) : table_(&table), row_(table.pin(key)) {}
  RowPin(RowPin&& other) noexcept : table_(other.table_), row_(std::exchange(other.row_, nullptr)) {}
  RowPin& operator=(RowPin&& other) noexcept {
    std::swap(table_, other.table_);
    std::swap(row_, other.row_);
    return *this;
  }
  ~RowPin() {
    if (row_ != nullptr) table_->unpin(*row_);
  }
  StateTable::Row* get() const { return row_; }
  // Another pin of the same row.
  RowPin again() const {
    RowPin other;
    other.table_ = table_;
    other.row_ = row_;
    if (row_ != nullptr) table_->pin_again(*row_);
    return other;
  }

 private:
  StateTable* table_ = nullptr;
  StateTable::Row* row_ = nullptr;
};

}  // namespace mrpc::dataplane
