// Bindings and program specs as the control plane hands them over (mrpc_service/policy/spec.py).
#pragma once

#include <nanobind/nanobind.h>

#include <vector>

#include "dataplane/policy/instance.h"

// Raises KeyError, TypeError or ValueError for what is not of the shape that is written down there.
std::vector<mrpc::dataplane::Binding> to_bindings(const nanobind::list& list);
