#pragma once

#include "dataplane/engine.h"

namespace mrpc::dataplane {

// Denies by the value of a message field. Settings: field (dotted path to a singular string, bytes, bool, enum or integer), and
// one of deny: [values] or allow: [values], written as text.
Result<std::unique_ptr<Engine>> make_access_control(const EngineConfig& config, const message::MessageLayout& request);

}  // namespace mrpc::dataplane
