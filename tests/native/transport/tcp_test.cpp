#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "transport/tcp_rig.h"
#include "transport/transport_conformance.h"

namespace mrpc::transport::testing {

using V4 = TcpRig<false>;
using V6 = TcpRig<true>;

// Wants everything compressed that it sends.
class Compressing final : public Transport {
 public:
  explicit Compressing(TcpTransport& inner) : inner_(inner) {}
  Result<LinkId> connect(const std::string& address) override { return inner_.connect(address); }
  Result<std::string> listen(const std::string& address) override { return inner_.listen(address); }
  SendResult send(LinkId link, Frame&& frame) override {
    frame.compression = level;
    return inner_.send(link, std::move(frame));
  }
  bool writable(LinkId link) const override { return inner_.writable(link); }
  void close(LinkId link) override { inner_.close(link); }
  size_t poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) override { return inner_.poll(now_ns, events_max, sink); }
  int poll_fd() const override { return inner_.poll_fd(); }
  uint64_t next_timer_ns() const override { return inner_.next_timer_ns(); }
  uint8_t level = 1;

 private:
  TcpTransport& inner_;
};

struct PackedRig : V4 {
  using V4::V4;
  Compressing packed_a{*a}, packed_b{*b};
  Transport& client() { return packed_a; }
  Transport& server() { return packed_b; }
};
MRPC_TRANSPORT_CONFORMANCE(V4, V6, PackedRig);

namespace {

// Cuts the connection each time about `mean_bytes` have been written on it.
WriteFault cut_every(uint64_t mean_bytes, uint64_t seed) {
  auto left = std::make_shared<uint64_t>(mean_bytes);
  auto draws = std::make_shared<uint64_t>(seed);
  return [=](size_t bytes) {
    const auto allowed = static_cast<size_t>(std::min<uint64_t>(bytes, *left));
    *left -= allowed;
    if (allowed == 0) *left = 1 + mix(++*draws) % (2 * mean_bytes);
    return allowed;
  };
}

TcpOptions cutting(const char* name, uint64_t mean_bytes, uint64_t seed) {
  TcpOptions options = tcp_options(name);
  options.write_fault = cut_every(mean_bytes, seed);
  return options;
}

struct CutRig : V4 {
  CutRig() : V4(cutting("a", 400'000, 1), cutting("b", 400'000, 2)) {}
};
struct ShredRig : V4 {
  ShredRig() : V4(cutting("a", 5'000, 3), cutting("b", 2'000, 4)) {}
};

struct OlderPeerRig : PackedRig {
  OlderPeerRig() : PackedRig(tcp_options("a"), older()) {}
  static TcpOptions older() {
    TcpOptions options = tcp_options("b");
    options.features = 0;
    return options;
  }
};
struct PackedCutRig : PackedRig {
  PackedCutRig() : PackedRig(cutting("a", 400'000, 1), cutting("b", 400'000, 2)) {}
};

// Sends both ways over connections that break all the time; every frame must come once, whole, and in order.
template <typename Rig>
void survive_cuts(uint32_t frames, uint64_t bytes_max) {
  Harness<Rig> h;
  h.connect_and_wait();
  uint32_t received[2] = {};
  int released = 0;
  std::map<uint64_t, uint32_t> next[2];
  const auto check = [&](int side) {
    return [&, side](Frame&& frame) {
      REQUIRE(frame.sequence == next[side][frame.call_id]++);
      REQUIRE(intact(frame, frame.head.size(), {frame.sequence * 37ull % bytes_max + 1}));
      ++received[side];
    };
  };
  h.server.on_frame = check(0);
  h.client.on_frame = check(1);
  for (uint32_t i = 0; i < frames; ++i) {
    for (End* end : {&h.client, &h.server}) {
      h.send(*end, make_frame(i % 7, i / 7, mix(i) % bytes_max, {(i / 7) * 37ull % bytes_max + 1}, &released));
    }
    h.step();
  }
  h.pump_until([&] { return received[0] == frames && received[1] == frames && released == 2 * static_cast<int>(frames); });
  CHECK(h.client.ups + h.server.ups == 2);
  CHECK(h.client.downs + h.server.downs == 0);
  CHECK(h.rig.a->stats().resumed > 3);
  CHECK(h.rig.a->stats().reconnects >= h.rig.a->stats().resumed);
  CHECK(h.rig.a->stats().garbage_closed + h.rig.b->stats().garbage_closed == 0);
}

}  // namespace

