// How long a method's calls have taken lately, and so when it pays to poll for the reply of the next one.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace mrpc::stub {

// When to poll, counted from the call's start: until `first_ns`, and between `from_ns` and `until_ns`. In between the reply is so surely
// not due that the core may go idle; after that the guess was wrong, and the caller sleeps until it is woken.
struct PollPlan {
  uint64_t first_ns = 0, from_ns = 0, until_ns = 0;

  PollPlan counted_from(uint64_t ns) const { return {ns + first_ns, ns + from_ns, ns + until_ns}; }
};

class RoundTrip {
 public:
  // `early`: the reply came before the caller polled for it, and `took_ns` holds the wake-ups of halted cores, which a caller that polls does
  // not see. What is far from the mean counts as if it were nearer: one hiccup must not stop the polling. Threads may race here and lose an
  // update: it is an estimate.
  void record(uint64_t took_ns, bool early) {
    const auto took = static_cast<int64_t>(early ? took_ns - std::min(took_ns / 2, kWakesNs) : took_ns);
    const int64_t mean = mean_ns_.load(std::memory_order_relaxed), deviation = deviation_ns_.load(std::memory_order_relaxed);
    if (mean == 0) {
      mean_ns_.store(took, std::memory_order_relaxed);
      return;
    }
    const int64_t bound = 3 * deviation + kStepNs, error = std::clamp(took - mean, -bound, bound);
    mean_ns_.store(mean + error / 8, std::memory_order_relaxed);
    deviation_ns_.store(deviation + ((error < 0 ? -error : error) - deviation) / 8, std::memory_order_relaxed);
  }

  // Polls for about `cap_ns` at most, and not at all when that would most likely end in sleeping all the same, or when nothing has come for
  // long before the call, `quiet_ns`: daemon and server then sleep, and the kernel wakes them on the caller's own core, behind a caller that polls.
  PollPlan plan(uint64_t cap_ns, uint64_t quiet_ns) const {
    const auto mean = static_cast<uint64_t>(mean_ns_.load(std::memory_order_relaxed));
    const auto deviation = static_cast<uint64_t>(deviation_ns_.load(std::memory_order_relaxed));
    if (cap_ns == 0 || quiet_ns > kRareNs) return {};
    if (mean == 0) return {0, 0, cap_ns / 4};
    const uint64_t around = std::min(2 * deviation, cap_ns / 2), lead = around + kRiseNs;
    if (mean < lead + kFirstNs + kNapMinNs) return {0, 0, mean > cap_ns ? 0 : std::min(mean + 2 * deviation, cap_ns)};
    if (deviation > cap_ns / 2) return {};
    return {kFirstNs, mean - lead, mean + around};
  }

 private:
  static constexpr uint64_t kWakesNs = 100'000;  // of daemon and caller
  static constexpr uint64_t kRareNs = 200'000;
  static constexpr int64_t kStepNs = 25'000;
  static constexpr uint64_t kFirstNs = 20'000;   // until the call is with its server: a core that goes idle sooner draws it there, and has to wake up
  static constexpr uint64_t kRiseNs = 60'000;    // how late a timer wakes a halted core, at most
  static constexpr uint64_t kNapMinNs = 40'000;

  std::atomic<int64_t> mean_ns_{0}, deviation_ns_{0};
};

}  // namespace mrpc::stub
