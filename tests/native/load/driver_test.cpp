#include "load/driver.h"

#include <doctest/doctest.h>
#include <sys/epoll.h>

#include <functional>

#include "load/clock.h"

using namespace mrpc;
using namespace mrpc::load;

namespace {

// Ends calls in the turn after they were sent, by a rule.
class FakeTarget final : public Target {
 public:
  using Rule = std::function<Code(uint64_t nth)>;  // 0: never ends
  FakeTarget(Sink& sink, size_t room, Rule rule) : sink_(sink), room_(room), rule_(std::move(rule)) {}

  uint32_t request_count() const override { return 10; }
  bool can_send() const override { return open_ < room_; }
  void send(uint32_t call, uint32_t request) override {
    requests.push_back(request);
    open_ += 1;
    if (const Code code = rule_(requests.size() - 1)) due_.push_back({call, code});
  }
  void cancel(uint32_t) override { open_ -= 1; }
  void on_event(uint64_t, uint32_t) override {}
  bool turn() override {
    std::vector<std::pair<uint32_t, Code>> due;
    due.swap(due_);
    for (const auto& [call, code] : due) {
      open_ -= 1;
      sink_.complete(call, code, "");
    }
    return false;
  }

  std::vector<uint32_t> requests;

 private:
  Sink& sink_;
  size_t room_, open_ = 0;
  Rule rule_;
  std::vector<std::pair<uint32_t, Code>> due_;
};

constexpr Code kOk = code_of(StatusCode::kOk);

struct Run {
  explicit Run(Options o, size_t room, FakeTarget::Rule rule)
      : options(std::move(o)), driver(options, 0, monotonic_ns(), progress, Fd(epoll_create1(0))) {
    auto made = std::make_unique<FakeTarget>(driver, room, std::move(rule));
    target = made.get();
    driver.use(std::move(made));
    account = driver.run();
  }
  Options options;
  Progress progress;
  Driver driver;
  FakeTarget* target;
  Account account;
};

Options open_loop(double rate, uint64_t count) {
  Options o;
  o.rate = rate;
  o.count = count;
  o.warmup_s = 0;
  o.drain_s = 10;  // a run ends when all has been answered, however busy the machine is
  return o;
}

}  // namespace

TEST_CASE("open loop sends what was planned, once") {
  const Run run(open_loop(20'000, 400), 100, [](uint64_t) { return kOk; });
  CHECK(run.account.planned == 400);
  CHECK(run.account.sent == 400);
  CHECK(run.account.completed == 400);
  CHECK(run.account.codes[kOk] == 400);
  CHECK(run.account.corrected.count() == 400);
  CHECK(run.account.skipped + run.account.unfinished == 0);
}

TEST_CASE("the warm-up is sent but not counted") {
  Options o = open_loop(10'000, 100);
  o.warmup_s = 0.01;
  const Run run(o, 100, [](uint64_t) { return kOk; });
  CHECK(run.account.warmup == 100);
  CHECK(run.account.planned == 100);
  CHECK(run.account.codes[kOk] == 100);
  CHECK(run.target->requests.size() == 200);
}

TEST_CASE("calls that a stalled target never took stay in the account, with their age") {
  Options o = open_loop(10'000, 50);
  o.drain_s = 0.02;
  const Run run(o, 1, [](uint64_t) -> Code { return 0; });
  CHECK(run.account.planned == 50);
  CHECK(run.account.sent == 1);
  CHECK(run.account.unfinished == 1);
  CHECK(run.account.skipped == 49);
  CHECK(run.account.corrected.count() == 50);
  CHECK(run.account.uncorrected.count() == 1);
  CHECK(run.account.corrected.least() >= 20'000'000);  // at least the drain
}

TEST_CASE("a call without a reply ends at its timeout and is counted at that latency") {
  Options o = open_loop(10'000, 20);
  o.timeout_s = 0.005;
  const Run run(o, 100, [](uint64_t) -> Code { return 0; });
  CHECK(run.account.codes[code_of(StatusCode::kDeadlineExceeded)] == 20);
  CHECK(run.account.uncorrected.least() >= 5'000'000);
  CHECK(run.account.unfinished == 0);
}

TEST_CASE("failures are counted by status and kept out of the latencies") {
  const Run run(open_loop(10'000, 100), 100, [](uint64_t i) -> Code { return i % 2 ? kOk : code_of(StatusCode::kUnavailable); });
  CHECK(run.account.codes[kOk] == 50);
  CHECK(run.account.codes[code_of(StatusCode::kUnavailable)] == 50);
  CHECK(run.account.corrected.count() == 50);
  CHECK(run.account.failed.count() == 50);
  CHECK(run.account.errors.at("status Unavailable") == 50);
}

TEST_CASE("closed loop keeps its number in flight") {
  Options o;
  o.closed = 8;
  o.count = 100;
  o.warmup_s = 0;
  const Run run(o, 100, [](uint64_t) { return kOk; });
  CHECK(run.account.sent == 100);
  CHECK(run.account.completed == 100);
  CHECK(run.account.in_flight_peak == 8);
  CHECK(run.account.late == 0);
}

TEST_CASE("requests are drawn by the seed") {
  auto drawn = [](uint64_t seed) {
    Options o = open_loop(20'000, 100);
    o.seed = seed;
    return Run(o, 100, [](uint64_t) { return kOk; }).target->requests;
  };
  CHECK(drawn(1) == drawn(1));
  CHECK(drawn(1) != drawn(2));
}
