#include "stub/round_trip.h"

#include <doctest/doctest.h>

using mrpc::stub::PollPlan;
using mrpc::stub::RoundTrip;

namespace {

constexpr uint64_t kUs = 1000, kCapNs = 200 * kUs;

PollPlan after(uint64_t took_ns, int calls, bool early = false) {
  RoundTrip round_trip;
  for (int i = 0; i < calls; ++i) round_trip.record(took_ns, early);
  return round_trip.plan(kCapNs, 0);
}

}  // namespace

TEST_CASE("short calls are polled for from the start, and nothing is where polling is off") {
  const PollPlan plan = after(10 * kUs, 50);
  CHECK(plan.from_ns == 0);
  CHECK(plan.until_ns >= 10 * kUs);
  CHECK(plan.until_ns <= kCapNs);
  RoundTrip unknown;
  CHECK(unknown.plan(0, 0).until_ns == 0);
}

TEST_CASE("a steady handler's reply is polled for around the time when it is due") {
  for (const uint64_t took : {300 * kUs, 1000 * kUs, 50'000 * kUs}) {
    const PollPlan plan = after(took, 50);
    CHECK(plan.first_ns < plan.from_ns);
    CHECK(plan.from_ns < took);
    CHECK(plan.until_ns >= took);
    CHECK(plan.until_ns - plan.from_ns <= kCapNs + 60 * kUs);
  }
}

TEST_CASE("one hiccup does not stop the polling, an unsteady handler does") {
  RoundTrip round_trip;
  for (int i = 0; i < 50; ++i) round_trip.record(500 * kUs, false);
  round_trip.record(5'000 * kUs, false);
  CHECK(round_trip.plan(kCapNs, 0).from_ns > 0);
  for (int i = 0; i < 200; ++i) round_trip.record(i % 2 == 0 ? 500 * kUs : 3'000 * kUs, false);
  CHECK(round_trip.plan(kCapNs, 0).until_ns == 0);
}

TEST_CASE("replies that come before the caller polls draw the polling nearer") {
  const PollPlan late = after(1000 * kUs, 50), early = after(1000 * kUs, 50, true);
  CHECK(early.from_ns < late.from_ns);
}

TEST_CASE("who calls rarely sleeps at once, whatever the replies took") {
  for (const uint64_t took : {10 * kUs, 100 * kUs, 1000 * kUs}) {
    RoundTrip round_trip;
    for (int i = 0; i < 50; ++i) round_trip.record(took, false);
    CHECK(round_trip.plan(kCapNs, 20 * kUs).until_ns > 0);
    CHECK(round_trip.plan(kCapNs, 1000 * kUs).until_ns == 0);
  }
}
