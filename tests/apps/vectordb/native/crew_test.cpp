#include "crew.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <memory>
#include <stdexcept>

using curator::Crew;

TEST_CASE("each part is done once") {
  Crew crew;
  for (const size_t threads : {1, 2, 8}) {
    for (const size_t count : {0, 1, 2, 1000}) {
      std::vector<std::atomic<int>> done(count);
      crew.each(count, threads, [&](size_t i) { ++done[i]; });
      for (const auto& times : done) CHECK(times == 1);
    }
  }
}

TEST_CASE("helpers do parts at the same time") {
  Crew crew;
  std::atomic<int> inside{0};
  crew.each(3, 3, [&](size_t) {
    ++inside;
    while (inside < 3) std::this_thread::yield();  // all three are there, or it never ends
  });
  CHECK(inside == 3);
}

TEST_CASE("a crew works for many callers at once") {
  Crew crew;
  std::atomic<size_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int turn = 0; turn < 500; ++turn) crew.each(20, 3, [&](size_t i) { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(sum == 4u * 500 * 190);
}

TEST_CASE("what a part throws is thrown, and the crew goes on") {
  Crew crew;
  for (int turn = 0; turn < 100; ++turn) {
    CHECK_THROWS_AS(crew.each(50, 2, [](size_t i) { if (i == 20) throw std::runtime_error("part"); }), std::runtime_error);
  }
  std::atomic<int> done{0};
  crew.each(50, 2, [&](size_t) { ++done; });
  CHECK(done == 50);
}

TEST_CASE("in a forked child the caller does all of it") {
  auto crew = std::make_unique<Crew>();
  crew->each(2, 2, [](size_t) {});
  const pid_t child = ::fork();
  if (child == 0) {
    size_t done = 0;
    crew->each(100, 2, [&](size_t) { ++done; });
    crew.reset();
    ::_exit(done == 100 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}
