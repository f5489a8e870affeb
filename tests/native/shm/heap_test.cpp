#include "shm/heap.h"

#include <doctest/doctest.h>

#include <map>
#include <random>

namespace mrpc::shm {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// What is live, by offset; says whether a new range overlaps.
class Model {
 public:
  bool add(uint64_t offset, uint64_t bytes) {
    const auto after = live_.lower_bound(offset);
    if (after != live_.end() && after->first < offset + bytes) return false;
    if (after != live_.begin() && std::prev(after)->first + std::prev(after)->second > offset) return false;
    live_[offset] = bytes;
    return true;
  }
  uint64_t take(std::mt19937_64& random) {
    auto it = live_.lower_bound(random() % (256 * kMiB));
    if (it == live_.end()) it = live_.begin();
    const uint64_t offset = it->first;
    live_.erase(it);
    return offset;
  }
  const std::map<uint64_t, uint64_t>& live() const { return live_; }

 private:
  std::map<uint64_t, uint64_t> live_;
};

uint64_t random_size(std::mt19937_64& random) {
  switch (random() % 8) {
    case 0: return 1 + random() % (4 * kMiB);
    case 1: return 1 + random() % (128 * 1024);
    default: return 1 + random() % 4096;
  }
}

TEST_CASE("random operations against a model") {
  for (const uint64_t seed : {1, 2, 3}) {
    std::mt19937_64 random(seed);
    Model model;
    Heap heap(256 * kMiB, 192 * kMiB, [&](std::span<const Heap::Range> ranges) {
      for (const auto& range : ranges) REQUIRE(Model(model).add(range.offset, range.bytes));  // nothing live is punched
    }, 8 * kMiB);
    for (int step = 0; step < 20'000; ++step) {
      if (model.live().empty() || random() % 100 < 52) {
        const uint64_t bytes = random_size(random);
        const auto offset = heap.allocate(bytes);
        if (!offset) {
          REQUIRE(heap.bytes_reserved() + bytes + 512 * 1024 > 100 * kMiB);  // only when it is well filled
          while (model.live().size() > 10) REQUIRE(heap.free(model.take(random)));
          continue;
        }
        REQUIRE(*offset % Heap::kAlign == 0);
        REQUIRE(*offset != 0);
        REQUIRE(*heap.size_of(*offset) >= bytes);
        REQUIRE(*offset + *heap.size_of(*offset) <= 256 * kMiB);
        REQUIRE(model.add(*offset, *heap.size_of(*offset)));
      } else {
        REQUIRE(heap.free(model.take(random)));
      }
      if (heap.wants_trim()) heap.trim(heap.warm_limit_bytes());
      REQUIRE(heap.bytes_reserved() <= heap.quota_bytes());
    }
    uint64_t sum = 0;
    for (const auto& [offset, bytes] : model.live()) sum += bytes;
    CHECK(heap.bytes_in_use() == sum);
    while (!model.live().empty()) REQUIRE(heap.free(model.take(random)));
    CHECK(heap.bytes_in_use() == 0);
    CHECK(heap.allocate(180 * kMiB));  // nothing stays fragmented but the spare span of each class
  }
}

TEST_CASE("a heap goes on where another one stopped") {
  std::mt19937_64 random(5);
  Model model;
  uint64_t punched = 0;
  const auto punch = [&](std::span<const Heap::Range> ranges) {
    for (const auto& range : ranges) {
      REQUIRE(Model(model).add(range.offset, range.bytes));
      punched += range.bytes;
    }
  };
  auto heap = std::make_unique<Heap>(256 * kMiB, 192 * kMiB, punch);
  for (int step = 0; step < 5'000; ++step) {
    if (step % 500 == 499) {
      auto next = std::make_unique<Heap>(256 * kMiB, 192 * kMiB, punch);
      REQUIRE(next->restore(heap->save()));
      REQUIRE(next->live_offsets() == heap->live_offsets());
      REQUIRE(next->bytes_in_use() == heap->bytes_in_use());
      REQUIRE(next->bytes_reserved() == heap->bytes_reserved());
      REQUIRE(next->warm_bytes() == heap->warm_bytes());
      heap = std::move(next);
    }
    if (model.live().empty() || random() % 100 < 52) {
      const auto offset = heap->allocate(random_size(random));
      if (offset) REQUIRE(model.add(*offset, *heap->size_of(*offset)));
    } else {
      REQUIRE(heap->free(model.take(random)));
    }
  }
  while (!model.live().empty()) REQUIRE(heap->free(model.take(random)));
  CHECK(heap->bytes_in_use() == 0);
  CHECK(heap->allocate(180 * kMiB));
}

TEST_CASE("a heap's state that cannot be is refused") {
  const auto restored = [](const Heap::Saved& saved) { return Heap(kMiB, kMiB, {}).restore(saved); };
  CHECK(restored({{{1, 16, 64, std::vector<uint64_t>(16, ~0ull)}}, {{20, 5}}}));
  CHECK_FALSE(restored({{{0, 16, 64, std::vector<uint64_t>(16)}}, {}}));                                           // page 0
  CHECK_FALSE(restored({{{250, 16, 64, std::vector<uint64_t>(16)}}, {}}));                                         // past the end
  CHECK_FALSE(restored({{{1, 16, 65, std::vector<uint64_t>(16)}}, {}}));                                           // no class
  CHECK_FALSE(restored({{{1, 15, 64, std::vector<uint64_t>(16)}}, {}}));                                           // not its pages
  CHECK_FALSE(restored({{{1, 16, 64, std::vector<uint64_t>(15)}}, {}}));                                           // bits missing
  CHECK_FALSE(restored({{{1, 16, 64, std::vector<uint64_t>(16)}, {16, 16, 64, std::vector<uint64_t>(16)}}, {}}));  // overlap
  CHECK_FALSE(restored({{{1, 4, 0, {}}}, {{3, 4}}}));                                                              // warm and live
  CHECK_FALSE(restored({{{1, 0, 0, {}}}, {}}));
  CHECK_FALSE(restored({{{1, UINT32_MAX, 0, {}}}, {}}));
}

TEST_CASE("hostile offsets are refused, and change nothing") {
  Heap heap(64 * kMiB, 64 * kMiB, {});
  const uint64_t small = *heap.allocate(100), large = *heap.allocate(kMiB);
  for (const uint64_t offset : {uint64_t{0}, small + 1, small + 64, small + 128, large + 64, large + abi::kPage, 64 * kMiB, 64 * kMiB - 1,
                                UINT64_MAX, UINT64_MAX - 63, uint64_t{1} << 63, uint64_t{1} << 44}) {
    CAPTURE(offset);
    CHECK_FALSE(heap.free(offset));
    CHECK_FALSE(heap.is_live(offset));
  }
  CHECK(heap.free(small));
  CHECK_FALSE(heap.free(small));
  CHECK(heap.free(large));
  CHECK_FALSE(heap.free(large));
  CHECK(heap.bytes_in_use() == 0);
}

TEST_CASE("a byte within an allocation tells the allocation") {
  Heap heap(64 * kMiB, 64 * kMiB, {});
  const uint64_t small = *heap.allocate(700), large = *heap.allocate(3 * kMiB);
  CHECK(heap.containing(small + 699)->offset == small);
  CHECK(heap.containing(large + 2 * kMiB)->offset == large);
  CHECK(heap.containing(large + 2 * kMiB)->bytes == 3 * kMiB);
  CHECK_FALSE(heap.containing(small + *heap.size_of(small)));
  CHECK_FALSE(heap.containing(UINT64_MAX));
}

TEST_CASE("every size fits its class") {
  Heap heap(256 * kMiB, 256 * kMiB, {});
  for (uint64_t bytes = 1; bytes <= Heap::kSmallMax + 1; bytes += bytes < 2048 ? 1 : 509) {
    const auto offset = heap.allocate(bytes);
    REQUIRE(offset);
    REQUIRE(*heap.size_of(*offset) >= bytes);
    REQUIRE(*heap.size_of(*offset) <= std::max<uint64_t>(bytes + 63, bytes + bytes / 4) + (bytes > Heap::kSmallMax ? abi::kPage : 0));
    REQUIRE(heap.free(*offset));
  }
}

TEST_CASE("the quota counts pages, also of sparsely used spans") {
  Heap heap(64 * kMiB, kMiB, {});
  std::vector<uint64_t> kept;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto offset = heap.allocate(64);
    if (!offset) break;
    if (i % 1024 == 0) kept.push_back(*offset);
  }
  CHECK(heap.bytes_reserved() == kMiB);
  CHECK_FALSE(heap.allocate(64));
  CHECK_FALSE(heap.allocate(kMiB));
  CHECK_FALSE(heap.allocate(0));
  CHECK_FALSE(heap.allocate(UINT64_MAX));
}

TEST_CASE("warm pages beyond the watermark are given back, in batches") {
  uint64_t punched = 0;
  int calls = 0;
  Heap heap(512 * kMiB, 512 * kMiB, [&](std::span<const Heap::Range> ranges) {
    ++calls;
    for (const auto& range : ranges) punched += range.bytes;
  });
  std::vector<uint64_t> blocks;
  for (int i = 0; i < 24; ++i) blocks.push_back(*heap.allocate(8 * kMiB));
  for (const uint64_t offset : blocks) {
    heap.free(offset);
    if (heap.wants_trim()) heap.trim(heap.warm_limit_bytes());
  }
  CHECK(heap.bytes_committed() <= Heap::kWarmBytes + Heap::kTrimSlackBytes);
  CHECK(punched >= 24 * 8 * kMiB - Heap::kWarmBytes - Heap::kTrimSlackBytes);
  CHECK(calls <= 16);
  heap.trim(heap.warm_limit_bytes());
  CHECK(heap.bytes_committed() == Heap::kWarmBytes);
  CHECK(heap.allocate(500 * kMiB));  // warm and cold runs join when nothing else fits
}

}  // namespace
}  // namespace mrpc::shm
