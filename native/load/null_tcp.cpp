#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include "base/fd.h"
#include "load/null_http2.h"
#include "load/null_server.h"

namespace mrpc::load {
namespace {

constexpr std::string_view kHttpReply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kInputMax = 1 << 20;

struct Peer {
  Fd fd;
  std::string input, output;
  bool http2_decided = false;
  std::unique_ptr<NullHttp2> http2;
};

// One reply for each blank line. Requests with bodies are not for this server.
bool answer_http1(Peer& peer) {
  size_t from = 0;
  for (size_t end; (end = peer.input.find("\r\n\r\n", from)) != std::string::npos; from = end + 4) peer.output += kHttpReply;
  peer.input.erase(0, from);
  return peer.input.size() < kInputMax;
}

// False: the connection has come to its end.
bool answer(Peer& peer) {
  if (!peer.http2_decided) {
    const size_t seen = std::min(peer.input.size(), kHttp2Preface.size());
    const bool alike = std::string_view(peer.input).substr(0, seen) == kHttp2Preface.substr(0, seen);
    if (alike && seen < kHttp2Preface.size()) return true;
    peer.http2_decided = true;
    if (alike && !(peer.http2 = NullHttp2::create())) return false;
  }
  if (!peer.http2) return answer_http1(peer);
  const bool alive = peer.http2->answer(peer.input, peer.output);
  peer.input.clear();
  return alive;
}

bool flush(Peer& peer) {
  while (!peer.output.empty()) {
    const ssize_t n = ::send(peer.fd.get(), peer.output.data(), peer.output.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    peer.output.erase(0, static_cast<size_t>(n));
  }
  return true;
}

bool serve(Peer& peer) {
  char buffer[64 * 1024];
  while (true) {
    const ssize_t n = recv(peer.fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return flush(peer);
    if (n <= 0) return false;
    peer.input.append(buffer, static_cast<size_t>(n));
    if (!answer(peer) || !flush(peer)) return false;
  }
}

Result<Fd> listen_loopback(uint16_t& port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool ok = bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length) == 0 && listen(fd.get(), 1024) == 0 &&
                  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &length) == 0;
  if (!ok) return unavailable(std::string("cannot listen on loopback: ") + std::strerror(errno));
  port = ntohs(at.sin_port);
  return fd;
}

Fd watch_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(signalfd(-1, &set, SFD_CLOEXEC));
}

void watch(const Fd& epoll, int fd, uint32_t events) {
  epoll_event event{events, {.fd = fd}};
  epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
}

void accept_all(const Fd& epoll, const Fd& listener, std::map<int, Peer>& peers) {
  for (int fd; (fd = accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peers[fd].fd = Fd(fd);
    watch(epoll, fd, EPOLLIN | EPOLLOUT | EPOLLET);
  }
}

}  // namespace

Status serve_null_tcp(uint16_t port) {
  auto listener = listen_loopback(port);
  if (!listener) return listener.error();
  const Fd signals = watch_signals();
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  watch(epoll, listener->get(), EPOLLIN);
  watch(epoll, signals.get(), EPOLLIN);
  std::map<int, Peer> peers;
  std::printf("null server on port %u\n", port);
  std::fflush(stdout);
  while (true) {
    epoll_event events[64];
    const int n = epoll_wait(epoll.get(), events, 64, -1);
    for (int i = 0; i < n; ++i) {
      const int fd = events[i].data.fd;
      if (fd == signals.get()) return ok_status();
      if (fd == listener->get()) accept_all(epoll, *listener, peers);
      else if (const auto peer = peers.find(fd); peer != peers.end() && !serve(peer->second)) peers.erase(peer);
    }
  }
}

}  // namespace mrpc::load
