#include "load/driver.h"

#include <sys/epoll.h>

#include <algorithm>

#include "load/clock.h"

namespace mrpc::load {
namespace {

constexpr uint64_t kSpinNs = 50'000;       // how much of a wait --spin burns
constexpr uint64_t kWaitMaxNs = 100'000'000;
constexpr size_t kErrorKindsMax = 64;      // texts come from the target: a hostile one must not fill memory

uint64_t closed_total(const Options& o, uint32_t thread) {
  if (o.count == 0) return UINT64_MAX;
  return o.count / o.threads + (thread < o.count % o.threads ? 1 : 0);
}

uint32_t closed_share(const Options& o, uint32_t thread) { return o.closed / o.threads + (thread < o.closed % o.threads ? 1 : 0); }

}  // namespace

void Account::merge(const Account& other) {
  planned += other.planned;
  sent += other.sent;
  completed += other.completed;
  late += other.late;
  skipped += other.skipped;
  unfinished += other.unfinished;
  warmup += other.warmup;
  in_flight_peak += other.in_flight_peak;
  backlog_peak += other.backlog_peak;
  measured_ns = std::max(measured_ns, other.measured_ns);
  cpu_ns += other.cpu_ns;
  for (size_t i = 0; i < codes.size(); ++i) codes[i] += other.codes[i];
  for (const auto& [text, count] : other.errors) errors[text] += count;
  corrected.merge(other.corrected);
  uncorrected.merge(other.uncorrected);
  failed.merge(other.failed);
  timer_error.merge(other.timer_error);
}

Result<std::unique_ptr<Driver>> Driver::create(const Options& options, uint32_t thread, uint64_t start_ns, Progress& progress,
                                               MakeTarget make_target) {
  Fd epoll_fd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_fd) return resource_exhausted("epoll_create1 failed: raise the limit on open files (ulimit -n)");
  const int fd = epoll_fd.get();
  auto driver = std::make_unique<Driver>(options, thread, start_ns, progress, std::move(epoll_fd));
  auto target = make_target(options, fd, *driver);
  if (!target) return target.error();
  driver->use(std::move(target).value());
  return driver;
}

Driver::Driver(const Options& options, uint32_t thread, uint64_t start_ns, Progress& progress, Fd epoll_fd)
    : options_(options), progress_(progress), epoll_fd_(std::move(epoll_fd)), start_ns_(start_ns),
      measure_ns_(start_ns + seconds_to_ns(options.warmup_s)),
      end_ns_(options.count ? UINT64_MAX : measure_ns_ + seconds_to_ns(options.duration_s)),
      timeout_ns_(seconds_to_ns(options.timeout_s)), random_(options.seed + thread) {
  const uint32_t slots = options.closed ? closed_share(options, thread) : options.in_flight_max;
  calls_.resize(slots);
  for (uint32_t i = slots; i > 0; --i) free_.push_back(i - 1);
  if (options.closed) {
    total_calls_ = slots ? closed_total(options, thread) : 0;
    return;
  }
  schedule_.emplace(options.rate, thread, options.threads);
  warmup_calls_ = schedule_->calls_in(measure_ns_ - start_ns_);
  total_calls_ = options.count ? warmup_calls_ + schedule_->share(options.count) : schedule_->calls_in(end_ns_ - start_ns_);
}

Account Driver::run() {
  for (uint64_t now = monotonic_ns(); !finished(now); now = monotonic_ns()) {
    if (!measuring_ && now >= measure_ns_) begin_measuring(now);
    send_due(now);
    const uint64_t ended = ended_;
    expire(now);
    const bool more = target_->turn();
    if (!more && ended_ == ended) wait();  // a call that ended may have made room for the next
  }
  settle();
  return std::move(account_);
}

void Driver::begin_measuring(uint64_t now) {
  measuring_ = true;
  last_end_ns_ = now;
  cpu_before_ns_ = thread_cpu_ns();
  account_.warmup = schedule_ ? warmup_calls_ : next_;
}

bool Driver::finished(uint64_t now) const {
  const bool idle = free_.size() == calls_.size();
  if (options_.closed) {
    if (now < end_ns_ && account_.planned < total_calls_) return false;
    return idle || (end_ns_ != UINT64_MAX && now >= end_ns_ + seconds_to_ns(options_.drain_s));
  }
  if (next_ == total_calls_ && idle) return now >= measure_ns_;
  const uint64_t end = total_calls_ ? start_ns_ + schedule_->at(total_calls_ - 1) : measure_ns_;
  return now >= end + seconds_to_ns(options_.drain_s);
}

uint64_t Driver::due_now(uint64_t now) const {
  return std::min(schedule_->due(now - start_ns_), total_calls_);
}

void Driver::send_due(uint64_t now) {
  if (now < start_ns_) return;
  if (options_.closed) {
    while (now < end_ns_ && account_.planned < total_calls_ && !free_.empty() && target_->can_send()) send_one(now, measuring_, now);
    return;
  }
  const uint64_t due = due_now(now);
  progress_.due.store(due, std::memory_order_relaxed);
  while (next_ < due && !free_.empty() && target_->can_send()) {
    send_one(start_ns_ + schedule_->at(next_), next_ >= warmup_calls_, now);
    now = monotonic_ns();
  }
  account_.backlog_peak = std::max(account_.backlog_peak, due - next_);
}

