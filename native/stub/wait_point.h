// A word that threads of this process sleep on.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/futex.h"
#include "stub/clock.h"

namespace mrpc::stub {

class WaitPoint {
 public:
  uint32_t sequence() const { return word_.load(std::memory_order_acquire); }

  void notify() {
    word_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) != 0) shm::futex_wake(&word_, INT32_MAX);
  }

  // Sleeps unless notify() was called since `seen` was read.
  void sleep(uint32_t seen, uint64_t timeout_ns) {
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    if (word_.load(std::memory_order_seq_cst) == seen) shm::futex_wait(&word_, seen, timeout_ns);
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }

  // Sleeps on this word and on `other` (shared memory) at once.
  void sleep_with(uint32_t seen, const std::atomic<uint32_t>& other, uint32_t other_seen, uint64_t timeout_ns) {
    futex_waitv words[2] = {};
    words[0] = {seen, reinterpret_cast<uintptr_t>(&word_), FUTEX_32, 0};
    words[1] = {other_seen, reinterpret_cast<uintptr_t>(&other), FUTEX_32, 0};
    const uint64_t until = timeout_ns == UINT64_MAX ? 0 : now_ns() + timeout_ns;
    const timespec deadline{static_cast<time_t>(until / 1'000'000'000ull), static_cast<long>(until % 1'000'000'000ull)};
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    ::syscall(SYS_futex_waitv, words, 2, 0, until == 0 ? nullptr : &deadline, CLOCK_MONOTONIC);
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> sleeping_{0};
};

}  // namespace mrpc::stub
