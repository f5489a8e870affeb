#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "stub/types.h"

namespace mrpc::stub {
namespace {

void set_number(std::string_view item, std::string_view name, uint32_t& value) {
  if (item.substr(0, name.size()) != name || item.substr(name.size(), 1) != "=") return;
  const auto digits = item.substr(name.size() + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
}

}  // namespace

std::string default_socket_path() {
  if (const char* dir = std::getenv("MRPC_RUNTIME_DIR"); dir != nullptr && *dir != 0) return std::string(dir) + "/app.sock";
  if (::geteuid() == 0) return "/run/mrpc/app.sock";
  if (const char* dir = std::getenv("XDG_RUNTIME_DIR"); dir != nullptr && *dir != 0) return std::string(dir) + "/mrpc/app.sock";
  return "/run/user/" + std::to_string(::geteuid()) + "/mrpc/app.sock";
}

WaitPolicy WaitPolicy::from_environment() {
  WaitPolicy policy;
  const char* text = std::getenv("MRPC_WAIT");
  std::string_view rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const auto item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    set_number(item, "poll_us", policy.poll_us);
    set_number(item, "server_poll_us", policy.server_poll_us);
    set_number(item, "slice_ms", policy.slice_ms);
  }
  policy.slice_ms = std::min(std::max(policy.slice_ms, 1u), 50u);
  return policy;
}

}  // namespace mrpc::stub
