// Waiting of ClientSession: who leads polls while a reply is likely, and sleeps otherwise; who follows sleeps at once.
#pragma once

#include "stub/client_session.h"

namespace mrpc::stub {

constexpr size_t kPollSlotsMax = 64;

template <typename Ready>
WaitOutcome ClientSession::wait_until(WaitPoint& point, const PollPlan& plan, const Ready& ready, const InterruptFn& interrupt) {
  while (!ready()) {
    Demux::Waiter waiter{point};
    bool leads = demux_.enter(waiter);
    bool undisturbed = true;
    if (!leads) {
      undisturbed = follow(waiter, ready, interrupt);
      leads = demux_.withdraw(waiter);
    }
    if (leads) {
      begin_lead();
      if (undisturbed) undisturbed = lead(plan, ready, interrupt);
      resign();
    }
    if (!undisturbed) return WaitOutcome::kInterrupted;
  }
  return WaitOutcome::kReady;
}

// False: interrupted.
template <typename Ready>
bool ClientSession::follow(Demux::Waiter& waiter, const Ready& ready, const InterruptFn& interrupt) {
  const uint64_t slice_ns = policy_.slice_ms * 1'000'000ull;
  for (;;) {
    const uint32_t seen = waiter.point.sequence();
    if (ready() || waiter.leads.load(std::memory_order_acquire)) return true;
    waiter.point.sleep(seen, interrupt ? slice_ns : UINT64_MAX);
    if (interrupt && waiter.point.sequence() == seen && interrupt()) return false;
  }
}

template <typename Ready>
bool ClientSession::lead(const PollPlan& plan, const Ready& ready, const InterruptFn& interrupt) {
  const uint64_t slice_ns = policy_.slice_ms * 1'000'000ull;
  uint64_t now = now_ns();
  uint64_t looked_ns = now, until_ns = plan.until_ns;
  too_early_ = false;
  while (!ready()) {
    const bool got = poll(kPollSlotsMax) != 0;
    if (ready()) break;
    now = now_ns();
    if (got) until_ns = std::max(until_ns, now + plan.until_ns - plan.from_ns);
    if (now - looked_ns >= slice_ns) {
      looked_ns = now;
      on_loss_check(now);
      if (interrupt && interrupt()) return false;
    }
    if (got) continue;
    const bool naps = now >= plan.first_ns && now < plan.from_ns;
    too_early_ = naps;
    if (!naps && now < until_ns && watch(now < plan.from_ns ? plan.first_ns : until_ns)) continue;
    const PreciseTimers precise(naps);
    attachment_->sleep(naps ? std::min(plan.from_ns - now, slice_ns) : slice_ns, ready);
  }
  return true;
}

}  // namespace mrpc::stub
