#include "load/target.h"

#include <array>

namespace mrpc::load {

std::string code_label(Code code) {
  static constexpr std::array<const char*, kStatusCodeMax + 1> kNames = {
      "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
      "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss",
      "Unauthenticated"};  // as ghz spells them
  return code < kStatusBase ? std::to_string(code) : kNames.at(code - kStatusBase);
}

}  // namespace mrpc::load
