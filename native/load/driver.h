// One thread of load: sends calls by the schedule, whatever the replies do, and keeps the account.
//
// Open loop: call i is due at Schedule::at(i). A call that cannot be sent then (connections busy, in_flight_max reached, this
// thread late) is sent as soon as it can be, in order; its corrected latency counts from when it was due, its uncorrected one
// from when it was sent. Calls that were never sent by the end of the drain, and calls that no reply came for, stay in the
// account: as skipped and unfinished, with the age they had reached, because leaving them out would hide the worst.
// Closed loop: a fixed number in flight; the next call is due when one ends, so the two latencies are one.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/fd.h"
#include "load/histogram.h"
#include "load/options.h"
#include "load/schedule.h"
#include "load/target.h"

namespace mrpc::load {

// What one thread, or all of them merged, measured. The warm-up is in none of it but `warmup`.
struct Account {
  uint64_t planned = 0;     // calls due within the measured time
  uint64_t sent = 0;
  uint64_t completed = 0;   // ended by the target, whatever their status
  uint64_t late = 0;        // sent more than late_us after they were due
  uint64_t skipped = 0;     // never sent
  uint64_t unfinished = 0;  // sent, still open at the end of the drain
  uint64_t warmup = 0;      // calls of the warm-up
  uint64_t in_flight_peak = 0;
  uint64_t backlog_peak = 0;  // calls due and waiting
  uint64_t measured_ns = 0;   // from the end of the warm-up to the last completion
  uint64_t cpu_ns = 0;        // of the generator's threads, over the measured time
  std::array<uint64_t, kCodes> codes{};
  std::map<std::string, uint64_t> errors;
  Histogram corrected;    // successes, and calls that ran out of time
  Histogram uncorrected;  // the same calls
  Histogram failed;       // the rest, from when they were due
  Histogram timer_error;  // how late sleeps ended

  void merge(const Account& other);
};

// Seen by the thread that reports progress.
struct Progress {
  std::atomic<uint64_t> due{0}, sent{0}, completed{0};
};

class Driver final : public Sink {
 public:
  // Errors: the target's; kResourceExhausted (descriptors).
  static Result<std::unique_ptr<Driver>> create(const Options& options, uint32_t thread, uint64_t start_ns, Progress& progress,
                                                MakeTarget make_target);
  // Without a target as yet: use() gives it one.
  Driver(const Options& options, uint32_t thread, uint64_t start_ns, Progress& progress, Fd epoll_fd);
  void use(std::unique_ptr<Target> target) { target_ = std::move(target); }

  Account run();
  void complete(uint32_t call, Code code, std::string_view error) override;

 private:
  struct Call {
    uint64_t due_ns = 0, sent_ns = 0;
    uint64_t serial = 0;  // tells a call from an earlier one of the same number
    bool open = false, measured = false;
  };
  struct Deadline { uint64_t at_ns; uint32_t call; uint64_t serial; };

  bool finished(uint64_t now) const;
  uint64_t due_now(uint64_t now) const;
  void send_due(uint64_t now);
  void send_one(uint64_t due_ns, bool measured, uint64_t now);
  void end_call(Call& call, Code code, std::string_view error, uint64_t now);
  void expire(uint64_t now);
  void settle();
  void begin_measuring(uint64_t now);
  uint64_t next_wake(uint64_t now) const;
  void wait();

  const Options& options_;
  Progress& progress_;
  const Fd epoll_fd_;
  std::unique_ptr<Target> target_;
  std::optional<Schedule> schedule_;  // open loop
  const uint64_t start_ns_, measure_ns_, end_ns_, timeout_ns_;
  uint64_t warmup_calls_ = 0, total_calls_ = 0;
  uint64_t next_ = 0;  // first call that was not sent yet
  uint64_t serial_ = 0, ended_ = 0;
  uint64_t cpu_before_ns_ = 0, last_end_ns_ = 0;
  bool measuring_ = false;
  std::vector<Call> calls_;
  std::vector<uint32_t> free_;
  std::deque<Deadline> deadlines_;
  std::mt19937_64 random_;
  Account account_;
};

}  // namespace mrpc::load
