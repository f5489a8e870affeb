// What TcpTransport knows of a connection and of a link. Private to it.
#pragma once

#include "transport/tcp/tcp.h"

namespace mrpc::transport {

// A socket. It serves one link, from its hello on (accepted) or from its birth (dialed).
struct TcpTransport::Connection final : StreamHandler {
  enum class Phase { kConnecting, kHello, kUp, kDropped };

  Connection(TcpTransport& owner_, Fd fd_, uint64_t id_) : owner(owner_), fd(std::move(fd_)), id(id_), reader(*this) {}
  bool on_control(const WireHeader& header, std::span<const std::byte> payload) override {
    return owner.on_control(*this, header, payload);
  }
  void on_message(Frame&& frame) override { owner.on_message(*this, std::move(frame)); }

  void agree(uint64_t both) {
    features = both;
    reader.take_compressed((both & kFeatureZstd) != 0);
  }

  TcpTransport& owner;
  Fd fd;
  const uint64_t id;
  Phase phase = Phase::kHello;
  bool dialed = false;
  LinkId link = 0;  // 0: not yet, or no longer
  StreamReader reader;
  OutBatch batch;
  std::vector<std::byte> first_words;  // hello, hello-ack or goaway, to be written before all else
  bool adopted = false;  // handed over by another shard's transport
  bool drop_when_written = false;
  bool pong_due = false, ping_due = false, goaway_due = false, goaway_sent = false;
  bool waits_to_write = false;
  uint64_t features = 0;       // of both sides' hellos
  uint64_t since_ns = 0;       // of the phase
  uint64_t last_heard_ns = 0, last_ping_ns = 0;
};

struct TcpTransport::Link {
  LinkId id = 0;
  bool dialed = false;
  bool up = false;          // between kUp and kDown, as queued
  bool closing = false;     // close() was called; its kDown is queued
  bool finished = false;    // nothing goes on any more; the link is forgotten with its last kDown
  bool failure_told = false;
  size_t events_queued = 0;
  SocketAddress address{};
  Backoff backoff{1, 1};
  uint64_t retry_at_ns = 0;
  uint64_t give_up_at_ns = UINT64_MAX;  // of a session without connection, or of lingering
  uint64_t connections_made = 0;
  Connection* connection = nullptr;
  std::unique_ptr<Session> session;
  uint64_t session_serial = 0;
};

}  // namespace mrpc::transport
