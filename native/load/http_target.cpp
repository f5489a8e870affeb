// HTTP/1.1 with keep-alive: one request at a time on each connection, so that a connection is a unit of concurrency as in a
// browser or wrk. Connections are made when first needed and again after they break; a call waits for its connection, and
// that wait is part of its latency.
#include <sys/epoll.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "load/http_parser.h"
#include "load/target.h"
#include "load/url.h"

namespace mrpc::load {
namespace {

struct Request {
  std::string bytes;
  bool head = false;
};

struct Connection {
  enum class State : uint8_t { kDown, kConnecting, kIdle, kBusy };
  Fd fd;
  State state = State::kDown;
  bool failed = false;  // before it could connect: told in the next turn
  uint32_t call = 0;
  const Request* request = nullptr;
  size_t written = 0;
  HttpParser parser;
  std::string error;
};

std::string render(const Options& options, const Endpoint& at, std::string_view method, std::string_view path) {
  std::string out;
  out.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: ").append(at.authority).append("\r\n");
  for (const auto& [name, value] : options.metadata) out.append(name).append(": ").append(value).append("\r\n");
  if (method != "GET" && method != "HEAD") out.append("Content-Length: 0\r\n");
  return out.append("\r\n");
}

Result<std::vector<Request>> read_requests(const Options& options, const Endpoint& at) {
  std::vector<Request> requests;
  if (options.requests_file.empty()) {
    requests.push_back({render(options, at, "GET", at.path.empty() ? "/" : at.path), false});
    return requests;
  }
  std::ifstream file(options.requests_file);
  if (!file) return invalid_argument("cannot read " + options.requests_file);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string method, path, extra;
    if (!(words >> method >> path) || path[0] != '/' || words >> extra)
      return invalid_argument(options.requests_file + ": each line is METHOD /PATH, this one is not: " + line);
    requests.push_back({render(options, at, method, path), method == "HEAD"});
  }
  if (requests.empty()) return invalid_argument(options.requests_file + " holds no request");
  return requests;
}

class HttpTarget final : public Target {
 public:
  HttpTarget(const Options& options, int epoll_fd, Sink& sink, Endpoint endpoint, std::vector<Request> requests)
      : epoll_fd_(epoll_fd), sink_(sink), endpoint_(std::move(endpoint)), requests_(std::move(requests)),
        connections_(options.connections), connection_of_(options.in_flight_max) {
    for (uint32_t i = options.connections; i > 0; --i) idle_.push_back(i - 1);
  }

  uint32_t request_count() const override { return static_cast<uint32_t>(requests_.size()); }
  bool can_send() const override { return !idle_.empty(); }

  void send(uint32_t call, uint32_t request) override {
    const uint32_t index = idle_.back();
    idle_.pop_back();
    connection_of_[call] = index;
    Connection& c = connections_[index];
    c.call = call;
    c.request = &requests_[request];
    c.written = 0;
    c.parser.reset(c.request->head);
    if (c.state == Connection::State::kDown) return open(c, index);
    c.state = Connection::State::kBusy;
    write(c, index);
  }

  void cancel(uint32_t call) override {
    const uint32_t index = connection_of_[call];
    drop(connections_[index]);
    idle_.push_back(index);
  }

  bool turn() override {
    std::vector<uint32_t> broken;
    broken.swap(broken_);
    for (const uint32_t index : broken)
      if (connections_[index].failed) fail(index, connections_[index].error);
    return false;
  }

