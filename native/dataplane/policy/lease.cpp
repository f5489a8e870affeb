#include "dataplane/policy/lease.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace mrpc::dataplane {
namespace {

constexpr double kUnit = 1024;               // of left_, taken_ and refused_
constexpr double kTokensMax = 1ull << 40;    // of one call, and of a budget: sums of a few stay far from the end of int64_t

// Rounded up: what is wanted is never had for nothing.
int64_t to_units(double tokens) {
  const double exact = std::clamp(tokens, 0.0, kTokensMax) * kUnit;
  const auto units = static_cast<int64_t>(exact);
  return units + (static_cast<double>(units) < exact);
}
double to_tokens(int64_t units) { return static_cast<double>(units) / kUnit; }

}  // namespace

bool LeaseAccount::take(double want) {
  if (std::isnan(want)) return false;
  const int64_t units = to_units(want);
  int64_t left = left_.load(std::memory_order_relaxed);
  while (left >= units && want <= kTokensMax)
    if (left_.compare_exchange_weak(left, left - units, std::memory_order_relaxed)) return true;
  refused_.fetch_add(units, std::memory_order_relaxed);
  return false;
}

void LeaseAccount::grant(double tokens, double cap, bool shared) {
  shared_ = shared;
  const int64_t more = std::isnan(tokens) ? 0 : to_units(tokens);
  const int64_t most = std::isnan(cap) ? 0 : to_units(cap);
  int64_t left = left_.load(std::memory_order_relaxed);
  int64_t then = 0;
  do then = std::min(left + more, most);
  while (!left_.compare_exchange_weak(left, then, std::memory_order_relaxed));
  unspent_ += then - left;
}

LeaseAccount::Use LeaseAccount::look() {
  const int64_t left = left_.load(std::memory_order_relaxed);
  const int64_t taken = std::exchange(unspent_, left) - left;
  return {to_tokens(taken), to_tokens(refused_.exchange(0, std::memory_order_relaxed)), to_tokens(left), shared_};
}

}  // namespace mrpc::dataplane
