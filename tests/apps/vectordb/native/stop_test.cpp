#include "stop.h"

#include <filesystem>

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
  few->stops().learn(*few, false);
  CHECK(!learnt(*few));
  CHECK(many->pairs() == 2 * kVectors);
  many->stops().learn(*many, false);
  CHECK(learnt(*many));
}

TEST_CASE("what is to be learnt anew is not saved, and is learnt after loading") {
  const auto index = filled(0);
  index->stops().learn(*index, true);
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
    (*loaded)->stops().learn(**loaded, false);
    CHECK(learnt(**loaded));
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace curator::test
