// The best of what a search has seen so far.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "types.h"

namespace curator {

// Candidates for the k nearest, known by estimates that may be off (codes.h). Holds whatever could still be among them.
class Pool {
 public:
  struct Candidate {
    float estimate, doubt;
    Slot slot;
  };

  // once: slots may come several times, and count once.
  void start(size_t k, bool once) {
    k_ = k;
    once_ = once;
    nearest_.clear();
    candidates_.clear();
  }
  bool full() const { return nearest_.size() == k_; }
  float bar() const { return full() ? nearest_.front().estimate : std::numeric_limits<float>::infinity(); }  // the k-th least estimate
  static bool beyond(float estimate, float doubt, float bar) { return estimate > bar && (estimate - bar) * (estimate - bar) > doubt; }

  // True if it is among the k least so far.
  bool offer(const Candidate& candidate) {
    const float bar = this->bar();
    if (beyond(candidate.estimate, candidate.doubt, bar)) return false;
    const bool nearer = candidate.estimate < bar;
    if (nearer) {
      if (once_ && std::any_of(nearest_.begin(), nearest_.end(), [&](const Candidate& known) { return known.slot == candidate.slot; })) return false;
      if (full()) std::pop_heap(nearest_.begin(), nearest_.end(), less), nearest_.pop_back();
      nearest_.push_back(candidate);
      std::push_heap(nearest_.begin(), nearest_.end(), less);
    }
    candidates_.push_back(candidate);
    return nearer;
  }

  // Those that may be among the k nearest, by estimate, each once.
  const std::vector<Candidate>& finish() {
    std::erase_if(candidates_, [bar = bar()](const Candidate& one) { return beyond(one.estimate, one.doubt, bar); });
    std::sort(candidates_.begin(), candidates_.end(), less);
    candidates_.erase(std::unique(candidates_.begin(), candidates_.end(), [](auto& a, auto& b) { return a.slot == b.slot; }), candidates_.end());
    return candidates_;
  }

 private:
  static bool less(const Candidate& a, const Candidate& b) { return a.estimate != b.estimate ? a.estimate < b.estimate : a.slot < b.slot; }

  size_t k_ = 0;
  bool once_ = false;
  std::vector<Candidate> nearest_;  // a heap of at most k
  std::vector<Candidate> candidates_;
};

}  // namespace curator
