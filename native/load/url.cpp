#include "load/url.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

namespace mrpc::load {

Result<Endpoint> resolve(std::string_view url, std::string_view default_port) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return invalid_argument("a target is a URL");
  const std::string_view rest = url.substr(scheme + 3);
  const size_t slash = std::min(rest.find('/'), rest.size());
  Endpoint endpoint;
  endpoint.authority = rest.substr(0, slash);
  endpoint.path = rest.substr(slash);

  std::string host = endpoint.authority, port{default_port};
  const size_t colon = host.rfind(':');
  if (colon != std::string::npos && host.find(']', colon) == std::string::npos) {
    port = host.substr(colon + 1);
    host.resize(colon);
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host.empty()) return invalid_argument("the target's URL names no host");

  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0)
    return unavailable("cannot resolve " + endpoint.authority + ": " + gai_strerror(error));
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  endpoint.address_bytes = found->ai_addrlen;
  freeaddrinfo(found);
  return endpoint;
}

Result<Fd> connect_nonblocking(const Endpoint& endpoint) {
  Fd fd(socket(endpoint.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return unavailable("cannot make a socket: " + errno_text(errno));
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.address_bytes) == 0 || errno == EINPROGRESS) return fd;
  return unavailable("cannot connect to " + endpoint.authority + ": " + errno_text(errno));
}

int socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

std::string errno_text(int error) { return std::strerror(error); }

}  // namespace mrpc::load
