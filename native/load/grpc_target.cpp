// Unary gRPC over plaintext HTTP/2: many streams on each connection, up to what the server allows. Replies are counted, not
// kept: a call is OK when its trailers say so and a reply message came whole.
#include "load/target.h"

#ifndef MRPC_LOAD_HTTP2

namespace mrpc::load {
Result<std::unique_ptr<Target>> make_grpc_target(const Options&, int, Sink&) {
  return Error{StatusCode::kUnimplemented, "this mrpc-load was built without libnghttp2: install libnghttp2-dev and build again for grpc:// targets"};
}
}  // namespace mrpc::load

#else

#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "load/payloads.h"
#include "load/url.h"

namespace mrpc::load {
namespace {

constexpr int32_t kWindowBytes = 64 << 20;
constexpr size_t kFramePrefixBytes = 5;  // compressed flag and length, before each message
constexpr size_t kWriteBytes = 1 << 20;  // gathered before a write
constexpr size_t kErrorTextMax = 200;

struct Stream {
  uint32_t connection = 0;
  int32_t id = -1;
  uint32_t call = 0;
  const std::string* body = nullptr;
  size_t body_at = 0;
  int http_status = 0, grpc_status = -1;
  std::string message;
  uint8_t prefix[kFramePrefixBytes];
  uint64_t received = 0;  // of the reply, its prefix included
};

struct Connection {
  enum class State : uint8_t { kDown, kConnecting, kUp };
  Fd fd;
  State state = State::kDown;
  bool draining = false;  // the server said GOAWAY: no new streams
  nghttp2_session* session = nullptr;
  std::vector<uint32_t> calls;  // open on it
  std::vector<uint8_t> out;
  size_t out_at = 0;
};

// gRPC's mapping of what ended a stream that carried no grpc-status.
StatusCode status_of_reset(uint32_t error) {
  switch (error) {
    case NGHTTP2_REFUSED_STREAM: return StatusCode::kUnavailable;
    case NGHTTP2_CANCEL: return StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM: return StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY: return StatusCode::kPermissionDenied;
    default: return StatusCode::kInternal;
  }
}

StatusCode status_of_http(int status) {
  switch (status) {
    case 400: return StatusCode::kInternal;
    case 401: return StatusCode::kUnauthenticated;
    case 403: return StatusCode::kPermissionDenied;
    case 404: return StatusCode::kUnimplemented;
    case 429: case 502: case 503: case 504: return StatusCode::kUnavailable;
    default: return StatusCode::kUnknown;
  }
}

std::string frame_message(const std::string& payload) {
  const auto length = static_cast<uint32_t>(payload.size());
  std::string framed{'\0', static_cast<char>(length >> 24), static_cast<char>(length >> 16), static_cast<char>(length >> 8), static_cast<char>(length)};
  return framed + payload;
}

nghttp2_nv header(const std::string& name, const std::string& value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

class GrpcTarget final : public Target {
 public:
  GrpcTarget(const Options& options, int epoll_fd, Sink& sink, Endpoint endpoint, const std::vector<std::string>& payloads)
      : epoll_fd_(epoll_fd), sink_(sink), endpoint_(std::move(endpoint)), connections_(options.connections), streams_(options.in_flight_max) {
    for (const std::string& payload : payloads) bodies_.push_back(frame_message(payload));
    const auto timeout_ms = static_cast<uint64_t>(std::max(1.0, options.timeout_s * 1e3));
    fields_ = {{":method", "POST"}, {":scheme", "http"}, {":path", endpoint_.path}, {":authority", endpoint_.authority},
               {"te", "trailers"}, {"content-type", "application/grpc"}, {"user-agent", "mrpc-load"},
               {"grpc-timeout", timeout_ms < 100'000'000 ? std::to_string(timeout_ms) + "m" : "99999999S"}};
    fields_.insert(fields_.end(), options.metadata.begin(), options.metadata.end());
    for (const auto& [name, value] : fields_) headers_.push_back(header(name, value));
    make_callbacks();
  }
  ~GrpcTarget() override {
    for (Connection& c : connections_) tear_down(c);
    nghttp2_session_callbacks_del(callbacks_);
  }

  uint32_t request_count() const override { return static_cast<uint32_t>(bodies_.size()); }

  bool can_send() const override { return std::any_of(connections_.begin(), connections_.end(), [](const Connection& c) { return has_room(c); }); }

  void send(uint32_t call, uint32_t request) override {
    const uint32_t index = pick();
    Connection& c = connections_[index];
    Stream& stream = streams_[call];
    stream.connection = index;
    stream.id = -1;
    stream.call = call;
    stream.body = &bodies_[request];
    stream.body_at = 0;
    stream.http_status = 0;
    stream.grpc_status = -1;
    stream.message.clear();
    stream.received = 0;
    c.calls.push_back(call);
    if (c.state == Connection::State::kDown && !open(c, index)) return;
    nghttp2_data_provider body{{.ptr = &stream}, &GrpcTarget::read_body};
    stream.id = nghttp2_submit_request(c.session, nullptr, headers_.data(), headers_.size(), &body, &stream);
    if (stream.id < 0) ended_.push_back({call, code_of(StatusCode::kInternal), nghttp2_strerror(stream.id)});
  }

  void cancel(uint32_t call) override {
    Stream& stream = streams_[call];
    Connection& c = connections_[stream.connection];
    std::erase_if(ended_, [call](const Ended& e) { return e.call == call; });
    std::erase(c.calls, call);
    if (stream.id < 0 || c.session == nullptr) return;
    nghttp2_session_set_stream_user_data(c.session, stream.id, nullptr);
    nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL);
  }

  bool turn() override {
    for (Connection& c : connections_)
      if (c.state == Connection::State::kUp) flush(c);
    report();
    for (Connection& c : connections_)
      if (c.draining && c.calls.empty()) tear_down(c);
    return false;
  }

  void on_event(uint64_t tag, uint32_t events) override {
    const auto index = static_cast<uint32_t>(tag);
    Connection& c = connections_[index];
    if (c.fd.get() != static_cast<int>(tag >> 32)) return;  // closed earlier in this batch
    if (c.state == Connection::State::kConnecting) {
      if (const int error = socket_error(c.fd.get()); error != 0)
        return lose(c, "cannot connect to " + endpoint_.authority + ": " + errno_text(error));
      c.state = Connection::State::kUp;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) read(c);
  }

 private:
  struct Ended { uint32_t call; Code code; std::string error; };

  static bool has_room(const Connection& c) {
    if (c.draining) return false;
    if (c.session == nullptr) return true;
    return c.calls.size() < nghttp2_session_get_remote_settings(c.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  }

  // The connection with the fewest calls open, among those with room.
  uint32_t pick() const {
    uint32_t best = 0;
    size_t least = SIZE_MAX;
    for (uint32_t i = 0; i < connections_.size(); ++i) {
      if (!has_room(connections_[i]) || connections_[i].calls.size() >= least) continue;
      best = i;
      least = connections_[i].calls.size();
    }
    return best;
  }

  bool open(Connection& c, uint32_t index) {
    auto fd = connect_nonblocking(endpoint_);
    if (!fd) {
      lose(c, fd.error().text);
      return false;
    }
    c.fd = std::move(*fd);
    c.state = Connection::State::kConnecting;
    epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, {.u64 = uint64_t(c.fd.get()) << 32 | index}};
    MRPC_ASSERT(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, c.fd.get(), &event) == 0);
    MRPC_ASSERT(nghttp2_session_client_new(&c.session, callbacks_, this) == 0);
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes}, {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_submit_settings(c.session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(c.session, NGHTTP2_FLAG_NONE, 0, kWindowBytes);
    return true;
  }

  // Gathers what the session wants to say, so that calls of one turn share a system call.
  void flush(Connection& c) {
    while (true) {
      while (c.out.size() - c.out_at < kWriteBytes) {
        const uint8_t* data = nullptr;
        const ssize_t n = nghttp2_session_mem_send(c.session, &data);
        if (n < 0) return lose(c, nghttp2_strerror(static_cast<int>(n)));
        if (n == 0) break;
        c.out.insert(c.out.end(), data, data + n);
      }
      if (c.out.empty()) return;
      const ssize_t n = ::send(c.fd.get(), c.out.data() + c.out_at, c.out.size() - c.out_at, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      if (n < 0) return lose(c, "connection broke while sending: " + errno_text(errno));
      c.out_at += static_cast<size_t>(n);
      if (c.out_at < c.out.size()) continue;
      c.out.clear();
      c.out_at = 0;
    }
  }

  void read(Connection& c) {
    uint8_t buffer[256 * 1024];
    while (true) {
      const ssize_t n = recv(c.fd.get(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n <= 0) return lose(c, n < 0 ? "connection broke: " + errno_text(errno) : "connection closed by the server");
      const ssize_t taken = nghttp2_session_mem_recv(c.session, buffer, static_cast<size_t>(n));
      if (taken < 0) return lose(c, std::string("bad HTTP/2 from the server: ") + nghttp2_strerror(static_cast<int>(taken)));
    }
  }

  // The connection is gone, and every call on it.
  void lose(Connection& c, const std::string& why) {
    for (const uint32_t call : c.calls)
      if (std::none_of(ended_.begin(), ended_.end(), [call](const Ended& e) { return e.call == call; }))
        ended_.push_back({call, code_of(StatusCode::kUnavailable), why});
    tear_down(c);
  }

  void tear_down(Connection& c) {
    for (const uint32_t call : c.calls) streams_[call].id = -1;
    if (c.session) nghttp2_session_del(c.session);
    std::vector<uint32_t> calls = std::move(c.calls);
    c = Connection{};
    c.calls = std::move(calls);  // until they are reported
  }

  void report() {
    std::vector<Ended> ended;
    ended.swap(ended_);
    for (const Ended& e : ended) {
      std::erase(connections_[streams_[e.call].connection].calls, e.call);
      sink_.complete(e.call, e.code, e.error);
    }
  }

  void on_close(Stream& stream, uint32_t error) {
    const bool whole = stream.received >= kFramePrefixBytes && stream.received == kFramePrefixBytes + reply_bytes(stream);
    stream.id = -1;
    if (stream.grpc_status > kStatusCodeMax) stream.grpc_status = static_cast<int>(StatusCode::kUnknown);
    if (stream.grpc_status == 0 && !whole) return end(stream, StatusCode::kInternal, "status OK without a whole reply message");
    if (stream.grpc_status >= 0) return end(stream, static_cast<StatusCode>(stream.grpc_status), stream.message);
    if (error != NGHTTP2_NO_ERROR) return end(stream, status_of_reset(error), std::string("stream reset: ") + nghttp2_http2_strerror(error));
    if (stream.http_status != 200) return end(stream, status_of_http(stream.http_status), "HTTP status " + std::to_string(stream.http_status));
    end(stream, StatusCode::kUnknown, "the reply carries no grpc-status");
  }

  void end(const Stream& stream, StatusCode status, std::string error) { ended_.push_back({stream.call, code_of(status), std::move(error)}); }

  static uint64_t reply_bytes(const Stream& s) {
    return uint64_t{s.prefix[1]} << 24 | uint64_t{s.prefix[2]} << 16 | uint64_t{s.prefix[3]} << 8 | s.prefix[4];
  }

  // ---- nghttp2's callbacks ----

  static ssize_t read_body(nghttp2_session*, int32_t, uint8_t* out, size_t room, uint32_t* flags, nghttp2_data_source* source, void*) {
    auto& stream = *static_cast<Stream*>(source->ptr);
    const size_t n = std::min(room, stream.body->size() - stream.body_at);
    std::memcpy(out, stream.body->data() + stream.body_at, n);
    stream.body_at += n;
    if (stream.body_at == stream.body->size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_bytes, const uint8_t* value,
                       size_t value_bytes, uint8_t, void*) {
    auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
    if (stream == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_bytes), text(reinterpret_cast<const char*>(value), value_bytes);
    if (key == ":status") std::from_chars(text.begin(), text.end(), stream->http_status);
    if (key == "grpc-message") stream->message = text.substr(0, kErrorTextMax);
    if (key == "grpc-status") {
      unsigned status = static_cast<unsigned>(StatusCode::kUnknown);
      std::from_chars(text.begin(), text.end(), status);
      stream->grpc_status = static_cast<int>(std::min<unsigned>(status, kStatusCodeMax + 1));
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t bytes, void*) {
    auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    if (stream == nullptr) return 0;
    if (stream->received < kFramePrefixBytes)
      std::memcpy(stream->prefix + stream->received, data, std::min<size_t>(bytes, kFramePrefixBytes - stream->received));
    stream->received += bytes;
    return 0;
  }

  static int on_stream_close(nghttp2_session* session, int32_t id, uint32_t error, void* user) {
    auto* stream = static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
    if (stream != nullptr) static_cast<GrpcTarget*>(user)->on_close(*stream, error);
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    if (frame->hd.type != NGHTTP2_GOAWAY) return 0;
    for (Connection& c : static_cast<GrpcTarget*>(user)->connections_)
      if (c.session == session) c.draining = true;
    return 0;
  }

  void make_callbacks() {
    MRPC_ASSERT(nghttp2_session_callbacks_new(&callbacks_) == 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks_, &GrpcTarget::on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks_, &GrpcTarget::on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks_, &GrpcTarget::on_stream_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks_, &GrpcTarget::on_frame);
  }

  const int epoll_fd_;
  Sink& sink_;
  const Endpoint endpoint_;
  std::vector<std::string> bodies_;
  std::vector<std::pair<std::string, std::string>> fields_;
  std::vector<nghttp2_nv> headers_;  // point into fields_
  std::vector<Connection> connections_;
  std::vector<Stream> streams_;  // by call
  std::vector<Ended> ended_;     // told in the next turn
  nghttp2_session_callbacks* callbacks_ = nullptr;
};

}  // namespace

Result<std::unique_ptr<Target>> make_grpc_target(const Options& options, int epoll_fd, Sink& sink) {
  auto endpoint = resolve(options.target, "80");
  if (!endpoint) return endpoint.error();
  if (endpoint->path.find('/', 1) == std::string::npos) return invalid_argument("a grpc target ends with /pkg.Service/Method");
  auto payloads = read_payloads(options.payloads_file);
  if (!payloads) return payloads.error();
  return std::unique_ptr<Target>(new GrpcTarget(options, epoll_fd, sink, std::move(*endpoint), *payloads));
}

}  // namespace mrpc::load

#endif
