// Keys of rows in policies' state: a text for each part of the scope ("method" has two, service and method), each behind its length.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mrpc::dataplane {

inline void append_part(std::string& key, std::string_view text) {
  const auto bytes = static_cast<uint32_t>(text.size());
  key.append(reinterpret_cast<const char*>(&bytes), sizeof bytes).append(text);
}

}  // namespace mrpc::dataplane
