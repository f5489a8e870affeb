// The path of the field at which a walk failed, put together on the way out: innermost field first.
#pragma once

#include <string>

namespace mrpc::message {

inline void prepend_field(std::string& path, const std::string& field) {
  constexpr size_t kPathBytesMax = 512;  // of a hostile message the innermost fields will do
  if (path.size() >= kPathBytesMax) return;
  path = path.empty() ? field : field + "." + path;
}

}  // namespace mrpc::message
