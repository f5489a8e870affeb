// What an application says first, taken apart. The bytes are hostile.
#pragma once

#include <string>

#include "shm/control.h"

namespace mrpc::dataplane {

struct ParsedHello {
  abi::Hello head{};
  std::string label, token;
};

// Errors: kInvalidArgument for a malformed hello, kFailedPrecondition when no ABI level is spoken by both.
Result<ParsedHello> parse_hello(const shm::ControlMessage& message);

}  // namespace mrpc::dataplane
