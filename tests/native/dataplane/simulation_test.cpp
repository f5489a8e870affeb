// Hundreds of seeds of simulation.h; `make simulate`: thousands. MRPC_SIMULATION_SEEDS: how many. MRPC_SIMULATION_SEED: this one alone, told step
// by step.
#include "dataplane/simulation.h"

#include <cstdlib>

namespace mrpc::dataplane::testing {
namespace {

uint64_t number_in(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

TEST_CASE("whatever happens, each call ends once, nothing is done twice, reordered or leaked") {
  const uint64_t only = number_in("MRPC_SIMULATION_SEED", 0);
  const uint64_t seeds = only != 0 ? 1 : number_in("MRPC_SIMULATION_SEEDS", 200);
  std::array<uint64_t, kStatusCodeMax + 1> codes{};
  for (uint64_t i = 0; i < seeds; ++i) {
    const uint64_t seed = only != 0 ? only : i + 1;
    INFO("seed " << seed << "; again, step by step: MRPC_SIMULATION_SEED=" << seed);
    Simulation simulation(seed, only != 0);
    simulation.run();
    for (size_t code = 0; code < codes.size(); ++code) codes[code] += simulation.codes[code];
  }
  if (only != 0) return;
  for (const StatusCode code : {StatusCode::kOk, StatusCode::kCancelled, StatusCode::kDeadlineExceeded, StatusCode::kUnavailable,
                                StatusCode::kPermissionDenied, StatusCode::kResourceExhausted, StatusCode::kNotFound}) {
    INFO("calls that ended as " << static_cast<int>(code));
    CHECK(codes[static_cast<size_t>(code)] > 0);  // it has come to pass
  }
}

}  // namespace mrpc::dataplane::testing
