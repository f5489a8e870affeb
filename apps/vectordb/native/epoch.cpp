#include "epoch.h"

#include <thread>

namespace curator {

void Epochs::drop_all() {
  for (const Retired& item : retired_) item.drop(item.owner, item.what);
  retired_.clear();
}

// A thread begins at the cell where it was last; with more readers than cells, some wait for a reader to leave.
std::atomic<uint64_t>* Epochs::enter() {
  static thread_local size_t hint = std::hash<std::thread::id>{}(std::this_thread::get_id());
  for (size_t tries = 1;; ++tries) {
    std::atomic<uint64_t>& cell = cells_[hint % kCells].epoch;
    uint64_t idle = kIdle;
    if (cell.compare_exchange_strong(idle, now_.load(std::memory_order_seq_cst), std::memory_order_seq_cst)) return &cell;
    ++hint;
    if (tries % kCells == 0) std::this_thread::yield();
  }
}

uint64_t Epochs::oldest() const {
  uint64_t oldest = UINT64_MAX;
  for (const Cell& cell : cells_) {
    const uint64_t epoch = cell.epoch.load(std::memory_order_seq_cst);
    if (epoch != kIdle && epoch < oldest) oldest = epoch;
  }
  return oldest;
}

void Epochs::advance() { now_.fetch_add(1, std::memory_order_seq_cst); }

void Epochs::reclaim() {
  if (retired_.empty()) return;
  const uint64_t limit = std::min(oldest(), now_.load(std::memory_order_relaxed));
  while (!retired_.empty() && retired_.front().epoch < limit) {
    const Retired item = retired_.front();
    retired_.pop_front();
    item.drop(item.owner, item.what);
  }
}

}  // namespace curator
