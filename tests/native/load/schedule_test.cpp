#include "load/schedule.h"

#include <doctest/doctest.h>

#include <random>

using mrpc::load::Schedule;

TEST_CASE("a call is due exactly when the rate says, without drift") {
  const Schedule schedule(1000, 0, 1);
  CHECK(schedule.at(0) == 0);
  CHECK(schedule.at(1) == 1'000'000);
  CHECK(schedule.at(86'400'000) == 86'400'000'000'000);  // a day later, to the nanosecond
  const Schedule thirds(3, 0, 1);
  CHECK(thirds.at(3'000'000'000) == 1'000'000'000'000'000'000);
}

TEST_CASE("due() is the inverse of at()") {
  std::mt19937_64 random(7);
  for (const double rate : {0.001, 0.37, 1.0, 3.0, 999.999, 1e6, 1e8}) {
    for (const uint32_t threads : {1u, 2u, 3u, 7u}) {
      const Schedule schedule(rate, threads / 2, threads);
      for (int i = 0; i < 200; ++i) {
        const uint64_t call = random() % 100'000;
        const uint64_t at = schedule.at(call);
        CHECK(schedule.due(at) >= call + 1);
        CHECK(schedule.at(schedule.due(at) - 1) <= at);
        CHECK(schedule.at(schedule.due(at)) > at);
        CHECK(schedule.calls_in(at) <= call);
      }
    }
  }
}

TEST_CASE("threads share the calls: each once, interleaved") {
  const Schedule whole(750, 0, 1);
  const Schedule parts[] = {{750, 0, 3}, {750, 1, 3}, {750, 2, 3}};
  for (uint64_t i = 0; i < 1000; ++i) CHECK(parts[i % 3].at(i / 3) == whole.at(i));
  for (const uint64_t count : {0ull, 1ull, 2ull, 3ull, 100ull, 101ull})
    CHECK(parts[0].share(count) + parts[1].share(count) + parts[2].share(count) == count);
  const uint64_t second = 1'000'000'000;
  CHECK(parts[0].calls_in(second) + parts[1].calls_in(second) + parts[2].calls_in(second) == 750);
}