void Driver::send_one(uint64_t due_ns, bool measured, uint64_t now) {
  const uint32_t number = free_.back();
  free_.pop_back();
  calls_[number] = {due_ns, now, ++serial_, true, measured};
  deadlines_.push_back({now + timeout_ns_, number, serial_});
  next_ += 1;
  if (measured) {
    account_.planned += 1;
    account_.sent += 1;
    if (now - due_ns > options_.late_us * 1000) account_.late += 1;
  }
  account_.in_flight_peak = std::max<uint64_t>(account_.in_flight_peak, calls_.size() - free_.size());
  progress_.sent.store(next_, std::memory_order_relaxed);
  target_->send(number, static_cast<uint32_t>(random_() % target_->request_count()));
}

void Driver::complete(uint32_t number, Code code, std::string_view error) {
  MRPC_ASSERT(number < calls_.size() && calls_[number].open);
  const uint64_t now = monotonic_ns();
  if (calls_[number].measured) account_.completed += 1;
  end_call(calls_[number], code, error, now);
  free_.push_back(number);
}

void Driver::end_call(Call& call, Code code, std::string_view error, uint64_t now) {
  call.open = false;
  ended_ += 1;
  progress_.completed.fetch_add(1, std::memory_order_relaxed);
  if (!call.measured) return;
  last_end_ns_ = now;
  account_.codes[code] += 1;
  if (is_success(code) || code == code_of(StatusCode::kDeadlineExceeded)) {
    account_.corrected.record(now - call.due_ns);
    account_.uncorrected.record(now - call.sent_ns);
  } else {
    account_.failed.record(now - call.due_ns);
  }
  if (is_success(code)) return;
  const std::string text = error.empty() ? "status " + code_label(code) : std::string(error);
  const bool room = account_.errors.size() < kErrorKindsMax || account_.errors.contains(text);
  account_.errors[room ? text : "(further errors)"] += 1;
}

void Driver::expire(uint64_t now) {
  while (!deadlines_.empty()) {
    const Deadline front = deadlines_.front();
    Call& call = calls_[front.call];
    const bool live = call.open && call.serial == front.serial;
    if (live && front.at_ns > now) return;
    deadlines_.pop_front();
    if (!live) continue;
    target_->cancel(front.call);
    complete(front.call, code_of(StatusCode::kDeadlineExceeded), "no reply within --timeout");
  }
}

// What never came to an end is counted at the age that it reached.
void Driver::settle() {
  const uint64_t now = monotonic_ns();
  account_.cpu_ns = thread_cpu_ns() - cpu_before_ns_;
  if (last_end_ns_ > measure_ns_) account_.measured_ns = last_end_ns_ - measure_ns_;
  for (uint32_t i = 0; i < calls_.size(); ++i) {
    if (!calls_[i].open) continue;
    target_->cancel(i);
    if (calls_[i].measured) account_.unfinished += 1;
    end_call(calls_[i], code_of(StatusCode::kDeadlineExceeded), "unfinished at the end of the run", now);
  }
  if (!schedule_) return;
  for (; next_ < total_calls_; ++next_) {
    if (next_ < warmup_calls_) continue;
    account_.planned += 1;
    account_.skipped += 1;
    account_.corrected.record(now - (start_ns_ + schedule_->at(next_)));
  }
}

uint64_t Driver::next_wake(uint64_t now) const {
  uint64_t wake = now + kWaitMaxNs;
  if (!deadlines_.empty()) wake = std::min(wake, deadlines_.front().at_ns);
  if (!measuring_) wake = std::min(wake, now < start_ns_ ? start_ns_ : measure_ns_);
  const bool room = !free_.empty() && target_->can_send();
  if (schedule_ && next_ < total_calls_ && room) wake = std::min(wake, start_ns_ + schedule_->at(next_));
  if (options_.closed) wake = std::min(wake, end_ns_);
  return wake;
}

void Driver::wait() {
  const uint64_t now = monotonic_ns();
  const uint64_t wake = next_wake(now);
  uint64_t sleep_ns = wake > now ? wake - now : 0;
  if (options_.spin) sleep_ns = sleep_ns > kSpinNs ? sleep_ns - kSpinNs : 0;
  const timespec timeout{static_cast<time_t>(sleep_ns / 1'000'000'000), static_cast<long>(sleep_ns % 1'000'000'000)};
  epoll_event events[64];
  const int n = epoll_pwait2(epoll_fd_.get(), events, 64, &timeout, nullptr);
  if (n == 0 && measuring_ && sleep_ns > 0) account_.timer_error.record(monotonic_ns() - now - sleep_ns);
  for (int i = 0; i < n; ++i) target_->on_event(events[i].data.u64, events[i].events);
}

}  // namespace mrpc::load
