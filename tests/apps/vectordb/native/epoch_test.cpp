#include "epoch.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <vector>

using curator::Epochs;

namespace {

struct Dropped {
  std::vector<uint64_t> order;
  void retire(Epochs& epochs, uint64_t what) {
    epochs.retire([](void* self, uint64_t dropped) { static_cast<Dropped*>(self)->order.push_back(dropped); }, this, what);
  }
};

}  // namespace

TEST_CASE("what a reader may know is kept until it leaves, and goes in the order in which it was retired") {
  Dropped dropped;
  Epochs epochs;
  std::optional<Epochs::Guard> early(std::in_place, epochs);
  dropped.retire(epochs, 1);
  epochs.advance();
  std::optional<Epochs::Guard> late(std::in_place, epochs);
  dropped.retire(epochs, 2);
  epochs.advance();
  epochs.reclaim();
  CHECK(dropped.order.empty());
  early.reset();
  epochs.reclaim();
  CHECK(dropped.order == std::vector<uint64_t>{1});
  late.reset();
  epochs.reclaim();
  CHECK(dropped.order == std::vector<uint64_t>{1, 2});
}

TEST_CASE("nothing of the batch in hand goes") {
  Dropped dropped;
  Epochs epochs;
  dropped.retire(epochs, 1);
  epochs.reclaim();
  CHECK(dropped.order.empty());
  CHECK(epochs.waiting() == 1);
}

TEST_CASE("what waits at the end is dropped with the epochs") {
  Dropped dropped;
  { Epochs epochs; dropped.retire(epochs, 7); }
  CHECK(dropped.order == std::vector<uint64_t>{7});
}

TEST_CASE("one thread may hold several guards") {
  Dropped dropped;
  Epochs epochs;
  std::vector<std::unique_ptr<Epochs::Guard>> guards;
  for (int i = 0; i < 100; ++i) guards.push_back(std::make_unique<Epochs::Guard>(epochs));
  dropped.retire(epochs, 1);
  epochs.advance();
  guards.erase(guards.begin(), guards.end() - 1);
  epochs.reclaim();
  CHECK(dropped.order.empty());
}
