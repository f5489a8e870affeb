// Readers among changes. A writer keeps a rule that every published state obeys; readers see it obeyed at any moment. TSan watches.
#include <algorithm>
#include <atomic>
#include <thread>

#include "fixture.h"
#include "search.h"

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

TEST_CASE("several tenants, expressions and lists of ids miss nothing and find nothing twice while vectors move") {
  constexpr VectorId kStays = 60;  // these are there throughout, seen by all; what comes and goes is seen by one
  constexpr TenantId kTenants = 32;
  Index index(small_options());
  const auto stay = range(0, kStays);
  must(index.insert(stay, rows_of(stay, 4).data(), std::vector<TenantId>(kStays, kMine)));
  std::vector<TenantId> tenants;
  Expression shared{Expression::Kind::kAnd, 0, {}};
  for (TenantId tenant = kMine; tenant < kMine + kTenants; ++tenant) {
    REQUIRE(index.grant(stay, std::vector<TenantId>(kStays, tenant)).ok());
    tenants.push_back(tenant);
    shared.parts.push_back({Expression::Kind::kTenant, tenant, {}});
  }
  const Expression alone{Expression::Kind::kNot, 0, {shared.parts.back()}};
  const std::set<VectorId> all(stay.begin(), stay.end());

  const auto find = [&](const Ask& ask, std::span<const TenantId> by) {
    const std::vector<float> query(4, 0.5f);
    const auto hits = search(index, query.data(), ask, by);
    REQUIRE(hits.ok());
    std::set<VectorId> found;
    for (const Hit& hit : *hits) REQUIRE(found.insert(hit.id).second);
    return found;
  };
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0};
  const auto look = [&] {
    const Predicate by_all(shared), by_one(alone), listed(stay), few(range(10, 13));
    const TenantId one[] = {kMine};
    while (!done) {
      REQUIRE(find({.k = 1000, .where = &by_all}, one) == all);
      REQUIRE(find({.k = 1000, .where = &listed}, one) == all);
      REQUIRE(find({.k = 1000, .where = &listed}, tenants) == all);
      REQUIRE(find({.k = 1000, .where = &few}, one) == std::set<VectorId>{10, 11, 12});
      for (const VectorId id : find({.k = 1000, .where = &by_one}, one)) REQUIRE(id >= kStays);
      const auto either = find({.k = 1000}, tenants);
      REQUIRE(std::includes(either.begin(), either.end(), all.begin(), all.end()));
      REQUIRE(find({.k = 30, .budget = 60}, tenants).size() == 30);
      REQUIRE(index.rows(stay).ok());
      REQUIRE(listed.size(index).value() == kStays);
      ++looks;
    }
  };
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) readers.emplace_back(look);
  std::mt19937 random(7);
  for (VectorId round = 0; round < 100 || looks < 1500; ++round) {
    const auto come = range(kStays + round * 50, kStays + round * 50 + 50);
    must(index.insert(come, random_rows(50, 4, random, 500).data(), std::vector<TenantId>(50, kMine)));
    must(index.update(stay, random_rows(kStays, 4, random, static_cast<float>(round % 7 * 100)).data()));
    must(index.remove(come));
    index.maintain(1000);
  }
  done = true;
  for (auto& reader : readers) reader.join();
  must(index.check());
}
