// The schema that mrpc targets and the null server are given as a file.
#pragma once

#include <cstddef>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/result.h"

namespace mrpc::load {

// A serialised google.protobuf.FileDescriptorSet. Errors: kInvalidArgument.
inline Result<std::vector<std::byte>> read_schema_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid_argument("mrpc:/// needs --schema FILE, a serialised FileDescriptorSet");
  std::vector<std::byte> bytes;
  for (std::istreambuf_iterator<char> at(file), end; at != end; ++at) bytes.push_back(static_cast<std::byte>(*at));
  return bytes;
}

}  // namespace mrpc::load
