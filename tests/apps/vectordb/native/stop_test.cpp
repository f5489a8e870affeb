#include "stop.h"

#include <filesystem>
#include <thread>

#include "fixture.h"

namespace curator::test {
namespace {

constexpr TenantId kOwner = 1, kReader = 2;
constexpr uint64_t kVectors = 4000;

// Vectors of an owner, and of a second tenant those before `granted`.
std::unique_ptr<Index> filled(uint64_t granted) {
  std::mt19937 random(7);
  auto index = std::make_unique<Index>(small_options());
  const auto ids = range(0, kVectors), shared = range(0, granted);
  const std::vector<TenantId> owners(kVectors, kOwner), readers(granted, kReader);
  must(index->insert(ids, random_rows(kVectors, 4, random).data(), owners));
  REQUIRE(index->grant(shared, readers).ok());
  return index;
}

bool learnt(const Index& index) { return index.stops().budget(kVectors, 10, 0.9f) < kVectors; }

TEST_CASE("an index learns when tenants see twice as much, however few its vectors are") {
  const auto few = filled(0), many = filled(kVectors);
  CHECK(few->pairs() == kVectors);
  few->stops().learn(*few, Stops::kAll);
  CHECK(!learnt(*few));
  CHECK(many->pairs() == 2 * kVectors);
  many->stops().learn(*many, Stops::kAll);
  CHECK(learnt(*many));
}

TEST_CASE("learning in pieces ends with the same budgets, and waits for no writer") {
  const auto whole = filled(kVectors), pieces = filled(kVectors);
  CHECK(!whole->stops().learn(*whole, Stops::kAll));
  int rounds = 0;
  while (pieces->stops().learn(*pieces, 5000)) {
    CHECK(!learnt(*pieces));
    CHECK(pieces->stops().due(*pieces));
    REQUIRE(++rounds < 1000);
  }
  CHECK(rounds > 100);
  CHECK(!pieces->stops().due(*pieces));
  CHECK(pieces->stops().image(*pieces) == whole->stops().image(*whole));

  const auto busy = filled(kVectors);
  busy->each_tenant(true, [&](const Tenant&) {  // as a writer, with its lock
    std::thread([&] { CHECK(busy->stops().learn(*busy, 5000)); }).join();
  });
  CHECK(busy->stops().learn(*busy, Stops::kAll) == false);
}

TEST_CASE("what is to be learnt anew is not saved, and is learnt after loading") {
  const auto index = filled(0);
  index->stops().learn_now(*index);
  REQUIRE(learnt(*index));
  const auto path = std::filesystem::temp_directory_path() / ("curator-stop-" + std::to_string(::getpid()));
  for (const bool due : {false, true}) {
    if (due) REQUIRE(index->grant(range(0, kVectors), std::vector<TenantId>(kVectors, kReader)).ok());
    auto cut = index->cut();
    REQUIRE(cut.ok());
    must((*cut)->save(path));
    const auto loaded = Index::load(path);
    REQUIRE(loaded.ok());
    CHECK((*loaded)->pairs() == index->pairs());
    CHECK(learnt(**loaded) == !due);
    (*loaded)->stops().learn(**loaded, Stops::kAll);
    CHECK(learnt(**loaded));
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace curator::test
