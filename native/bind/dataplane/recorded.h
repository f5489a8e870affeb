// Recorded calls and dry runs as dictionaries; the shapes are in mrpc_service/dataplane_api.py.
#pragma once

#include <nanobind/nanobind.h>

#include "dataplane/policy/dry_run.h"

namespace mrpc::bind {

nanobind::dict from_dry_run(const dataplane::DryRun& run);
// The newest `limit`, the newest first.
nanobind::list from_recorded(const dataplane::Recorder::Calls& calls, size_t limit);

}  // namespace mrpc::bind
