#include "transport/tcp/tcp_setup.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace mrpc::transport {
namespace {

Error socket_error(const std::string& what, int error) {
  StatusCode code = StatusCode::kUnavailable;
  if (error == EADDRINUSE) code = StatusCode::kAlreadyExists;
  if (error == EACCES || error == EPERM) code = StatusCode::kPermissionDenied;
  if (error == EADDRNOTAVAIL) code = StatusCode::kInvalidArgument;
  return {code, what + ": " + std::strerror(error)};
}

}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

std::string SocketAddress::text() const {
  char host[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    return "[" + std::string(host) + "]:" + std::to_string(ntohs(in6.sin6_port));
  }
  const auto& in4 = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &in4.sin_addr, host, sizeof host);
  return std::string(host) + ":" + std::to_string(ntohs(in4.sin_port));
}

Result<SocketAddress> parse_address(const std::string& text) {
  const Error bad = invalid_argument("'" + text + "' is not an address; write 10.0.0.1:7000, [::1]:7000 or localhost:7000");
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad;
  std::string host = text.substr(0, colon);
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end) return bad;
  if (host == "localhost") host = "127.0.0.1";

  SocketAddress address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &in6.sin6_addr) != 1) return bad;
    address.bytes = sizeof in6;
  } else {
    auto& in4 = reinterpret_cast<sockaddr_in&>(address.storage);
    in4.sin_family = AF_INET;
    in4.sin_port = htons(port);
    if (inet_pton(AF_INET, host.c_str(), &in4.sin_addr) != 1) return bad;
    address.bytes = sizeof in4;
  }
  return address;
}

Result<Fd> open_listener(const SocketAddress& address) {
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return socket_error("cannot make a socket", errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.storage.ss_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.bytes) != 0 || ::listen(fd.get(), 128) != 0) {
    return socket_error("cannot listen at " + address.text(), errno);
  }
  return fd;
}

Result<SocketAddress> local_address(int fd) {
  SocketAddress address;
  address.bytes = sizeof address.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) != 0) return socket_error("getsockname", errno);
  return address;
}

void prepare_stream(int fd) {
  const int on = 1, unsent_bytes = 256 * 1024;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_bytes, sizeof unsent_bytes);
}

Result<Fd> begin_connect(const SocketAddress& address) {
  Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return unavailable(std::string("cannot make a socket: ") + std::strerror(errno));
  prepare_stream(fd.get());
  const int rc = ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.bytes);
  if (rc != 0 && errno != EINPROGRESS) return unavailable(std::strerror(errno));
  return fd;
}

Status connect_outcome(int fd) {
  int error = 0;
  socklen_t bytes = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
  if (error != 0) return unavailable(std::strerror(error));
  return ok_status();
}

uint64_t Backoff::next_delay_ns(const std::function<uint64_t()>& random) {
  const uint64_t delay_ns = next_ns_ / 2 + random() % (next_ns_ / 2 + 1);
  next_ns_ = std::min(max_ns_, 2 * next_ns_);
  return delay_ns;
}

}  // namespace mrpc::transport
