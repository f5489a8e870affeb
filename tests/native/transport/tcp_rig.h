// Two TCP transports on the loopback, their time made by hand, their sockets real.
#pragma once

#include <poll.h>

#include "transport/harness.h"
#include "transport/tcp/tcp.h"

namespace mrpc::transport::testing {

inline TcpOptions tcp_options(const char* name) {
  TcpOptions options{.node_name = name};
  options.layout_version = 1;
  options.random = [state = mix(std::hash<std::string>()(options.node_name)) | 1]() mutable {  // each node draws its own ids
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  };
  return options;
}

inline std::unique_ptr<TcpTransport> make_tcp(TcpOptions options) {
  auto transport = TcpTransport::create(std::move(options));
  REQUIRE(transport.ok());
  return std::move(*transport);
}

template <bool kIpv6>
struct TcpRig {
  static constexpr bool kSegments = true, kReconnects = true;
  std::unique_ptr<TcpTransport> a, b;
  std::string address_;
  uint64_t now_ns = 1;

  explicit TcpRig(TcpOptions client = tcp_options("a"), TcpOptions server = tcp_options("b"))
      : a(make_tcp(std::move(client))), b(make_tcp(std::move(server))) {
    auto bound = b->listen(any_address());
    REQUIRE(bound.ok());
    address_ = *bound;
  }
  static std::string any_address() { return kIpv6 ? "[::1]:0" : "localhost:0"; }
  Transport& client() { return *a; }
  Transport& server() { return *b; }
  std::string address() const { return address_; }
  std::string unused_address() const { return *make_tcp(tcp_options("x"))->listen(any_address()); }

  // Waits for the kernel to move bytes; if it has none, lets the transports' time pass.
  void idle() {
    const uint64_t timer_ns = std::min(a->next_timer_ns(), b->next_timer_ns());
    if (timer_ns <= now_ns) return;
    pollfd fds[2] = {{a->poll_fd(), POLLIN, 0}, {b->poll_fd(), POLLIN, 0}};
    if (::poll(fds, 2, 1) == 0) now_ns = std::min(timer_ns, now_ns + 500'000'000);
  }
};

}  // namespace mrpc::transport::testing
