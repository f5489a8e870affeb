// When a search has looked at enough: learnt by the index from itself.
//
// Vectors of the index serve as queries, for tenants of every size, half of them tenants that see the vector and half that were drawn
// without a look at it. For each true neighbour it is noted how many vectors the walk (walk.h) passes before it comes to it. The share
// `recall` of the neighbours has been passed after the quantile `recall` of those numbers: that quantile, for tenants of the size at hand
// and the harder of the two cases, is the budget of a search. It bounds the cost of every query alike, whence short tails; budgets that
// follow the single query (by the distances of lists yet to come, modelled as normal) cost as much or more at equal recall on real
// data, and made the tail longer (decision 021).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace curator {

class Index;

class Stop {
 public:
  // How many of a tenant's visible vectors to look at.
  uint64_t budget(uint64_t visible, uint64_t k, float recall) const;
  bool empty() const { return classes_.empty(); }
  std::string image() const;
  static std::optional<Stop> from_image(std::string_view image);  // nothing read is trusted

 private:
  static constexpr std::array<float, 12> kRecalls = {0.5f, 0.7f, 0.8f, 0.85f, 0.9f, 0.925f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 1.0f};
  static constexpr std::array<uint32_t, 2> kNearest = {10, 100};
  using Budgets = std::array<float, kRecalls.size()>;
  struct SizeClass {
    float visible = 0;                             // mean of the tenants that were asked
    std::array<Budgets, kNearest.size()> budgets;  // by k
  };
  friend class Lesson;
  std::vector<SizeClass> classes_;  // ascending
};

class Lesson;

// The present rule, replaced while readers use it. Earlier ones are kept, a few hundred bytes each: readers may hold them.
class Stops {
 public:
  static constexpr uint64_t kAll = UINT64_MAX;

  Stops();
  ~Stops();
  uint64_t budget(uint64_t visible, uint64_t k, float recall) const { return now_.load(std::memory_order_acquire)->budget(visible, k, recall); }
  // Whether tenants see at least twice or at most half of what it was learnt from.
  bool due(const Index& index) const;
  // When it is due: a piece of learning, for which walks pass about so many vectors; whether there is more to learn. A piece less than kAll
  // waits for nobody, and may do nothing.
  bool learn(const Index& index, uint64_t vectors);
  void learn_now(const Index& index);  // due or not
  // Empty when it is to be learnt anew: then whoever loads the index does.
  std::string image(const Index& index) const { return due(index) ? std::string() : now_.load(std::memory_order_acquire)->image(); }
  void restore(Stop stop, const Index& index);

 private:
  void put(Stop stop);
  void go_on(uint64_t vectors);

  std::mutex learning_;
  std::unique_ptr<Lesson> lesson_;  // under way
  std::vector<std::unique_ptr<const Stop>> all_;
  std::atomic<const Stop*> now_{nullptr};
  std::atomic<uint64_t> learnt_from_{0};  // pairs of a tenant and a vector
};

}  // namespace curator
