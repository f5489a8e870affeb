// Rows of policies' state as dictionaries; their shape is PolicyRow in mrpc_service/dataplane_api.py.
#pragma once

#include <nanobind/nanobind.h>

#include "dataplane/policy/moved_rows.h"

namespace mrpc::bind {

nanobind::list from_moved_rows(const std::vector<dataplane::MovedRow>& rows);
// Errors: as Python's, for what is no such dictionary.
std::vector<dataplane::MovedRow> to_moved_rows(const nanobind::list& documents);

}  // namespace mrpc::bind
