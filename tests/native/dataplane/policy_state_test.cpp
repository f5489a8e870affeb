// State of policies: by scope, over swaps, bounded, and from several shards at once.
#include <thread>

#include "dataplane/policy/saved_state.h"
#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {
namespace {

const Scope kTenantScope = {{ScopeKind::kTenant, {}}};

StateTable::Row* touch(StateTable& table, const CellMap& map, std::string_view key, uint64_t add = 0) {
  const RowPin pin(table, key);
  StateTable::Row& row = *pin.get();
  table.take(row);
  if (row.version == 0)
    for (const auto& field : map.fields) row.cells[field.cell] = field.initial;
  row.version = map.version;
  row.cells[map.fields[0].cell] += add;
  table.release(row);
  return &row;
}

}  // namespace

TEST_CASE("rows are told apart by the scope of their state") {
  const auto left = [](Scope scope, int calls) {
    PolicyRig rig({{"q", quota(std::move(scope)), kPass, 2}});
    App other(3, abi::Role::kClient, "other-client", rig.config);
    rig.add(other);
    rig.bind(other, rig.schema);
    rig.others = {3};
    int passed = 0;
    for (int i = 0; i < calls; ++i) {
      rig.open(static_cast<uint64_t>(10 + i));
      other.open(Rig::kHandles, static_cast<uint64_t>(10 + i), rig.payload("x"));
      rig.settle();
    }
    while (auto arrival = rig.arrived()) passed += arrival->kind() == SlotKind::kOpen;
    return passed;
  };
  CHECK(left({{ScopeKind::kClient, {}}}, 4) == 4);
  CHECK(left({{ScopeKind::kGlobal, {}}}, 4) == 2);
  CHECK(left({{ScopeKind::kService, {}}}, 4) == 2);
  CHECK(left({{ScopeKind::kMethod, {}}}, 4) == 2);
  CHECK(left({{ScopeKind::kServer, {}}}, 4) == 2);
  CHECK(left({{ScopeKind::kTenant, {}}}, 4) == 4);  // each client's own
  CHECK(left({{ScopeKind::kMetadata, "k"}}, 4) == 2);
  CHECK(left({{ScopeKind::kServer, {}}, {ScopeKind::kClient, {}}}, 4) == 4);
  CHECK(left({{ScopeKind::kClient, {}}, {ScopeKind::kMethod, {}}}, 4) == 4);
}

TEST_CASE("state survives a swap to another layout with calls in flight, upgrade runs once, and counters return to nothing") {
  PolicyRig rig({{"p", probe()}});
  for (uint64_t call = 1; call <= 3; ++call) rig.open(call);
  CHECK(rig.state("p", "in_flight") == 3);
  rig.use({{"p", moved()}});
  rig.open(4);
  CHECK(rig.state("p", "doubled") == 6);  // of three requests, before it counted its own
  CHECK(rig.state("p", "requests") == 4);
  CHECK(rig.state("p", "in_flight") == 4);
  while (auto request = rig.arrived()) rig.answer(*request);
  CHECK(rig.state("p", "in_flight") == 0);
  CHECK(rig.state("p", "doubled") == 6);
  CHECK(rig.shard.clients().open_calls() == 0);
  rig.use({{"p", probe()}});
  rig.open(5);
  CHECK(rig.state("p", "requests") == 5);
  CHECK(rig.state("p", "in_flight") == 1);
  CHECK(rig.state("p", "ends") == 3);  // those that had entered by it
}

TEST_CASE("values of the configuration change live, and rows keep what they have") {
  PolicyRig rig({{"q", quota({{ScopeKind::kGlobal, {}}}), kPass, 1}});
  rig.open(1);
  rig.open(2);
  CHECK(rig.reply().code() == StatusCode::kResourceExhausted);
  rig.use({{"q", quota({{ScopeKind::kGlobal, {}}}), kPass, 100}});
  rig.open(3);
  CHECK(rig.reply().code() == StatusCode::kResourceExhausted);  // the row began with 1
  CHECK(rig.state("q", "left") == 0);
}

TEST_CASE("no chain, program or row of a set that is gone is kept") {
  PolicyRig rig({{"p", probe()}});
  rig.open(1);
  const auto request = rig.arrived();
  std::weak_ptr<const PolicyInstance> old = rig.shard.chains->instances.at({"c", "p"});
  rig.use({{"p", moved()}});
  CHECK_FALSE(old.expired());  // a call holds it
  rig.answer(*request);
  CHECK(old.expired());
}

