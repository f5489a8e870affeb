#include "load/histogram.h"

#include <doctest/doctest.h>

#include <random>

using mrpc::load::Histogram;

TEST_CASE("every value lies in its bucket, and buckets are as fine as 3 digits ask") {
  std::mt19937_64 random(1);
  for (int bits = 0; bits < 42; ++bits) {
    for (int i = 0; i < 100; ++i) {
      const uint64_t value = std::min<uint64_t>(random() % (2ull << bits), Histogram::kHighest);
      const size_t bucket = Histogram::index_of(value);
      const uint64_t low = Histogram::value_of(bucket), next = Histogram::value_of(bucket + 1);
      CHECK(low <= value);
      CHECK(value < next);
      CHECK((next - low - 1) * 1000 <= low);
      CHECK(Histogram::index_of(low) == bucket);
    }
  }
}

TEST_CASE("counts, extremes and merging") {
  Histogram a, b;
  CHECK(a.least() == 0);
  a.record(5);
  a.record(7'000'000);
  b.record(3);
  b.record(UINT64_MAX);  // beyond an hour counts as an hour
  a.merge(b);
  CHECK(a.count() == 4);
  CHECK(a.least() == 3);
  CHECK(a.most() == Histogram::kHighest);
  CHECK(a.sum() == 5 + 7'000'000 + 3 + Histogram::kHighest);
  CHECK(a.count_at(Histogram::index_of(7'000'000)) == 1);
  CHECK(a.count_at(a.buckets() - 1) == 1);
}
