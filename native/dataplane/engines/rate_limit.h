#pragma once

#include "dataplane/engine.h"

namespace mrpc::dataplane {

// Token bucket on one edge. Settings: requests_per_second (> 0), burst (>= 1; default one second's worth).
Result<std::unique_ptr<Engine>> make_rate_limit(const EngineConfig& config, const message::MessageLayout& request);

}  // namespace mrpc::dataplane
