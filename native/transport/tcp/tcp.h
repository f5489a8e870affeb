// Daemon to daemon over TCP. The wire and its sessions are in session/; this is what holds sockets, links and events together.
//
// A link outlives its connections: when one breaks, the connecting side dials again and resumes the session, and nobody above
// notices. Only when that fails for resume_timeout_ns, or the peer has forgotten the session or broken the protocol,
// the link says kDown. An accepting daemon with several shards listens on one of them; `hand_over` passes a connection, with
// what was read of it, to the shard that its hello wants, whose transport takes it by adopt().
#pragma once

#include <functional>
#include <map>
#include <unordered_map>

#include "transport/fifo.h"
#include "transport/tcp/tcp_datapath.h"
#include "transport/tcp/tcp_setup.h"
#include "transport/tcp/tcp_takeover.h"

namespace mrpc::transport {

struct TcpOptions {
  std::string node_name;
  uint32_t layout_version = 0;  // message::kLayoutVersion
  uint64_t features = kFeatureZstd;
  uint32_t shard = 0;           // this transport's
  uint32_t peer_shard = 0;      // which of the peer's shards connect() asks for
  SendLimits send{};
  ReceiveLimits receive{};
  size_t half_open_max = 128;   // accepted connections that have not said hello yet
  size_t links_max = 4096;      // accepted ones
  uint64_t hello_timeout_ns = 5'000'000'000;
  uint64_t backoff_first_ns = 50'000'000, backoff_max_ns = 5'000'000'000;
  uint64_t resume_timeout_ns = 10'000'000'000;
  uint64_t ping_idle_ns = 10'000'000'000;       // silence after which the peer is asked
  uint64_t keepalive_timeout_ns = 20'000'000'000;  // silence after which a connection is given up
  uint64_t linger_ns = 2'000'000'000;           // how long close() goes on writing what was sent
  std::function<uint64_t()> random{};           // session ids (must not be guessable) and jitter; empty: getrandom()
  // Takes a connection for another shard, with the bytes read; called on this transport's thread. Empty: any shard is this one.
  std::function<void(uint32_t shard, int fd, std::vector<std::byte> received)> hand_over{};
  WriteFault write_fault{};
};

struct TcpStats {
  uint64_t garbage_closed = 0;   // connections closed because the peer broke the protocol, or never said hello
  uint64_t refused = 0;          // over half_open_max or links_max
  uint64_t frames_in = 0, frames_out = 0;  // call frames
  uint64_t bytes_in = 0, bytes_out = 0;    // on the wire
  uint64_t bytes_saved = 0;      // that compression kept off the wire
  uint64_t reconnects = 0;       // connections that came after the first of a link
  uint64_t resumed = 0;          // sessions that went on over a new connection
};

class TcpTransport final : public Transport {
 public:
  // Errors: kResourceExhausted when no epoll descriptor can be had.
  static Result<std::unique_ptr<TcpTransport>> create(TcpOptions options);
  ~TcpTransport() override;

  Result<LinkId> connect(const std::string& address) override;
  Result<std::string> listen(const std::string& address) override;
  SendResult send(LinkId link, Frame&& frame) override;
  bool writable(LinkId link) const override;
  bool compresses(LinkId link) const override;
  void close(LinkId link) override;
  size_t poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) override;
  int poll_fd() const override { return epoll_.get(); }
  uint64_t next_timer_ns() const override;

  // An accepted socket, of which `received` has been read already. The transport owns it from here.
  void adopt(int fd, std::vector<std::byte> received);
  const TcpStats& stats() const { return stats_; }

  // tcp_takeover.cpp. Hands over what has come already, without reading more. True when there was something.
  bool deliver_all(const std::function<void(Event&&)>& sink);
  // Only after deliver_all(). Changes nothing: this transport may go on.
  TcpState save() const;
  // Into a transport that was never used; it owns the descriptors from here, also when this fails. Reads and writes nothing yet.
  // Errors: kInvalidArgument, a state that cannot be.
  Status restore(TcpState&& state);

 private:
  struct Connection;
  struct Link;
  struct Queued {
    Event event{};
    uint64_t session_serial = 0;  // kFrame: whose window it fills
  };

  TcpTransport(TcpOptions options, Fd epoll);

  TcpConnectionState save(const Connection* connection) const;
  Status restore(TcpLinkState&& state);
  Status listen_on(Fd fd);

  // tcp_links.cpp: connections and links come and go.
  void dial(Link& link);
  void accept_from(uint64_t id, int listener);
  void watch_listener(uint64_t id, int listener, bool watched);
  void begin_adopted();
  Connection* add_connection(Fd fd, bool dialed);
  void connected(Connection& connection);
  bool on_hello(Connection& connection, const WireHeader& header, std::span<const std::byte> payload);
  bool on_hello_ack(Connection& connection, const WireHeader& header, std::span<const std::byte> payload);
  void accept_session(Connection& connection, const ParsedHello& peer);
  bool resume(Link& link, Connection& connection, const WireHello& peer);
  void start_session(Link& link, Connection& connection, SessionId id, const ParsedHello& peer);
  void hand_over(Connection& connection, const WireHeader& header, std::span<const std::byte> payload, uint32_t shard);
  void refuse(Connection& connection, const Error& error);
  void violated(Connection& connection, const Error& error);
  void lost(Connection& connection, const Error& error);
  void drop(Connection& connection);
  void end_session(Link& link, Error error);
  void finish(Link& link);
  void retry_later(Link& link, const Error& error);
  void run_timers();
  void run_timers(Link& link);
  void run_timers(Connection& connection);
  uint64_t earliest_timer() const;
  WireHello hello_for(const Link* link) const;
  Link* find(LinkId id);
  const Link* find(LinkId id) const;

  // tcp.cpp: bytes and events.
  bool on_control(Connection& connection, const WireHeader& header, std::span<const std::byte> payload);
  void on_message(Connection& connection, Frame&& frame);
  void service(uint64_t connection_id, uint32_t epoll_events);
  void read(Connection& connection);
  void flush(Connection& connection);
  void fill_batch(Connection& connection);
  void watch(Connection& connection, bool for_writing);
  size_t deliver(size_t events_max, const std::function<void(Event&&)>& sink);
  bool prepare_delivery(Queued& queued);
  void push_event(Event&& event, uint64_t session_serial = 0);

  TcpOptions options_;
  Fd epoll_;
  TcpStats stats_;
  uint64_t now_ns_ = 0;
  uint64_t next_id_ = 1;  // of links, connections, listeners and sessions alike
  uint64_t timer_ns_ = UINT64_MAX;
  uint64_t accept_at_ns_ = UINT64_MAX;  // out of descriptors: when to try again
  Compressor compressor_;
  bool dirty_ = false;    // something was sent or begun since the last poll()
  std::map<LinkId, Link> links_;
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::unordered_map<uint64_t, Fd> listeners_;
  std::vector<std::pair<Fd, std::vector<std::byte>>> adopted_;
  std::vector<uint64_t> dropped_;  // connections to destroy when no function of theirs is running
  Fifo<Queued> events_;
};

}  // namespace mrpc::transport
