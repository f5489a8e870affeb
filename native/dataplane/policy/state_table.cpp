#include "dataplane/policy/state_table.h"

#include <immintrin.h>
#include <sched.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

namespace mrpc::dataplane {
namespace {

constexpr uint32_t kPartsMax = 16;
constexpr uint32_t kSpins = 200;  // before a shard lets another thread have the core

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

uint64_t fold(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t sum(CellType type, uint64_t a, uint64_t b) {
  if (type == CellType::kFloat) return std::bit_cast<uint64_t>(std::bit_cast<double>(a) + std::bit_cast<double>(b));
  return type == CellType::kInt ? a + b : b;
}

}  // namespace

// Keys are chosen by strangers: the seed keeps them from flooding one bucket.
size_t StateTable::KeyHash::operator()(std::string_view key) const {
  uint64_t hash = seed ^ key.size();
  const char* at = key.data();
  size_t left = key.size();
  for (uint64_t word; left >= 8; at += 8, left -= 8) {
    std::memcpy(&word, at, 8);
    hash = fold(hash ^ word, seed | 1);
  }
  uint64_t tail = 0;
  if (left != 0) std::memcpy(&tail, at, left);
  return fold(hash ^ tail ^ 0x9e3779b97f4a7c15ull, seed | 1);
}

StateTable::StateTable(Scope scope, bool concurrent, uint32_t rows_max)
    : scope_(std::move(scope)), concurrent_(concurrent), part_rows_max_(concurrent ? std::max(1u, rows_max / kPartsMax) : rows_max),
      hash_{random_seed()} {
  for (uint32_t i = 0; i < (concurrent ? kPartsMax : 1); ++i) parts_.push_back(std::make_unique<Part>(hash_.seed));
}

int StateTable::cell_of(const Name& name) const {
  for (uint32_t i = 0; i < kCellsMax; ++i)
    if (cells_[i].since != 0 && cells_[i].name == name) return static_cast<int>(i);
  return -1;
}

Result<uint8_t> StateTable::take_cell(const Name& name, uint32_t version) {
  if (const int known = cell_of(name); known >= 0) return static_cast<uint8_t>(known);
  for (uint32_t i = 0; i < kCellsMax; ++i) {
    Cell& cell = cells_[i];
    std::erase_if(cell.users, [](const auto& user) { return user.expired(); });
    if (!cell.users.empty()) continue;
    cell.name = name;
    cell.since = version;
    return static_cast<uint8_t>(i);
  }
  return Error{StatusCode::kFailedPrecondition,
               "state of one scope has more than 16 fields, with those that calls in flight still use; apply again when they have ended"};
}

Result<std::shared_ptr<const CellMap>> StateTable::map(const std::string& source, const std::vector<StateFieldSpec>& fields,
                                                       const std::vector<uint64_t>& initials, const std::vector<Name>& old) {
  auto made = std::make_shared<CellMap>();
  const bool same = version_ != 0 && source_ == source &&
                    std::all_of(fields.begin(), fields.end(), [&](const auto& field) {
                      const int cell = cell_of({field.name, field.type});
                      return cell >= 0 && cells_[static_cast<size_t>(cell)].since <= version_;
                    });
  made->version = same ? version_ : version_ + 1;
  std::vector<uint8_t> used;
  for (const Name& name : old) {  // first, so that what upgrade reads is not given away
    const int cell = cell_of(name);
    made->old.push_back(static_cast<uint8_t>(cell < 0 ? kZeroCell : cell));
    if (cell >= 0) cells_[static_cast<size_t>(cell)].users.push_back(made), used.push_back(static_cast<uint8_t>(cell));
  }
  for (size_t i = 0; i < fields.size(); ++i) {
    const auto cell = take_cell({fields[i].name, fields[i].type}, made->version);
    if (!cell) return cell.error();
    cells_[*cell].users.push_back(made);
    made->fields.push_back({*cell, cells_[*cell].since, initials[i]});
  }
  version_ = made->version;
  source_ = source;
  return std::shared_ptr<const CellMap>(std::move(made));
}

StateTable::Row* StateTable::pin(std::string_view key) {
  const size_t hash = hash_(key);
  Part& part = *parts_[(hash >> 40) % parts_.size()];
  std::unique_lock lock(part.mutex, std::defer_lock);
  if (concurrent_) lock.lock();
  Row* row = find_or_make(part, key);
  row->used.store(true, std::memory_order_relaxed);
  count(row->pins, 1);
  return row;
}

StateTable::Row* StateTable::find_or_make(Part& part, std::string_view key) {
  if (const auto known = part.by_key.find(key); known != part.by_key.end()) return known->second;
  if (part.rows.size() >= part_rows_max_) evict_one(part);
  auto made = std::make_unique<Row>();
  made->key = key;
  Row* row = made.get();
  part.by_key.emplace(row->key, row);
  part.rows.push_back(std::move(made));
  rows_.fetch_add(1, std::memory_order_relaxed);
  return row;
}

// A bounded look around the clock; when all that it meets is held or in use, the table grows by the rows that are held.
void StateTable::evict_one(Part& part) {
  constexpr size_t kLooks = 256;
  for (size_t i = 0; i < std::min(kLooks, 2 * part.rows.size()); ++i) {
    part.hand = (part.hand + 1) % part.rows.size();
    Row& row = *part.rows[part.hand];
    if (row.pins.load(std::memory_order_acquire) != 0) continue;
    const bool second_chance = row.used.exchange(false, std::memory_order_relaxed) && i + 1 < kLooks;
    if (second_chance) continue;
    part.by_key.erase(row.key);
    std::swap(part.rows[part.hand], part.rows.back());
    part.rows.pop_back();
    rows_.fetch_sub(1, std::memory_order_relaxed);
    evicted_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
}

void StateTable::take(Row& row) {
  if (!concurrent_) return;
  for (uint32_t spins = 0; row.taken.exchange(1, std::memory_order_acquire) != 0; ++spins) {
    if (spins < kSpins) _mm_pause();
    else ::sched_yield();  // its taker may have lost its core
  }
}

void StateTable::release(Row& row) {
  if (concurrent_) row.taken.store(0, std::memory_order_release);
}

std::vector<StateTable::SavedRow> StateTable::save(size_t from, size_t count) {
  std::vector<SavedRow> saved;
  for (const auto& part : parts_) {
    const std::lock_guard lock(part->mutex);
    const size_t skipped = std::min(from, part->rows.size());
    from -= skipped;
    for (size_t at = skipped; at < part->rows.size() && count > 0; ++at, --count) {
      Row* row = part->rows[at].get();
      if (row->version == 0) continue;
      SavedRow& out = saved.emplace_back(SavedRow{row->key, {}});
      take(*row);
      for (uint32_t i = 0; i < kCellsMax; ++i)
        if (cells_[i].since != 0 && cells_[i].since <= row->version) out.cells.push_back({cells_[i].name.field, cells_[i].name.type, row->cells[i]});
      release(*row);
    }
  }
  return saved;
}

void StateTable::restore(const CellMap& map, const std::vector<StateFieldSpec>& fields, const SavedRow& saved, bool adds) {
  const RowPin pin(*this, saved.key);
  Row& row = *pin.get();
  take(row);
  for (size_t i = 0; i < map.fields.size(); ++i) {
    uint64_t& cell = row.cells[map.fields[i].cell];
    if (!adds || row.version != map.version) cell = map.fields[i].initial;
    for (const SavedCell& from : saved.cells)
      if (from.field == fields[i].name && from.type == fields[i].type) cell = adds ? sum(from.type, cell, from.bits) : from.bits;
  }
  row.version = map.version;
  release(row);
}

}  // namespace mrpc::dataplane
