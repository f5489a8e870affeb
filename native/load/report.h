// What the program prints: one JSON object for the Python front.
#pragma once

#include <string>

#include "load/driver.h"

namespace mrpc::load {

// Histograms are {"count", "sum", "min", "max", "buckets": [[least value, count], ...]} in nanoseconds; empty buckets are left out.
std::string to_json(const Options& options, const Account& account);

}  // namespace mrpc::load
