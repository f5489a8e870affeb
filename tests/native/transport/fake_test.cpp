#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "transport/fake/fake.h"

#include "transport/transport_conformance.h"

namespace mrpc::transport::testing {
namespace {

template <uint64_t kSeed, uint32_t kLoss, uint32_t kDuplicates, uint64_t kDelayMaxNs>
struct FakeRig {
  static constexpr bool kSegments = true, kReconnects = true;
  FakeNetwork network{{.seed = kSeed, .loss_per_mille = kLoss, .duplicate_per_mille = kDuplicates, .delay_max_ns = kDelayMaxNs}};
  FakeTransport a{network, {.node_name = "a"}}, b{network, {.node_name = "b"}};
  uint64_t now_ns = 1;

  FakeRig() { REQUIRE(b.listen(address()).ok()); }
  Transport& client() { return a; }
  Transport& server() { return b; }
  std::string address() const { return "fake:b"; }
  std::string unused_address() const { return "fake:c"; }
  void idle() { now_ns = std::max(now_ns + 1, std::min(std::min(a.next_timer_ns(), b.next_timer_ns()), now_ns + 1'000'000'000)); }
};

using Calm = FakeRig<1, 0, 0, 20'000>;
using Reordering = FakeRig<2, 0, 0, 500'000>;
using Lossy = FakeRig<3, 20, 0, 50'000>;
using Hostile = FakeRig<4, 30, 50, 200'000>;
using HostileToo = FakeRig<5, 50, 100, 100'000>;

}  // namespace

MRPC_TRANSPORT_CONFORMANCE(Calm, Reordering, Lossy, Hostile, HostileToo);

TEST_CASE("one seed gives one history") {
  const auto history = [] {
    Harness<Hostile> h;
    h.connect_and_wait();
    for (uint32_t i = 0; i < 200; ++i) h.send(h.client, make_frame(i % 5, i / 5, 100 * i));
    std::vector<std::pair<uint64_t, uint64_t>> seen;
    h.server.on_frame = [&](Frame&& frame) { seen.emplace_back(h.rig.now_ns, frame.call_id); };
    h.pump_until([&] { return seen.size() == 200; });
    return seen;
  };
  CHECK(history() == history());
}

TEST_CASE("a cut shorter than give_up goes unnoticed; a longer one ends the session, and a new one begins") {
  Harness<Lossy> h;
  h.connect_and_wait();
  h.rig.network.set_cut(true);
  h.send(h.client, make_frame(1, 0, 300'000));
  for (const uint64_t end = h.rig.now_ns + 5'000'000'000; h.rig.now_ns < end;) h.step();
  h.rig.network.set_cut(false);
  h.pump_until([&] { return h.server.frames.size() == 1; });
  CHECK(h.client.downs + h.server.downs == 0);

  int released = 0;
  h.rig.network.set_cut(true);
  h.send(h.client, make_frame(1, 1, 8, {100}, &released));
  h.pump_until([&] { return h.client.downs == 1 && h.server.downs == 1; });
  CHECK(released == 1);
  CHECK(h.client.error->code == StatusCode::kUnavailable);
  h.rig.network.set_cut(false);
  h.pump_until([&] { return h.client.ups == 2 && h.server.ups == 2; });
  h.send(h.client, make_frame(2, 0, 8));
  h.pump_until([&] { return h.server.frames.size() == 2; });
  CHECK(h.server.frames[1].call_id == 2);
}

}  // namespace mrpc::transport::testing
