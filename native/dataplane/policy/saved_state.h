// A policy's rows for a successor process: by scope, key and field's name and type, so that the successor may have another version.
#pragma once

#include <span>
#include <vector>

#include "dataplane/policy/instance.h"

namespace mrpc::dataplane {

// With one shard: on its thread, or when it does not run. With several, any thread.
std::vector<std::byte> save_state(const PolicyInstance& instance);

// Before calls run. Scopes and fields that `instance` does not have are passed over. Errors: kInvalidArgument for bytes that
// save_state did not make; rows that came before the fault stay.
Status restore_state(const PolicyInstance& instance, std::span<const std::byte> saved);

}  // namespace mrpc::dataplane
