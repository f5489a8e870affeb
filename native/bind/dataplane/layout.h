// Layout tables as dictionaries, for the policy compiler, and images, for programs that it tries out; the shape is `MessageLayouts` in mrpc_service/dataplane_api.py.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

namespace mrpc::bind {

// Raises ValueError for a schema that does not parse, KeyError for a message that it lacks.
nanobind::dict message_layout(const nanobind::bytes& schema, const std::string& message);
// The image of a message of protobuf bytes. Raises the same, and ValueError for bytes that are none.
nanobind::bytes message_image(const nanobind::bytes& schema, const std::string& message, const nanobind::bytes& protobuf);

}  // namespace mrpc::bind
