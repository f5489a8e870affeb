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

Result<std::unique_ptr<Target>> make_target(const Options& options, int epoll_fd, Sink& sink) {
  if (options.target.starts_with("http://")) return make_http_target(options, epoll_fd, sink);
  if (options.target.starts_with("grpc://")) return make_grpc_target(options, epoll_fd, sink);
  if (options.target.starts_with("mrpc://")) return make_mrpc_target(options, epoll_fd, sink);
  return invalid_argument("unknown kind of target " + options.target + ": use http://, grpc:// or mrpc:///");
}

}  // namespace mrpc::load
