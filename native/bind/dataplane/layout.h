// Layout tables as dictionaries, for the policy compiler; the shape is `MessageLayouts` in mrpc_service/dataplane_api.py.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace mrpc::bind {

// Raises ValueError for a schema that does not parse, KeyError for a message that it lacks.
nanobind::dict message_layout(const nanobind::bytes& schema, const std::string& message);

}  // namespace mrpc::bind
