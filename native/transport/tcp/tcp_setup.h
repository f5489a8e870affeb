// Sockets, before any frame passes: addresses, listening, connecting, and when to try again.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"

namespace mrpc::transport {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  std::string text() const;  // "127.0.0.1:7000", "[::1]:7000"
};

// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset();
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// "1.2.3.4:PORT", "[IPv6]:PORT" or "localhost:PORT". Names are resolved by the control plane, not here. Errors: kInvalidArgument.
Result<SocketAddress> parse_address(const std::string& text);
// Errors: kAlreadyExists (in use), kPermissionDenied, kInvalidArgument (not an address of this host), kUnavailable.
Result<Fd> open_listener(const SocketAddress& address);
Result<SocketAddress> local_address(int fd);
// Begins to connect; the socket becomes writable when it is decided. Errors: kUnavailable.
Result<Fd> begin_connect(const SocketAddress& address);
// What became of it. Errors: kUnavailable.
Status connect_outcome(int fd);
// Non-blocking, no Nagle, little unsent data in the kernel, so that small frames do not queue behind large ones.
void prepare_stream(int fd);

// Exponential, each step drawn from its upper half, so that daemons that lost the same peer do not come back as one.
class Backoff {
 public:
  Backoff(uint64_t first_ns, uint64_t max_ns) : first_ns_(first_ns), max_ns_(max_ns), next_ns_(first_ns) {}
  uint64_t next_delay_ns(const std::function<uint64_t()>& random);
  void reset() { next_ns_ = first_ns_; }

 private:
  uint64_t first_ns_, max_ns_, next_ns_;
};

}  // namespace mrpc::transport
