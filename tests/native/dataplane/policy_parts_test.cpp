// What policy programs ask of the daemon, by itself: stored replies and leased budgets.
#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "dataplane/policy/lease.h"
#include "dataplane/policy/reply_store.h"

namespace mrpc::dataplane {
namespace {

using Found = ReplyStore::Found;
using CallKey = ReplyStore::CallKey;

constexpr uint64_t kRoom = 1 << 20;

StoredReply reply_of(size_t bytes) { return {std::vector<std::byte>(bytes), {}, 7}; }

// Leads `key` and stores a reply of `bytes` until `expires_ns`.
void fill(ReplyStore& store, std::string_view key, size_t bytes, uint64_t expires_ns = 100, uint64_t bytes_max = kRoom) {
  REQUIRE(store.answer(key, 0, {0, 1}).found == Found::kLead);
  CHECK(store.store(key, reply_of(bytes), expires_ns, bytes_max, {0, 1}).empty());
}

}  // namespace

TEST_CASE("reply store: a reply is found until it expires") {
  ReplyStore store;
  fill(store, "k", 10, 100);
  const auto hit = store.answer("k", 99, {0, 2});
  REQUIRE(hit.found == Found::kHit);
  CHECK(hit.reply->image.size() == 10);
  CHECK(hit.reply->fingerprint == 7);
  CHECK(store.answer("k", 100, {0, 3}).found == Found::kLead);
  CHECK(hit.reply->image.size() == 10);  // whoever has it keeps it
  CHECK(store.stats().entries == 0);
  CHECK(store.stats().bytes == 0);
}

TEST_CASE("reply store: one leads, others wait, and storing hands them back") {
  ReplyStore store;
  CHECK(store.answer("k", 0, {0, 1}).found == Found::kLead);
  CHECK(store.answer("k", 0, {0, 1}).found == Found::kLead);  // who leads already
  CHECK(store.answer("k", 0, {1, 1}).found == Found::kWait);
  CHECK(store.answer("k", 0, {1, 1}).found == Found::kWait);
  CHECK(store.answer("k", 0, {0, 2}).found == Found::kWait);
  CHECK(store.answer("other", 0, {0, 3}).found == Found::kLead);
  CHECK(store.store("k", reply_of(1), 10, kRoom, {0, 1}) == std::vector<CallKey>{{1, 1}, {0, 2}});
  CHECK(store.answer("k", 0, {1, 1}).found == Found::kHit);
  CHECK(store.stats().misses == 2);
}

TEST_CASE("reply store: a leader that ends without is followed by who waited") {
  ReplyStore store;
  store.answer("k", 0, {0, 1});
  store.answer("k", 0, {0, 2});
  CHECK(store.abandon("k", {0, 1}) == std::vector<CallKey>{{0, 2}});
  CHECK(store.answer("k", 0, {0, 2}).found == Found::kLead);
  CHECK(store.abandon("k", {0, 1}).empty());  // leads no more
  CHECK(store.store("k", reply_of(1), 10, kRoom, {0, 1}).empty());
  CHECK(store.answer("k", 0, {0, 3}).found == Found::kWait);
}

TEST_CASE("reply store: who stopped waiting is not handed back, and a leader cannot stop leading that way") {
  ReplyStore store;
  store.answer("k", 0, {0, 1});
  store.answer("k", 0, {0, 2});
  store.stop_waiting("k", {0, 2});
  store.stop_waiting("k", {0, 1});
  store.stop_waiting("nothing", {0, 1});
  CHECK(store.store("k", reply_of(1), 10, kRoom, {0, 1}).empty());
  store.stop_waiting("k", {0, 2});  // is stored by now
  CHECK(store.answer("k", 0, {0, 3}).found == Found::kHit);
}

TEST_CASE("reply store: the least recently used goes first") {
  ReplyStore store;
  constexpr uint64_t kMost = 2 * (1000 + 256 + 1);
  fill(store, "a", 1000, 100, kMost);
  fill(store, "b", 1000, 100, kMost);
  CHECK(store.answer("a", 0, {0, 2}).found == Found::kHit);
  fill(store, "c", 1000, 100, kMost);
  CHECK(store.answer("a", 0, {0, 2}).found == Found::kHit);
  CHECK(store.answer("b", 0, {0, 2}).found == Found::kLead);
  CHECK(store.stats().evicted == 1);
  CHECK(store.stats().bytes == kMost);
}

TEST_CASE("reply store: what is larger than the store is not kept, and drives nothing out") {
  ReplyStore store;
  fill(store, "small", 10);
  store.answer("large", 0, {0, 1});
  store.answer("large", 0, {0, 2});
  CHECK(store.store("large", reply_of(5000), 100, 5000, {0, 1}) == std::vector<CallKey>{{0, 2}});
  CHECK(store.answer("large", 0, {0, 2}).found == Found::kLead);
  CHECK(store.answer("small", 0, {0, 3}).found == Found::kHit);
}

TEST_CASE("reply store: of many threads each key has one leader at a time, and nobody is forgotten") {
  constexpr uint32_t kThreads = 4, kCalls = 3000, kKeys = 7;
  ReplyStore store;
  std::array<std::atomic<int>, kKeys> leaders{};
  std::atomic<uint64_t> waits{0}, handed_back{0}, hits{0}, leads{0};
  const auto work = [&](uint32_t shard) {
    for (uint64_t call = 0; call < kCalls; ++call) {
      const uint32_t which = (shard + call) % kKeys;
      const std::string key = "key" + std::to_string(which);
      switch (store.answer(key, call, {shard, call}).found) {
        case Found::kHit: hits++; break;
        case Found::kWait: waits++; break;  // each call waits once, and is handed back once
        case Found::kLead:
          leads++;
          CHECK(leaders[which].fetch_add(1) == 0);
          CHECK(leaders[which].fetch_sub(1) == 1);
          handed_back += (call % 3 == 0 ? store.abandon(key, {shard, call})
                                        : store.store(key, reply_of(100), call + 2, 1500, {shard, call})).size();
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t shard = 0; shard < kThreads; ++shard) threads.emplace_back(work, shard);
  for (auto& thread : threads) thread.join();
  CHECK(handed_back == waits);
  CHECK(hits + waits + leads == kThreads * kCalls);
  CHECK(store.stats().bytes <= 1500);
  CHECK(store.stats().hits == hits);
}

TEST_CASE("lease: what was granted can be taken, and no more") {
  LeaseAccount lease;
  CHECK_FALSE(lease.take(1));
  lease.grant(2.5, 10, true);
  CHECK(lease.take(1));
  CHECK(lease.take(1.5));
  CHECK_FALSE(lease.take(0.001));
  CHECK(lease.take(0));
  const auto use = lease.look();
  CHECK(use.taken == doctest::Approx(2.5));
  CHECK(use.refused == doctest::Approx(1.001).epsilon(0.01));
  CHECK(use.left == 0);
  CHECK(use.shared);
  CHECK(lease.look().taken == 0);
}

TEST_CASE("lease: more than the burst is lost, also when the burst shrinks") {
  LeaseAccount lease;
  lease.grant(100, 10, true);
  CHECK(lease.look().left == 10);
  lease.grant(0, 4, false);
  CHECK(lease.look().left == 4);
  CHECK_FALSE(lease.look().shared);
}

TEST_CASE("lease: numbers that are none take nothing") {
  LeaseAccount lease;
  const double nan = std::nan(""), endless = std::numeric_limits<double>::infinity();
  lease.grant(nan, 10, true);
  lease.grant(-5, 10, true);
  CHECK(lease.look().left == 0);
  lease.grant(endless, endless, true);
  CHECK(lease.look().left > 1e12);
  CHECK_FALSE(lease.take(nan));
  CHECK_FALSE(lease.take(endless));
  CHECK_FALSE(lease.take(1e300));
  const double left = lease.look().left;
  CHECK(lease.take(-1e300));
  CHECK(lease.look().left == left);
}

TEST_CASE("lease: many threads never take a token twice") {
  LeaseAccount lease;
  lease.grant(1000, 1000, true);
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 500; ++n) taken += lease.take(1);
    });
  for (auto& thread : threads) thread.join();
  CHECK(taken == 1000);
}

}  // namespace mrpc::dataplane
