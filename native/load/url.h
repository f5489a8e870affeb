// Where a socket target is, and non-blocking connections to it.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace mrpc::load {

struct Endpoint {
  std::string authority;  // host:port, as the URL says
  std::string path;       // "/..." or empty
  sockaddr_storage address{};
  socklen_t address_bytes = 0;
};

// "scheme://host[:port][/path]". Errors: kInvalidArgument (form), kUnavailable (the name does not resolve).
Result<Endpoint> resolve(std::string_view url, std::string_view default_port);

// Begins to connect; the outcome is the socket's error once it is writable. Errors: kUnavailable.
Result<Fd> connect_nonblocking(const Endpoint& endpoint);
// 0, or the errno of a connection attempt.
int socket_error(int fd);
std::string errno_text(int error);

}  // namespace mrpc::load