TEST_CASE("rows are bounded: those not used for longest go, those in use stay") {
  StateTable table(kTenantScope, false, 100);
  const auto map = table.map("v1", integers({"n"}), {7}, {});
  REQUIRE(map.ok());
  const RowPin kept(table, "kept");
  for (int i = 0; i < 1000; ++i) {
    touch(table, **map, "row" + std::to_string(i), 1);
    touch(table, **map, "busy", 1);
  }
  CHECK(table.rows() <= 101);
  CHECK(table.evicted() >= 900);
  const RowPin again(table, "kept");
  CHECK(again.get() == kept.get());
  CHECK(touch(table, **map, "busy")->cells[(*map)->fields[0].cell] == 1007);
  CHECK(touch(table, **map, "row0")->cells[(*map)->fields[0].cell] == 7);  // begins anew
}

TEST_CASE("cells are kept as long as a version uses them, and no longer") {
  StateTable table(kTenantScope, false);
  std::vector<StateFieldSpec> ten, other;
  for (int i = 0; i < 10; ++i) {
    ten.push_back({"a" + std::to_string(i), CellType::kInt, 0, {}});
    other.push_back({"b" + std::to_string(i), CellType::kInt, 0, {}});
  }
  const std::vector<uint64_t> zeros(10);
  auto first = table.map("v1", ten, zeros, {});
  REQUIRE(first.ok());
  CHECK_FALSE(table.map("v2", other, zeros, {}).ok());
  first = invalid_argument("dropped");
  const auto second = table.map("v2", other, zeros, {});
  CHECK(second.ok());
  CHECK((*second)->version == 2);
  const auto same = table.map("v2", other, zeros, {});
  CHECK((*same)->version == 2);
  auto typed = table.map("v3", {{"b0", CellType::kFloat, 0, {}}}, {0}, {{"b0", CellType::kInt}});
  REQUIRE(typed.ok());
  CHECK((*typed)->fields[0].cell != (*second)->fields[0].cell);
  CHECK((*typed)->old[0] == (*second)->fields[0].cell);
}

TEST_CASE("several shards change the rows of one table without losing a change") {
  StateTable table(kTenantScope, true);
  const auto map = table.map("v1", integers({"n"}), {0}, {});
  REQUIRE(map.ok());
  std::vector<std::thread> threads;
  for (int shard = 0; shard < 4; ++shard)
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) touch(table, **map, i % 3 == 0 ? "a" : "b", 1);
    });
  for (auto& thread : threads) thread.join();
  const auto cell = (*map)->fields[0].cell;
  CHECK(touch(table, **map, "a")->cells[cell] + touch(table, **map, "b")->cells[cell] == 80'000);
}

TEST_CASE("rows are saved by key and field, and restored into another version") {
  StateTable table(kTenantScope, false), later(kTenantScope, false);
  const auto map = table.map("v1", integers({"n", "m"}), {5, 6}, {});
  touch(table, **map, "t1", 10);
  touch(table, **map, "t2", 20);
  const auto fields = integers({"m", "added", "n"});
  const auto next = later.map("v2", fields, {0, 9, 0}, {});
  for (const auto& row : table.save()) later.restore(**next, fields, row);
  const auto* row = touch(later, **next, "t2");
  CHECK(row->cells[(*next)->fields[0].cell] == 6);
  CHECK(row->cells[(*next)->fields[1].cell] == 9);
  CHECK(row->cells[(*next)->fields[2].cell] == 25);
}

TEST_CASE("a policy's state goes to a successor's instance, of another version too; bytes that are none are refused") {
  PolicyRig rig({{"p", probe()}}), successor({{"p", moved()}});
  rig.open(1);
  rig.open(2);
  const auto saved = save_state(*rig.shard.chains->instances.at({"c", "p"}));
  const PolicyInstance& next = *successor.shard.chains->instances.at({"c", "p"});
  REQUIRE(restore_state(next, saved).ok());
  CHECK(successor.state("p", "requests") == 2);
  CHECK(successor.state("p", "in_flight") == 2);
  for (size_t length = 0; length < saved.size(); ++length) CHECK_FALSE(restore_state(next, std::span(saved).first(length)).ok());
}

}  // namespace mrpc::dataplane::testing
