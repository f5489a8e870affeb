// Giving an idle send heap back. Freed pages stay warm, as the next message wants them; but two seconds (AttachOptions::trim_idle_ms) after
// the last block moved, a heap that keeps more than kWarmIdleBytes of them gives all back, a step at a time, so that callers never wait for
// more than one step.
//
// Somebody must look at the clock for that: a server's watcher thread, or else a thread that is started here once there is something to
// give back, and ends when nothing is left. An idle process has no timer running.
#include <system_error>

#include "stub/attachment.h"

namespace mrpc::stub {
namespace {

constexpr uint64_t kWarmIdleBytes = 1ull << 20;
constexpr uint64_t kTrimStepBytes = 4ull << 20;  // about a millisecond of the kernel's work
constexpr uint64_t kTrimPauseNs = 2'000'000;
constexpr uint64_t kLooksPerIdle = 4;  // whether blocks move: so the wait is at most a quarter too long

}  // namespace

Attachment::~Attachment() {
  if (!trimmer_) return;
  if (!here()) {
    (void)trimmer_.release();  // the thread is the parent's: not even its handle may be touched
    return;
  }
  trim_stop_ = true;
  trim_point_.notify();
  trimmer_->join();
}

void Attachment::after_free() {
  ++blocks_moved_;
  if (heap_->wants_trim()) heap_->trim(heap_->warm_limit_bytes());
  if (trim_wanted_ || heap_->warm_bytes() <= kWarmIdleBytes) return;
  trim_wanted_ = true;
  if (on_warm_) on_warm_();
  else start_trimmer();
}

uint64_t Attachment::trim_when_idle() {
  std::lock_guard lock(memory_mutex_);
  if (!trim_wanted_) return UINT64_MAX;
  const uint64_t now = now_ns();
  if (std::exchange(blocks_moved_seen_, blocks_moved_) != blocks_moved_) quiet_since_ns_ = now;
  const uint64_t quiet_ns = now - quiet_since_ns_;
  if (quiet_ns < trim_idle_ns_) return std::min(trim_idle_ns_ - quiet_ns, trim_idle_ns_ / kLooksPerIdle);
  heap_->trim(0, kTrimStepBytes);
  if (heap_->warm_bytes() != 0) return kTrimPauseNs;
  trim_wanted_ = false;
  return UINT64_MAX;
}

void Attachment::start_trimmer() {
  if (trimmer_) trimmer_->join();  // it has nothing left to do but to return
  trimmer_.reset();
  try {
    trimmer_ = std::make_unique<std::thread>([this] { run_trimmer(); });
  } catch (const std::system_error&) {
    trim_wanted_ = false;  // no room for a thread now: the next free tries again
  }
}

void Attachment::run_trimmer() {
  for (;;) {
    const uint32_t seen = trim_point_.sequence();
    if (trim_stop_) return;
    const uint64_t after_ns = trim_when_idle();
    if (after_ns == UINT64_MAX) return;
    trim_point_.sleep(seen, after_ns);
  }
}

}  // namespace mrpc::stub
