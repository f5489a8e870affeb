#include <algorithm>
#include <filesystem>

#include "fixture.h"

using namespace curator;
using namespace curator::test;

TEST_CASE("the shape of a tenant's tree follows from what it sees, however that came about") {
  std::mt19937 random(1);
  const auto rows = random_rows(600, 4, random);
  const auto ids = range(0, 600);
  const std::vector<TenantId> owners(600, 1);
  Index index(small_options());
  must(index.build(ids, rows.data(), owners, {}, {}));
  std::vector<VectorId> some;
  for (const VectorId id : ids) {
    if (id % 3 == 0) some.push_back(id);
  }
  REQUIRE(index.grant(some, std::vector<TenantId>(some.size(), 2)).ok());      // at once
  std::shuffle(some.begin(), some.end(), random);
  for (const VectorId id : some) {                                            // one by one, with others that go again
    REQUIRE(index.grant({{id, id + 1}}, {{3, 3}}).ok());
  }
  for (const VectorId id : some) REQUIRE(index.revoke({{id + 1}}, {{3}}).ok());
  const auto shape = [&](TenantId tenant) {
    std::vector<std::pair<NodeId, std::vector<Slot>>> lists;
    const auto guard = index.read();
    each_list(index.root(*index.tenant(tenant)), [&](const Part& list) { lists.push_back({list.node, {list.list().begin(), list.list().end()}}); });
    return lists;
  };
  CHECK(shape(2) == shape(3));
  CHECK(shape(2).size() > 10);
  must(index.check());
}

TEST_CASE("slots are used again, so that memory does not grow with the number of changes") {
  std::mt19937 random(2);
  Index index(small_options());
  size_t settled = 0;
  for (VectorId round = 0; round < 60; ++round) {
    const auto ids = range(round * 100, round * 100 + 100);
    must(index.insert(ids, random_rows(100, 4, random, static_cast<float>(round % 5) * 4).data(), std::vector<TenantId>(100, 1)));
    if (round > 0) must(index.remove(range(round * 100 - 100, round * 100)));
    if (round == 20) settled = index.stats().bytes_vectors + index.stats().bytes_tree;
  }
  CHECK(index.stats().bytes_vectors + index.stats().bytes_tree <= settled * 3 / 2);
  must(index.check());
}