TEST_CASE("sessions resume over broken connections: large messages") { survive_cuts<CutRig>(300, 300'000); }
TEST_CASE("sessions resume over broken connections: compressed messages") { survive_cuts<PackedCutRig>(300, 300'000); }
TEST_CASE("sessions resume over broken connections: small messages") { survive_cuts<ShredRig>(2000, 400); }

TEST_CASE("compression comes and goes between two messages, and a peer that knows none is sent none") {
  const auto saved_by = [](auto& h, uint8_t level) {
    const uint64_t before = h.rig.a->stats().bytes_saved;
    h.rig.packed_a.level = level;
    Frame frame{.kind = FrameKind::kMessage, .call_id = 1};
    frame.head.resize(1'000'000, std::byte{level});
    h.send(h.client, std::move(frame));
    h.pump_until([&] { return !h.server.frames.empty(); });
    CHECK(h.server.frames.front().head == std::vector<std::byte>(1'000'000, std::byte{level}));
    h.server.frames.clear();
    return h.rig.a->stats().bytes_saved - before;
  };
  Harness<PackedRig> h;
  h.connect_and_wait();
  CHECK(saved_by(h, 0) == 0);
  CHECK(saved_by(h, 1) > 900'000);
  CHECK(saved_by(h, 0) == 0);
  CHECK(saved_by(h, 9) > 900'000);
  Harness<OlderPeerRig> older;
  older.connect_and_wait();
  CHECK(saved_by(older, 1) == 0);
}

TEST_CASE("a peer that has forgotten the session ends it; a new one begins") {
  Harness<V4> h;
  h.connect_and_wait();
  int released = 0;
  h.rig.b = make_tcp(tcp_options("b again"));
  REQUIRE(h.rig.b->listen(h.rig.address_).ok());
  h.server = End();
  h.server.transport = h.rig.b.get();
  h.send(h.client, make_frame(1, 0, 8, {1000}, &released));
  h.pump_until([&] { return h.client.ups == 2 && h.server.ups == 1; });
  CHECK(h.client.downs == 1);
  CHECK(h.client.error->code == StatusCode::kUnavailable);
  CHECK(h.client.peer == "b again");
  CHECK(released == 1);
  h.send(h.client, make_frame(2, 0, 8));
  h.pump_until([&] { return h.server.frames.size() == 1; });
  CHECK(h.server.frames[0].call_id == 2);
}

TEST_CASE("a session without a connection ends after resume_timeout") {
  Harness<V4> h;
  h.connect_and_wait();
  int released = 0;
  h.send(h.client, make_frame(1, 0, 8, {1000}, &released));
  h.rig.b.reset();
  h.server.transport = h.client.transport;  // nothing else to poll
  h.rig.b = make_tcp(tcp_options("unused"));
  const uint64_t start_ns = h.rig.now_ns;
  h.pump_until([&] { return h.client.downs == 1; });
  CHECK(h.rig.now_ns - start_ns >= tcp_options("a").resume_timeout_ns);
  CHECK(released == 1);
}

TEST_CASE("an idle link pings; a peer that does not answer is given up, an accepted link too") {
  Harness<V4> h;
  h.connect_and_wait();
  for (const uint64_t end = h.rig.now_ns + 60'000'000'000; h.rig.now_ns < end;) h.step();
  CHECK(h.client.downs + h.server.downs == 0);
  CHECK(h.rig.a->stats().reconnects == 0);

  // The client does not answer any more: its time stands still.
  for (const uint64_t end = h.rig.now_ns + 40'000'000'000; h.rig.now_ns < end; h.rig.now_ns += 10'000'000) h.poll(*h.rig.b);
  CHECK(h.server.downs == 1);
  CHECK(h.server.error->code == StatusCode::kUnavailable);
}

TEST_CASE("a frame larger than the peer takes is refused, not sent") {
  TcpOptions small = tcp_options("b");
  small.receive.message_bytes_max = 1000;
  V4 rig(tcp_options("a"), small);
  LinkId link = *rig.a->connect(rig.address());
  for (int i = 0; i < 1000 && !rig.a->writable(link); ++i) {
    rig.a->poll(rig.now_ns, 16, [](Event&&) {});
    rig.b->poll(rig.now_ns, 16, [](Event&&) {});
    rig.idle();
  }
  CHECK(rig.a->send(link, make_frame(1, 0, 500, {501})) == SendResult::kTooLarge);
  CHECK(rig.a->send(link, make_frame(1, 0, 500, {500})) == SendResult::kSent);
}

TEST_CASE("a connection is handed over to the shard that its hello wants") {
  std::vector<std::pair<int, std::vector<std::byte>>> handed;
  TcpOptions acceptor = tcp_options("b0"), client = tcp_options("a"), shard1 = tcp_options("b1");
  client.peer_shard = shard1.shard = 1;
  auto other = make_tcp(shard1);
  acceptor.hand_over = [&](uint32_t shard, int fd, std::vector<std::byte> received) {
    CHECK(shard == 1);
    other->adopt(fd, std::move(received));
  };
  V4 rig(client, acceptor);
  LinkId link = *rig.a->connect(rig.address()), accepted = 0;
  std::string peer;
  std::vector<Frame> frames;
  for (int i = 0; i < 10'000 && frames.empty(); ++i) {
    rig.a->poll(rig.now_ns, 16, [&](Event&& event) {
      peer = event.peer;
      CHECK(rig.a->send(link, make_frame(1, 0, 8)) == SendResult::kSent);
    });
    rig.b->poll(rig.now_ns, 16, [](Event&&) { FAIL("not this shard's"); });
    other->poll(rig.now_ns, 16, [&](Event&& event) {
      if (event.kind == Event::Kind::kUp) accepted = event.link;
      if (event.kind == Event::Kind::kFrame) frames.push_back(std::move(event.frame));
    });
    rig.now_ns += 1000;
  }
  CHECK(peer == "b1");
  CHECK(accepted != 0);
  CHECK(frames.size() == 1);
}

TEST_CASE("listening at an address in use says so") {
  V4 rig;
  CHECK(make_tcp(tcp_options("c"))->listen(rig.address()).error().code == StatusCode::kAlreadyExists);
  CHECK(make_tcp(tcp_options("c"))->listen("192.0.2.1:0").error().code == StatusCode::kInvalidArgument);
}

}  // namespace mrpc::transport::testing
