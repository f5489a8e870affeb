// The order in which waiting calls are served.
#include "dataplane/qos.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace mrpc::dataplane {
namespace {

using Queue = FairQueue<std::string>;

std::vector<std::string> serve(Queue& queue, size_t count) {
  std::vector<std::string> order;
  for (; count > 0 && !queue.empty(); --count) {
    order.push_back(queue.front());
    queue.pop();
  }
  return order;
}

size_t count_of(const std::vector<std::string>& order, const std::string& item) { return static_cast<size_t>(std::count(order.begin(), order.end(), item)); }

TEST_CASE("within a group the earliest deadline goes first, then the earliest arrival") {
  Queue queue;
  for (auto [name, deadline] : {std::pair{"none", 0}, {"late", 30}, {"soon", 10}, {"soon too", 10}, {"middle", 20}})
    queue.push({}, "app", static_cast<uint64_t>(deadline), 1, name);
  CHECK(serve(queue, 9) == std::vector<std::string>{"soon", "soon too", "middle", "late", "none"});
}

TEST_CASE("groups of a level share by weight, whatever the number of their calls") {
  Queue queue;
  for (int i = 0; i < 400; ++i) queue.push({QosLevel::kNormal, 1, {}}, "a", 0, 1, "a");
  for (int i = 0; i < 400; ++i) queue.push({QosLevel::kNormal, 3, {}}, "b", 0, 1, "b");
  const auto order = serve(queue, 200);
  CHECK(count_of(order, "a") >= 49);
  CHECK(count_of(order, "a") <= 51);
}

TEST_CASE("cost counts: calls of twice the cost come half as often") {
  Queue queue;
  for (int i = 0; i < 300; ++i) queue.push({}, "big", 0, 2, "big");
  for (int i = 0; i < 300; ++i) queue.push({}, "small", 0, 1, "small");
  const auto order = serve(queue, 300);
  CHECK(count_of(order, "big") >= 99);
  CHECK(count_of(order, "big") <= 101);
}

TEST_CASE("a group that was away is owed nothing, and owes nothing") {
  Queue queue;
  for (int i = 0; i < 100; ++i) queue.push({}, "steady", 0, 1, "steady");
  serve(queue, 90);
  for (int i = 0; i < 10; ++i) queue.push({}, "newcomer", 0, 1, "newcomer");
  const auto order = serve(queue, 10);
  CHECK(count_of(order, "newcomer") >= 4);
  CHECK(count_of(order, "newcomer") <= 6);
}

TEST_CASE("urgent calls pass, but for the share that keeps the others alive") {
  Queue queue;
  for (int i = 0; i < 64; ++i) queue.push({QosLevel::kBulk, 1, {}}, "bulk", 0, 1, "bulk");
  for (int i = 0; i < 64; ++i) queue.push({QosLevel::kUrgent, 1, {}}, "urgent", 0, 1, "urgent");
  const auto order = serve(queue, 64);
  CHECK(count_of(order, "bulk") == 64 / Queue::kFloor);
  CHECK(order.front() == "urgent");
}

TEST_CASE("what is erased is never served, and the rest keeps its order") {
  Queue queue;
  for (const char* name : {"a", "x", "b", "x", "c"}) queue.push({}, name, 0, 1, name);
  CHECK(queue.front() == "a");
  CHECK(queue.erase_if([](const std::string& item) { return item == "x" || item == "a"; }) == 3);
  CHECK(queue.size() == 2);
  CHECK(serve(queue, 5) == std::vector<std::string>{"b", "c"});
  CHECK(queue.empty());
}

TEST_CASE("many groups come and go without being remembered") {
  Queue queue;
  queue.push({}, "stays", 0, 1e9, "stays");
  for (int i = 0; i < 10'000; ++i) {
    queue.push({}, "passing " + std::to_string(i), 0, 1, "passing");
    queue.push({}, "stays", 0, 1, "stays");
    serve(queue, 2);
  }
  CHECK(queue.size() == 1);
}

TEST_CASE("a ring stands back for more urgent ones, but never wholly, and a weight below one holds it") {
  DoorShare bulk;
  CHECK(bulk.allowance(64, false) == 64);
  bulk.charge(64, false);
  CHECK(bulk.allowance(64, true) == 8);
  bulk.charge(8, false);
  bulk.set({QosLevel::kBulk, 0.25, {}});
  CHECK(bulk.allowance(64, false) == 16);
  bulk.charge(16, false);
  uint32_t taken = 0;
  for (int turn = 0; turn < 64; ++turn) {
    const uint32_t now = bulk.allowance(64, true);
    bulk.charge(now, false);
    taken += now;
  }
  CHECK(taken == 128);
}

}  // namespace
}  // namespace mrpc::dataplane
