// Futexes on shared words. Waiting and waking need no write access to the word.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace mrpc::shm {

// Sleeps while *word == expected, at most `timeout_ns` (UINT64_MAX: for ever). Returns early now and then: look again.
inline void futex_wait(const std::atomic<uint32_t>* word, uint32_t expected, uint64_t timeout_ns) {
  timespec span{static_cast<time_t>(timeout_ns / 1'000'000'000ull), static_cast<long>(timeout_ns % 1'000'000'000ull)};
  ::syscall(SYS_futex, word, FUTEX_WAIT, expected, timeout_ns == UINT64_MAX ? nullptr : &span, nullptr, 0);
}

inline void futex_wake(const std::atomic<uint32_t>* word, int count) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

inline void cpu_relax() { __builtin_ia32_pause(); }

}  // namespace mrpc::shm
