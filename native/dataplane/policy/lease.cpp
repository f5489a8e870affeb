#include "dataplane/policy/lease.h"

#include <algorithm>
#include <cmath>

namespace mrpc::dataplane {
namespace {

constexpr double kUnit = 1024;               // of left_, taken_ and refused_
constexpr double kTokensMax = 1ull << 40;    // of one call, and of a budget: sums of a few stay far from the end of int64_t

// Rounded up: what is wanted is never had for nothing.
int64_t to_units(double tokens) { return static_cast<int64_t>(std::ceil(std::clamp(tokens, 0.0, kTokensMax) * kUnit)); }
double to_tokens(int64_t units) { return static_cast<double>(units) / kUnit; }

}  // namespace

bool LeaseAccount::take(double want) {
  if (std::isnan(want)) return false;
  const int64_t units = to_units(want);
  int64_t left = left_.load(std::memory_order_relaxed);
  while (left >= units && want <= kTokensMax) {
    if (!left_.compare_exchange_weak(left, left - units, std::memory_order_relaxed)) continue;
    taken_.fetch_add(units, std::memory_order_relaxed);
    return true;
  }
  refused_.fetch_add(units, std::memory_order_relaxed);
  return false;
}

void LeaseAccount::grant(double tokens, double cap, bool shared) {
  shared_.store(shared, std::memory_order_relaxed);
  const int64_t more = std::isnan(tokens) ? 0 : to_units(tokens);
  const int64_t most = std::isnan(cap) ? 0 : to_units(cap);
  int64_t left = left_.load(std::memory_order_relaxed);
  while (!left_.compare_exchange_weak(left, std::min(left + more, most), std::memory_order_relaxed)) {
  }
}

LeaseAccount::Use LeaseAccount::look() {
  return {to_tokens(taken_.exchange(0, std::memory_order_relaxed)), to_tokens(refused_.exchange(0, std::memory_order_relaxed)),
          to_tokens(left_.load(std::memory_order_relaxed)), shared_.load(std::memory_order_relaxed)};
}

}  // namespace mrpc::dataplane
