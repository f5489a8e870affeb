#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "transport/local/local.h"

#include "transport/transport_conformance.h"

namespace mrpc::transport::testing {
namespace {

struct LocalRig {
  static constexpr bool kSegments = false, kReconnects = false;
  LocalTransport transport{{.node_name = "here"}};
  uint64_t now_ns = 1;

  Transport& client() { return transport; }
  Transport& server() { return transport; }
  std::string address() const { return "local:"; }
  void idle() { now_ns += 1000; }
};

}  // namespace

MRPC_TRANSPORT_CONFORMANCE(LocalRig);

TEST_CASE("a local frame is passed on, not copied") {
  Harness<LocalRig> h;
  h.connect_and_wait();
  Frame frame = make_frame(1, 0, 1000, {4096});
  const std::byte* head = frame.head.data();
  const std::byte* blob = frame.blobs[0].data;
  const void* hold = frame.hold.get();
  h.send(h.client, std::move(frame));
  CHECK(h.rig.transport.next_timer_ns() == 0);
  h.step();
  CHECK(h.rig.transport.next_timer_ns() == UINT64_MAX);
  REQUIRE(h.server.frames.size() == 1);
  CHECK(h.server.frames[0].head.data() == head);
  CHECK(h.server.frames[0].blobs[0].data == blob);
  CHECK(h.server.frames[0].hold.get() == hold);
  CHECK(h.server.frames[0].hold.use_count() == 1);
}

TEST_CASE("the bounds of one direction leave the other alone") {
  LocalTransport transport({.node_name = "here", .queue_frames_max = 2});
  const LinkId link = *transport.connect("local:");
  for (int i = 0; i < 2; ++i) CHECK(transport.send(link, make_frame(1, i, 8)) == SendResult::kSent);
  CHECK(transport.send(link, make_frame(1, 2, 8)) == SendResult::kBlocked);
  CHECK(transport.send(LocalTransport::other_end(link), make_frame(1, 0, 8)) == SendResult::kSent);
}

TEST_CASE("slots of closed pairs are used again under new ids") {
  LocalTransport transport({.node_name = "here"});
  LinkId last = 0;
  for (int i = 0; i < 100; ++i) {
    const LinkId link = *transport.connect("local:");
    CHECK(link != last);
    CHECK(transport.send(last, make_frame(1, 0, 8)) == SendResult::kClosed);
    transport.close(link);
    int downs = 0;
    transport.poll(0, 16, [&](Event&& event) { downs += event.kind == Event::Kind::kDown; });
    CHECK(downs == 2);
    last = link;
  }
}

}  // namespace mrpc::transport::testing
