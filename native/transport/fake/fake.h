// A network in memory for simulations: virtual time, and datagrams that a seed loses, duplicates, delays and so reorders.
//
// Over it runs the very session of the TCP transport (session/): same headers, segments, watermarks, windows, assembly. What TCP
// has from the kernel is made here in the simplest way: a receiver keeps what comes early until its turn, a sender that
// sees no acknowledgement for a while rewinds, exactly as after a reconnect. Everything is driven by the `now_ns` of poll().
#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>

#include "transport/fifo.h"
#include "transport/session/session.h"

namespace mrpc::transport {

struct FakeFaults {
  uint64_t seed = 1;
  uint32_t loss_per_mille = 0;
  uint32_t duplicate_per_mille = 0;
  uint64_t delay_min_ns = 10'000, delay_max_ns = 50'000;  // drawn for each datagram: unequal ones reorder
};

class FakeTransport;

class FakeNetwork {
 public:
  explicit FakeNetwork(FakeFaults faults) : faults_(faults), state_(faults.seed * 2 + 1) {}

  // While cut, everything that is sent is lost.
  void set_cut(bool cut) { cut_ = cut; }
  uint64_t random();  // xorshift
  uint64_t round_trip_max_ns() const { return 2 * faults_.delay_max_ns; }

 private:
  friend class FakeTransport;
  using Port = uint64_t;  // where a link, or a listener, receives; never reused
  struct Datagram {
    Port from = 0, to = 0;
    std::vector<std::byte> bytes;
  };
  using Inbox = std::multimap<uint64_t, Datagram>;  // by time of arrival

  Port open_port(FakeTransport& owner);
  void send(uint64_t now_ns, const Datagram& datagram);

  FakeFaults faults_;
  uint64_t state_;
  bool cut_ = false;
  Port next_port_ = 1;
  std::unordered_map<Port, FakeTransport*> owners_;
  std::unordered_map<std::string, Port> listeners_;
  std::unordered_map<FakeTransport*, Inbox> inboxes_;
};

struct FakeOptions {
  std::string node_name;
  uint32_t layout_version = 0;
  SendLimits send{};
  ReceiveLimits receive{};
  uint64_t give_up_ns = 10'000'000'000;  // of silence from the peer
  uint64_t ping_idle_ns = 1'000'000'000;
  uint64_t retry_ns = 50'000'000;        // between attempts to connect
  uint64_t in_flight_segments_max = 32;
};

class FakeTransport final : public Transport {
 public:
  FakeTransport(FakeNetwork& network, FakeOptions options) : network_(network), options_(std::move(options)) { network_.inboxes_[this]; }
  ~FakeTransport() override;

  Result<LinkId> connect(const std::string& address) override;      // "fake:NAME"
  Result<std::string> listen(const std::string& address) override;  // "fake:NAME"
  SendResult send(LinkId link, Frame&& frame) override;
  bool writable(LinkId link) const override;
  void close(LinkId link) override;
  size_t poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) override;
  int poll_fd() const override { return -1; }
  uint64_t next_timer_ns() const override;

 private:
  using Port = FakeNetwork::Port;
  struct Link {
    LinkId id = 0;
    bool dialed = false, up = false, closing = false, finished = false, failure_told = false;
    std::string target;          // dialed: the listener's name
    Port peer_port = 0;          // 0: not known yet
    std::unique_ptr<Session> session;
    Port port = 0;               // this end of the session; a new one for each
    uint64_t retry_at_ns = 0;    // hello, or retransmission
    uint64_t acknowledged = 0;   // at the last look
    uint64_t heard_ns = 0, ping_at_ns = UINT64_MAX;
    size_t events_queued = 0;
    std::map<uint64_t, std::vector<std::byte>> early;  // whole datagrams, by sequence
  };
  struct Queued {
    Event event{};
    Port port = 0;  // which session's
  };

  void receive(const FakeNetwork::Datagram& datagram);
  void receive_hello(const FakeNetwork::Datagram& datagram, const WireHeader& header, std::span<const std::byte> payload);
  void receive_hello_ack(Link& link, const FakeNetwork::Datagram& datagram, const WireHeader& header, std::span<const std::byte> payload);
  void receive_in_session(Link& link, const WireHeader& header, std::span<const std::byte> payload);
  // False: the peer broke the protocol, and the session has ended.
  bool receive_data(Link& link, const WireHeader& header, std::span<const std::byte> payload);
  void start_session(Link& link, SessionId id, const ParsedHello& peer);
  void end_session(Link& link, Error error);
  void finish(Link& link);
  void run_timers(Link& link);
  void say_hello(Link& link);
  void flush(Link& link);
  WireHello own_hello(SessionId id) const;
  void send_bytes(const Link& link, std::vector<std::byte> bytes);
  void send_header(Link& link, WireType type);
  void push_event(Link& link, Event&& event);
  size_t deliver(size_t events_max, const std::function<void(Event&&)>& sink);
  Link* find(LinkId id);
  Link* find_by_port(Port port);
  uint64_t retransmit_ns() const { return 2 * network_.round_trip_max_ns() + 2 * kAckDelayNs; }

  FakeNetwork& network_;
  FakeOptions options_;
  uint64_t now_ns_ = 0;
  LinkId next_link_ = 1;
  bool dirty_ = false;
  std::map<LinkId, Link> links_;
  std::unordered_set<Port> listening_;
  std::unordered_set<Port> ended_peers_;  // a late copy of their hello begins nothing
  Fifo<Queued> events_;
};

}  // namespace mrpc::transport