  void on_event(uint64_t tag, uint32_t events) override {
    const auto index = static_cast<uint32_t>(tag);
    Connection& c = connections_[index];
    // The tag's upper half is the descriptor: an event of one that was closed earlier in this batch is stale.
    if (c.fd.get() != static_cast<int>(tag >> 32)) return;
    if (c.state == Connection::State::kConnecting) {
      if (const int error = socket_error(c.fd.get()); error != 0)
        return fail(index, "cannot connect to " + endpoint_.authority + ": " + errno_text(error));
      c.state = Connection::State::kBusy;
    }
    if (c.failed) return;
    if (c.state == Connection::State::kBusy && (events & EPOLLOUT)) write(c, index);
    if (!c.failed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))) read(c, index, (events & EPOLLRDHUP) != 0);
  }

 private:
  void open(Connection& c, uint32_t index) {
    auto fd = connect_nonblocking(endpoint_);
    if (!fd) return fail_later(c, index, fd.error().text);
    c.fd = std::move(*fd);
    c.state = Connection::State::kConnecting;
    epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = uint64_t(c.fd.get()) << 32 | index}};
    MRPC_ASSERT(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, c.fd.get(), &event) == 0);
  }

  void write(Connection& c, uint32_t index) {
    const std::string& bytes = c.request->bytes;
    while (c.written < bytes.size()) {
      const ssize_t n = ::send(c.fd.get(), bytes.data() + c.written, bytes.size() - c.written, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n < 0) return fail_later(c, index, "connection broke while sending: " + errno_text(errno));
      c.written += static_cast<size_t>(n);
    }
  }

  // Edge-triggered: a short read has drained the socket, unless the peer's end stands behind it.
  void read(Connection& c, uint32_t index, bool closing) {
    char buffer[64 * 1024];
    while (true) {
      const ssize_t n = recv(c.fd.get(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n <= 0) return closed(c, index, n < 0 ? errno : 0);
      if (c.state != Connection::State::kBusy) return drop(c);  // bytes that nobody asked for
      std::string_view input(buffer, static_cast<size_t>(n));
      if (Status s = c.parser.consume(input); !s) return fail(index, s.error().text);
      if (!c.parser.done()) continue;
      const bool reusable = c.parser.keep_alive() && input.empty() && c.written == c.request->bytes.size();
      reply(c, index, reusable);
      if (!reusable || (!closing && static_cast<size_t>(n) < sizeof buffer)) return;
    }
  }

  void closed(Connection& c, uint32_t index, int error) {
    if (c.state != Connection::State::kBusy) return drop(c);
    if (error == 0 && c.parser.ends_with_connection()) return reply(c, index, false);
    if (error != 0) return fail(index, "connection broke: " + errno_text(error));
    fail(index, c.parser.started() ? "connection closed within a reply" : "connection closed before a reply");
  }

  void reply(Connection& c, uint32_t index, bool reusable) {
    const uint32_t call = c.call;
    const Code code = c.parser.status();
    c.state = Connection::State::kIdle;
    if (!reusable) drop(c);
    idle_.push_back(index);
    sink_.complete(call, code, {});
  }

  // send() may not report a call's end: the next turn does.
  void fail_later(Connection& c, uint32_t index, std::string error) {
    c.failed = true;
    c.error = std::move(error);
    broken_.push_back(index);
  }

  void fail(uint32_t index, std::string error) {
    Connection& c = connections_[index];
    const uint32_t call = c.call;
    drop(c);
    idle_.push_back(index);
    sink_.complete(call, code_of(StatusCode::kUnavailable), error);
  }

  void drop(Connection& c) {
    c.fd.reset();
    c.failed = false;
    c.state = Connection::State::kDown;
  }

  const int epoll_fd_;
  Sink& sink_;
  const Endpoint endpoint_;
  const std::vector<Request> requests_;
  std::vector<Connection> connections_;
  std::vector<uint32_t> connection_of_;  // by call
  std::vector<uint32_t> idle_;           // connections that can take a call; may be down
  std::vector<uint32_t> broken_;
};

}  // namespace

Result<std::unique_ptr<Target>> make_http_target(const Options& options, int epoll_fd, Sink& sink) {
  auto endpoint = resolve(options.target, "80");
  if (!endpoint) return endpoint.error();
  auto requests = read_requests(options, *endpoint);
  if (!requests) return requests.error();
  return std::unique_ptr<Target>(new HttpTarget(options, epoll_fd, sink, std::move(*endpoint), std::move(*requests)));
}

}  // namespace mrpc::load