TEST_CASE("a hundred thousand tenants cost what they hold") {
  std::mt19937 random(3);
  Index index(small_options());
  std::vector<TenantId> owners(100'000);
  for (TenantId tenant = 0; tenant < owners.size(); ++tenant) owners[tenant] = tenant * 40'009u;
  must(index.build(range(0, owners.size()), random_rows(owners.size(), 4, random).data(), owners, {}, {}));
  const Stats stats = index.stats();
  CHECK(stats.tenants == owners.size());
  CHECK(stats.bytes_tenants < owners.size() * 150);
  CHECK(view(index, owners[77]) == std::set<VectorId>{77});
  must(index.remove(range(0, owners.size())));
  CHECK(index.stats().tenants == 0);
}

TEST_CASE("a view of a moment stays as it was while the index goes on") {
  std::mt19937 random(4);
  Index index(small_options());
  must(index.insert(range(0, 200), random_rows(200, 4, random).data(), std::vector<TenantId>(200, 1)));
  const auto guard = index.read();
  const Part* before = *index.seen_by(1);
  must(index.remove(range(0, 150)));
  must(index.insert(range(1000, 1200), random_rows(200, 4, random).data(), std::vector<TenantId>(200, 1)));
  std::set<VectorId> ids;
  for (const Slot slot : slots_of(before)) ids.insert(index.store().id(slot));
  const auto expected = range(0, 200);
  CHECK(ids == std::set<VectorId>(expected.begin(), expected.end()));
  CHECK(index.stats().waiting > 0);
}

TEST_CASE("a batch of more than what is there trains the tree once, and is seen at once") {
  std::mt19937 random(11);
  Index index(small_options());
  must(index.insert(range(0, 40), random_rows(40, 4, random).data(), std::vector<TenantId>(40, 1)));
  REQUIRE(index.grant(range(0, 40), std::vector<TenantId>(40, 2)).ok());
  const auto guard = index.read();  // slots that move are not used again yet
  must(index.insert(range(40, 1000), random_rows(960, 4, random, 3).data(), std::vector<TenantId>(960, 1)));
  must(index.check());
  CHECK(index.stats().leaf_splits == 0);
  CHECK(view(index, 1).size() == 1000);
  CHECK(view(index, 2).size() == 40);
}

TEST_CASE("drift in a region larger than the budget is mended in steps of the budget") {
  std::mt19937 random(12);
  Index index(small_options());
  must(index.build(range(0, 2000), random_rows(2000, 4, random).data(), std::vector<TenantId>(2000, 1), {}, {}));
  for (VectorId from = 2000; from < 20000; from += 500) {  // elsewhere, and on the move
    const auto rows = random_rows(500, 4, random, static_cast<float>(from) / 1000);
    must(index.insert(range(from, from + 500), rows.data(), std::vector<TenantId>(500, 1 + static_cast<TenantId>(from / 500 % 3))));
  }
  const size_t before = index.stats().reclusters;
  size_t rounds = 0;
  for (bool more = true; more; ++rounds) {
    REQUIRE(rounds < 2000);
    const uint64_t budget = 300;
    more = index.maintain(budget);
    CHECK(index.stats().waiting < 40 * budget);  // what it replaced, all told
    if (rounds % 10 == 0) must(index.check());
    if (rounds % 7 == 0) must(index.insert(range(30000 + rounds, 30001 + rounds), random_rows(1, 4, random, 9).data(), {{1}}));
  }
  CHECK(rounds > 10);
  CHECK(index.stats().reclusters > before);
  must(index.check());
  for (NodeId id = 0; id < index.tree().capacity(); ++id) {
    if (!index.tree().alive(id) || index.tree().node(id).leaf) continue;
    const Node& node = index.tree().node(id);
    CHECK(node.count <= 2 * node.grown);
    CHECK(!node.draining);
  }
  CHECK(index.size() == 20000 + (rounds + 6) / 7);
}

TEST_CASE("what has grown in its place is not trained anew") {
  std::mt19937 random(5);
  Options options = small_options(32);
  options.branching = 16;
  Index index(options);
  must(index.build(range(0, 2000), random_rows(2000, 32, random).data(), std::vector<TenantId>(2000, 1), {}, {}));
  must(index.insert(range(2000, 3900), random_rows(1900, 32, random).data(), std::vector<TenantId>(1900, 1)));
  must(index.insert(range(3900, 5000), random_rows(1100, 32, random).data(), std::vector<TenantId>(1100, 1)));
  REQUIRE(index.tree().node(kRoot).count > 2 * index.tree().node(kRoot).grown);
  const auto before = index.tree().node(kRoot).children;
  while (index.maintain(1000)) {}
  CHECK(index.tree().node(kRoot).count == index.tree().node(kRoot).grown);
  CHECK(index.tree().node(kRoot).children == before);
  must(index.check());
}

TEST_CASE("mending goes on where it was when the index is loaded") {
  const auto drifted = [] {
    std::mt19937 random(12);
    auto index = std::make_unique<Index>(small_options());
    must(index->build(range(0, 500), random_rows(500, 4, random).data(), std::vector<TenantId>(500, 1), {}, {}));
    for (VectorId from = 500; from < 9000; from += 500) {
      must(index->insert(range(from, from + 500), random_rows(500, 4, random, static_cast<float>(from) / 100).data(), std::vector<TenantId>(500, 1)));
    }
    return index;
  };
  size_t alone = 1;
  for (const auto index = drifted(); index->maintain(200);) REQUIRE(++alone < 2000);
  auto index = drifted();
  const auto path = std::filesystem::temp_directory_path() / ("curator-mending-" + std::to_string(::getpid()));
  const auto draining = [](const Index& of) {
    size_t vectors = 0;
    for (NodeId id = 0; id < of.tree().capacity(); ++id) vectors += of.tree().alive(id) && of.tree().node(id).draining ? of.tree().node(id).count : 0;
    return vectors;
  };
  size_t resumed = 0, rounds = 0;
  for (bool more = true; more; ++rounds) {
    REQUIRE(rounds < 2000);
    more = index->maintain(200);
    auto cut = index->cut();
    REQUIRE(cut.ok());
    must((*cut)->save(path));
    cut = mrpc::unavailable("let go");
    auto loaded = Index::load(path);
    REQUIRE(loaded.ok());
    CHECK(draining(**loaded) == draining(*index));
    resumed += draining(*index) > 0;
    index = std::move(*loaded);
    must(index->check());
  }
  CHECK(resumed > 10);
  CHECK(rounds < 2 * alone);
  CHECK(index->size() == 9000);
  std::filesystem::remove(path);
}

TEST_CASE("a full root that drift made is mended, though its leaves go on splitting") {
  std::mt19937 random(3);
  Options options = small_options(128);
  options.branching = 16;
  Index index(options);
  must(index.build(range(0, 400), random_rows(400, 128, random).data(), std::vector<TenantId>(400, 1), {}, {}));
  for (VectorId from = 400; from < 2400; from += 200) {
    const auto rows = random_rows(200, 128, random, static_cast<float>(from) / 1000);
    must(index.insert(range(from, from + 200), rows.data(), std::vector<TenantId>(200, 1)));
  }
  size_t rounds = 0;
  while (index.maintain(100)) REQUIRE(++rounds < 500);  // 68 as this is written
  CHECK(index.tree().node(kRoot).count <= 2 * index.tree().node(kRoot).grown);
  must(index.check());
}
