#include "dataplane/engines/rate_limit.h"

#include <algorithm>
#include <cstring>

#include "dataplane/engines/engine_config.h"

namespace mrpc::dataplane {
namespace {

class RateLimit final : public Engine {
 public:
  RateLimit(double per_second, double burst) : per_ns_(per_second / 1e9), burst_(burst), tokens_(burst) {}

  Action on_request(JudgedCall& call) override {
    if (!call.facts.first) return Action::kForward;
    refill(call.facts.now_ns);
    if (tokens_ < 1) return call.verdict.denial = resource_exhausted("rate limit exceeded; retry after a pause"), Action::kDeny;
    tokens_ -= 1;
    return Action::kForward;
  }

  void adopt(const Engine& old) override {
    const auto& before = static_cast<const RateLimit&>(old);
    tokens_ = std::min(before.tokens_, burst_);
    refilled_ns_ = before.refilled_ns_;
  }

  std::vector<std::byte> save() const override {
    std::vector<std::byte> out(sizeof tokens_);
    std::memcpy(out.data(), &tokens_, sizeof tokens_);
    return out;
  }
  Status restore(std::span<const std::byte> saved) override {
    double tokens = 0;
    if (saved.size() != sizeof tokens) return invalid_argument("rate_limit: saved state of a wrong size");
    std::memcpy(&tokens, saved.data(), sizeof tokens);
    if (!(tokens >= 0)) return invalid_argument("rate_limit: saved state is not a number of tokens");
    tokens_ = std::min(tokens, burst_);
    return ok_status();
  }

 private:
  void refill(uint64_t now_ns) {
    if (refilled_ns_ != 0 && now_ns > refilled_ns_)
      tokens_ = std::min(burst_, tokens_ + static_cast<double>(now_ns - refilled_ns_) * per_ns_);
    refilled_ns_ = now_ns;
  }

  double per_ns_, burst_, tokens_;
  uint64_t refilled_ns_ = 0;
};

}  // namespace

Result<std::unique_ptr<Engine>> make_rate_limit(const EngineConfig& config, const message::MessageLayout&) {
  ConfigReader reader(config);
  const double per_second = reader.number("requests_per_second", 0);
  reader.require(per_second > 0, "'requests_per_second' must be above 0");
  const double burst = reader.number("burst", std::max(1.0, per_second));
  reader.require(burst >= 1, "'burst' must be at least 1");
  if (const Status done = reader.done(); !done) return done.error();
  return std::unique_ptr<Engine>(new RateLimit(per_second, burst));
}

}  // namespace mrpc::dataplane
