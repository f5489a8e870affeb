#include "dataplane/hello.h"

#include "base/text.h"

namespace mrpc::dataplane {

Result<ParsedHello> parse_hello(const shm::ControlMessage& message) {
  const auto hello = message.head<abi::Hello>();
  if (!hello) return hello.error();
  if (hello->endian_probe != abi::kEndianProbe) return invalid_argument("hello of another byte order");
  if (hello->level_min > abi::kLevel || hello->level_max < abi::kLevelOldest || hello->level_min > hello->level_max)
    return Error{StatusCode::kFailedPrecondition,
                 "the application speaks ABI levels " + std::to_string(hello->level_min) + " to " + std::to_string(hello->level_max) +
                     ", mrpcd " + std::to_string(abi::kLevelOldest) + " to " + std::to_string(abi::kLevel) + "; install matching versions"};
  if (hello->label_bytes > abi::kLabelBytesMax || hello->token_bytes > abi::kTokenBytesMax || hello->reserved != 0 ||
      message.body.size() != sizeof(abi::Hello) + hello->label_bytes + hello->token_bytes)
    return invalid_argument("malformed hello");
  if (hello->role != static_cast<uint32_t>(abi::Role::kClient) && hello->role != static_cast<uint32_t>(abi::Role::kServer))
    return invalid_argument("hello with an unknown role");
  const auto rest = message.tail(sizeof(abi::Hello));
  const auto text = [](std::span<const std::byte> bytes) { return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()); };
  return ParsedHello{*hello, printable(text(rest.first(hello->label_bytes))), text(rest.subspan(hello->label_bytes))};
}

}  // namespace mrpc::dataplane
