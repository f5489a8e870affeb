#include "load/payloads.h"

#include <cstdint>
#include <fstream>

namespace mrpc::load {

Result<std::vector<std::string>> read_payloads(const std::string& path) {
  if (path.empty()) return std::vector<std::string>(1);
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid_argument("cannot read " + path);
  std::vector<std::string> payloads;
  for (uint32_t length = 0; file.read(reinterpret_cast<char*>(&length), sizeof length);) {
    if (length > (1u << 30)) return invalid_argument(path + ": a message is over 1 GiB");
    std::string payload(length, '\0');
    if (!file.read(payload.data(), length)) return invalid_argument(path + " is cut short");
    payloads.push_back(std::move(payload));
  }
  if (payloads.empty() || file.gcount() != 0) return invalid_argument(path + " holds no whole message");
  return payloads;
}

}  // namespace mrpc::load
