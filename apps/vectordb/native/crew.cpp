#include "crew.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <system_error>

namespace curator {
namespace {

constexpr size_t kHelpersMax = 63;
constexpr int kSpins = 2000;  // some 50 us: a helper has one part left to do, and waking up from a sleep takes longer

}  // namespace

Crew::~Crew() {
  if (::getpid() != process_) {  // the threads are the parent's: neither their handles nor what they wait for may be touched
    (void)hands_.release();
    return;
  }
  {
    const std::lock_guard lock(hands_->mutex);
    hands_->ends = true;
  }
  hands_->offered.notify_all();
  for (std::thread& helper : hands_->helpers) helper.join();
}

void Crew::run(Work& work, size_t threads) {
  const bool offered = threads > 1 && offer(work, std::min(threads - 1, kHelpersMax));
  take_part(work);
  if (offered) withdraw(work);
  if (work.failed) std::rethrow_exception(work.failed);
}

// False: the helpers have other work. The lock is not waited for: in a forked child it may never be released.
bool Crew::offer(Work& work, size_t helpers) {
  const std::unique_lock lock(hands_->mutex, std::try_to_lock);
  if (!lock || hands_->work != nullptr) return false;
  try {
    for (; hands_->helpers.size() < helpers; hands_->kept_off = -1) hands_->helpers.emplace_back([this] { help(); });
  } catch (const std::system_error&) {
    helpers = hands_->helpers.size();  // as many as the system lets us have
  }
  if (const int cpu = ::sched_getcpu(); cpu != hands_->kept_off) keep_off(cpu);
  hands_->work = &work;
  hands_->wanted = helpers;
  for (size_t i = 0; i < helpers; ++i) hands_->offered.notify_one();
  return true;
}

// The caller's own: on a virtual machine the kernel takes a halted processor for one that the host has taken away, and puts whoever it wakes behind
// the caller, until that is done.
void Crew::keep_off(int cpu) {
  cpu_set_t others;
  if (cpu < 0 || ::sched_getaffinity(0, sizeof others, &others) != 0) return;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0) return;
  for (std::thread& helper : hands_->helpers) ::pthread_setaffinity_np(helper.native_handle(), sizeof others, &others);
  hands_->kept_off = cpu;
}

void Crew::withdraw(Work& work) {
  std::unique_lock lock(hands_->mutex);
  hands_->work = nullptr;
  hands_->wanted = 0;
  lock.unlock();
  for (int i = 0; i < kSpins && work.helpers.load(std::memory_order_acquire) > 0; ++i) __builtin_ia32_pause();
  lock.lock();
  hands_->left.wait(lock, [&] { return work.helpers.load(std::memory_order_relaxed) == 0; });
}

void Crew::take_part(Work& work) noexcept {
  try {
    for (size_t i; (i = work.next.fetch_add(1, std::memory_order_relaxed)) < work.count;) work.part(work.of, i);
  } catch (...) {
    work.next.store(work.count, std::memory_order_relaxed);
    const std::lock_guard lock(hands_->mutex);
    work.failed = std::current_exception();
  }
}

void Crew::help() {
  std::unique_lock lock(hands_->mutex);
  for (;;) {
    hands_->offered.wait(lock, [&] { return hands_->ends || hands_->wanted > 0; });
    if (hands_->ends) return;
    Work& work = *hands_->work;
    --hands_->wanted;
    work.helpers.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    take_part(work);
    lock.lock();
    if (work.helpers.fetch_sub(1, std::memory_order_release) == 1) hands_->left.notify_all();
  }
}

}  // namespace curator
