// Calls of several applications that wait for one busy server, under `qos`.
#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {
namespace {

constexpr size_t kShown = 8;  // calls that a server sees ahead (port.cpp)

// A server that takes nothing until it is asked to, a bulk client (2) and an urgent one (3).
struct Competition {
  explicit Competition(bool ordered = true) : urgent(3, abi::Role::kClient, "urgent-app", rig.config) {
    rig.add(urgent);
    rig.bind(urgent, rig.schema);
    rig.others.push_back(3);
    if (!ordered) return;
    auto set = std::make_shared<ChainSet>();
    set->epoch = 1;
    set->chains.push_back({"bulk", "client-app", "*", "*", {{"order", "qos", {{"level", std::string("bulk")}}}}});
    set->chains.push_back({"urgent", "urgent-app", "*", "*", {{"order", "qos", {{"level", std::string("urgent")}}}}});
    rig.shard.apply_chains(set);
  }

  void call(App& app, const std::string& name, uint64_t deadline = 0) {
    app.open(Rig::kHandles, ++calls, rig.payload(name), abi::kEnd, deadline);
    rig.settle();
  }
  // The server takes one call after the other, and answers each.
  std::vector<std::string> serve() {
    std::vector<std::string> order;
    for (auto request = rig.server.take(); request; request = rig.server.take()) {
      if (request->kind() == SlotKind::kOpen) {
        order.push_back(rig.name_of(*request));
        rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
      }
      rig.settle();
    }
    return order;
  }
  size_t answered(App& app) {
    size_t count = 0;
    while (auto arrival = app.take()) count += arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kOk;
    return count;
  }

  Rig rig;
  App urgent;
  uint64_t calls = 0;
};

}  // namespace

TEST_CASE("an urgent call passes the bulk that its server has not seen yet, and nothing is lost") {
  Competition race;
  for (int i = 0; i < 50; ++i) race.call(race.rig.client, "bulk");
  for (int i = 0; i < 3; ++i) race.call(race.urgent, "urgent");
  const auto order = race.serve();
  REQUIRE(order.size() == 53);
  for (size_t i = 0; i < order.size(); ++i) CHECK(order[i] == (i >= kShown && i < kShown + 3 ? "urgent" : "bulk"));
  CHECK(race.answered(race.rig.client) == 50);
  CHECK(race.answered(race.urgent) == 3);
}

TEST_CASE("without the policy calls are served as they come") {
  Competition race(false);
  for (int i = 0; i < 20; ++i) race.call(race.rig.client, "bulk");
  race.call(race.urgent, "urgent");
  CHECK(race.serve().back() == "urgent");
}

TEST_CASE("of one application's calls the one with the earliest deadline goes first") {
  Competition race;
  const uint64_t now = race.rig.world.now;
  for (size_t i = 0; i < kShown; ++i) race.call(race.rig.client, "shown");
  race.call(race.rig.client, "whenever");
  race.call(race.rig.client, "later", now + 9'000'000'000);
  race.call(race.rig.client, "soon", now + 5'000'000'000);
  const auto order = race.serve();
  CHECK(std::vector<std::string>(order.begin() + kShown, order.end()) == std::vector<std::string>{"soon", "later", "whenever"});
}

TEST_CASE("a waiting call that is cancelled is never seen, and the queue goes on") {
  Competition race;
  for (size_t i = 0; i < kShown; ++i) race.call(race.rig.client, "shown");
  race.call(race.rig.client, "cancelled");
  const uint64_t cancelled = race.calls;
  race.call(race.rig.client, "kept");
  race.rig.client.say(SlotKind::kCancel, cancelled, {});
  race.rig.settle();
  const auto order = race.serve();
  CHECK(order.size() == kShown + 1);
  CHECK(order.back() == "kept");
}

TEST_CASE("a server that dies with calls waiting answers each of them") {
  Competition race;
  for (int i = 0; i < 30; ++i) race.call(race.rig.client, "bulk");
  race.rig.shard.remove_port(1, "killed");
  race.rig.settle();
  size_t failed = 0;
  while (auto arrival = race.rig.client.take()) failed += arrival->kind() == SlotKind::kStatus && arrival->code() == StatusCode::kUnavailable;
  CHECK(failed == 30);
}

TEST_CASE("settings that make no sense are refused") {
  Rig rig;
  const auto compile = [&](EngineConfig config) {
    ChainSet set;
    set.chains.push_back({"c", "*", "*", "*", {{"order", "qos", std::move(config)}}});
    const RouteSchema schema{rig.schema, &rig.schema->service("test.Echo")->methods[0], 1};
    return Chain::compile(set, rig.catalog, {"app", "test.Echo", "Echo"}, Place::kBothEnds, schema, 0).ok();
  };
  CHECK(compile({{"level", std::string("urgent")}, {"weight", 2.0}, {"per", std::string("tenant")}}));
  CHECK_FALSE(compile({{"level", std::string("asap")}}));
  CHECK_FALSE(compile({{"weight", 0.0}}));
  CHECK_FALSE(compile({{"per", std::string("planet")}}));
  CHECK_FALSE(compile({{"priority", 1.0}}));
}

}  // namespace mrpc::dataplane::testing
