// The requests of grpc and mrpc targets: protobuf bytes, drawn from by number.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"

namespace mrpc::load {

// A file of records {u32 little-endian length, bytes}; no file: one empty message. Errors: kInvalidArgument.
Result<std::vector<std::string>> read_payloads(const std::string& path);

}  // namespace mrpc::load
