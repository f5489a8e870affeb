// When each call of a constant-rate run should be sent. Pure arithmetic: no drift, and the backlog of a stalled run is a
// difference of two counts, so that a stall of any length costs no memory and loses no call.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/assert.h"

namespace mrpc::load {

class Schedule {
 public:
  // `rate` calls a second in all, dealt in turn to `threads` schedules of which this is number `thread`.
  Schedule(double rate, uint32_t thread, uint32_t threads)
      : rate_uhz_(static_cast<uint64_t>(std::llround(rate * 1e6))), thread_(thread), threads_(threads) {
    MRPC_ASSERT(rate_uhz_ > 0 && thread < threads);
  }

  // Nanoseconds after the start at which this thread's call number `i` should be sent.
  uint64_t at(uint64_t i) const {
    const Wide call = Wide{i} * threads_ + thread_;
    return static_cast<uint64_t>(call * kScale / rate_uhz_);
  }

  // How many of this thread's calls should have been sent `elapsed_ns` after the start: the least n with at(n) > elapsed_ns.
  uint64_t due(uint64_t elapsed_ns) const { return due_before(Wide{elapsed_ns} + 1); }
  // The same without the calls of that very instant: how many of this thread's calls belong to [0, end_ns).
  uint64_t calls_in(uint64_t end_ns) const { return due_before(end_ns); }

  // This thread's part of `count` calls in all.
  uint64_t share(uint64_t count) const { return count > thread_ ? (count - thread_ + threads_ - 1) / threads_ : 0; }

 private:
  using Wide = unsigned __int128;
  static constexpr Wide kScale = Wide{1'000'000'000} * 1'000'000;  // nanoseconds a second x micro-calls a call

  uint64_t due_before(Wide end_ns) const {
    // floor(i * scale / rate) < end  <=>  i < end * rate / scale
    const Wide all = (end_ns * rate_uhz_ + kScale - 1) / kScale;
    return share(static_cast<uint64_t>(all));
  }

  uint64_t rate_uhz_;
  uint32_t thread_, threads_;
};

}  // namespace mrpc::load
