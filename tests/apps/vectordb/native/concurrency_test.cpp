// Readers among changes. A writer keeps a rule that every published state obeys; readers see it obeyed at any moment. TSan watches.
#include <atomic>
#include <thread>

#include "fixture.h"

using namespace curator;
using namespace curator::test;

namespace {

constexpr TenantId kMine = 1, kGuest = 2, kNever = 3;

// Each vector carries its own id, so that a slot used again too early shows.
std::vector<float> rows_of(const std::vector<VectorId>& ids, uint32_t dim) {
  std::vector<float> rows;
  for (const VectorId id : ids) {
    for (uint32_t d = 0; d < dim; ++d) rows.push_back(static_cast<float>((id * 7919 + d * 104729) % 1000));
    rows[rows.size() - dim] = static_cast<float>(id);
  }
  return rows;
}

// What a tenant sees at this moment: no id twice, and each row is its id's.
size_t look(const Index& index, TenantId tenant, bool only_even) {
  const auto guard = index.read();
  const auto part = index.seen_by(tenant);
  REQUIRE(part.ok());
  std::set<VectorId> ids;
  std::vector<float> row(index.options().dim);
  for (const Slot slot : slots_of(*part)) {
    const VectorId id = index.store().id(slot);
    index.store().load(slot, row.data());
    REQUIRE(row[0] == static_cast<float>(id));
    REQUIRE(ids.insert(id).second);
    REQUIRE(index.parts().holds(*part, slot));
    if (only_even) REQUIRE(id % 2 == 0);
  }
  return ids.size();
}

}  // namespace

TEST_CASE("readers see whole batches, and never what was not granted, while leaves split and merge") {
  Index index(small_options());
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 3; ++reader) {
    readers.emplace_back([&] {
      while (!done) {
        REQUIRE(look(index, kMine, false) % 50 == 0);
        look(index, kGuest, true);
        REQUIRE(look(index, kNever, false) == 0);
        ++looks;
      }
    });
  }
  std::mt19937 random(5);
  for (VectorId round = 0; round < 40 || looks < 20; ++round) {
    const auto ids = range(round * 50, round * 50 + 50);
    must(index.insert(ids, rows_of(ids, 4).data(), std::vector<TenantId>(50, kMine)));
    std::vector<VectorId> even;
    for (const VectorId id : ids) {
      if (id % 2 == 0) even.push_back(id);
    }
    REQUIRE(index.grant(even, std::vector<TenantId>(even.size(), kGuest)).ok());
    must(index.update(even, rows_of(even, 4).data()));
    if (round % 3 == 2) REQUIRE(index.revoke(even, std::vector<TenantId>(even.size(), kGuest)).ok());
    if (round % 2 == 1) must(index.remove(range((round - 1) * 50, round * 50)));
    if (round % 10 == 9) index.maintain(1000);
  }
  done = true;
  for (auto& reader : readers) reader.join();
  must(index.check());
}

TEST_CASE("a tenant may rest and wake while others read it") {
  Index index(small_options());
  const auto ids = range(0, 100);
  must(index.insert(ids, rows_of(ids, 4).data(), std::vector<TenantId>(100, kMine)));
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) {
      const auto guard = index.read();
      const auto part = index.seen_by(kMine);
      if (part.ok()) REQUIRE((*part)->count == 100);
    }
  });
  for (int round = 0; round < 200; ++round) {
    const auto blob = index.unload(kMine);
    REQUIRE(blob.ok());
    must(index.reload(kMine, *blob));
  }
  done = true;
  reader.join();
  must(index.check());
}
