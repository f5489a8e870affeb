// Futexes on shared words. Waiting and waking need no write access to the word.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace mrpc::shm {

constexpr uint32_t kFirstBit = 1;  // of a waiter's bits; who waits for any has it, too

// Sleeps while *word == expected, at most `timeout_ns` (UINT64_MAX: for ever). Returns early now and then: look again.
inline void futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, uint64_t timeout_ns) {
  timespec span{static_cast<time_t>(timeout_ns / 1'000'000'000ull), static_cast<long>(timeout_ns % 1'000'000'000ull)};
  ::syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns == UINT64_MAX ? nullptr : &span, nullptr, 0);
}

inline void futex_wake(const std::atomic<uint32_t>* word, int count) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

// As futex_wait(). Of those that sleep on one word, futex_wake_one() wakes who sleeps as `first` before the others.
inline void futex_wait_first(const std::atomic<uint32_t>* word, uint32_t expected, uint64_t timeout_ns, bool first) {
  timespec until{};
  if (timeout_ns != UINT64_MAX) {
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    const uint64_t at_ns = static_cast<uint64_t>(until.tv_sec) * 1'000'000'000ull + static_cast<uint64_t>(until.tv_nsec) + timeout_ns;
    until = {static_cast<time_t>(at_ns / 1'000'000'000ull), static_cast<long>(at_ns % 1'000'000'000ull)};
  }
  ::syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, timeout_ns == UINT64_MAX ? nullptr : &until, nullptr, first ? kFirstBit : ~kFirstBit);
}

// One of those that sleep on `word`: of equals, the one that has slept longest.
inline void futex_wake_one(const std::atomic<uint32_t>* word) {
  if (::syscall(SYS_futex, word, FUTEX_WAKE_BITSET, 1, nullptr, nullptr, kFirstBit) < 1) futex_wake(word, 1);
}

inline void cpu_relax() { __builtin_ia32_pause(); }

}  // namespace mrpc::shm
