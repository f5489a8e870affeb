// What every transport does. A test file instantiates the suite for its rigs: MRPC_TRANSPORT_CONFORMANCE(LocalRig);
#pragma once

#include "transport/harness.h"

namespace mrpc::transport::testing {

constexpr uint64_t kMiB = 1 << 20;

TEST_CASE_TEMPLATE_DEFINE("both ends come up and know each other", Rig, conforms_up) {
  Harness<Rig> h;
  h.connect_and_wait();
  CHECK(!h.client.peer.empty());
  CHECK(!h.server.peer.empty());
  CHECK(h.client.transport->writable(h.client.link));
  CHECK(h.server.transport->writable(h.server.link));
  CHECK(h.client.downs + h.server.downs == 0);
}

TEST_CASE_TEMPLATE_DEFINE("bad addresses are refused", Rig, conforms_address) {
  Harness<Rig> h;
  for (const char* address : {"", "nonsense", "127.0.0.1", "127.0.0.1:99999", "[::1:7000", "example.org:80"}) {
    CHECK(h.client.transport->connect(address).error().code == StatusCode::kInvalidArgument);
    CHECK(h.client.transport->listen(address).error().code == StatusCode::kInvalidArgument);
  }
}

TEST_CASE_TEMPLATE_DEFINE("every kind and field is carried", Rig, conforms_fields) {
  Harness<Rig> h;
  h.connect_and_wait();
  const FrameKind kinds[] = {FrameKind::kOpen, FrameKind::kMessage, FrameKind::kHalfClose, FrameKind::kCancel, FrameKind::kCredit,
                             FrameKind::kStatus, FrameKind::kInitialMetadata, FrameKind::kAnnounce};
  for (const FrameKind kind : kinds) {
    Frame frame = make_frame(~uint64_t{0} - 7, 0xfffffff0u, 64, {100, 8});
    frame.kind = kind;
    frame.flags = kEnd | kHasMessage | kProtobuf;
    frame.code = static_cast<uint8_t>(StatusCode::kUnauthenticated);
    frame.aux = 0x123456789abcdef0;
    h.send(h.client, std::move(frame));
  }
  h.pump_until([&] { return h.server.frames.size() == std::size(kinds); });
  for (size_t i = 0; i < std::size(kinds); ++i) {
    const Frame& frame = h.server.frames[i];
    CHECK(frame.kind == kinds[i]);
    CHECK(frame.flags == (kEnd | kHasMessage | kProtobuf));
    CHECK(frame.code == 16);
    CHECK(frame.sequence == 0xfffffff0u);
    CHECK(frame.call_id == ~uint64_t{0} - 7);
    CHECK(frame.aux == 0x123456789abcdef0);
    CHECK(intact(frame, 64, {100, 8}));
  }
}

TEST_CASE_TEMPLATE_DEFINE("messages of every size arrive whole, blobs aligned", Rig, conforms_sizes) {
  struct Shape { uint64_t head; std::vector<uint64_t> blobs; };
  const std::vector<Shape> shapes = {
      {0, {}}, {1, {}}, {0, {1}}, {4096, {}}, {64, {4096}}, {kMiB, {}}, {96, {kMiB}}, {0, {64 * kMiB}}, {64 * kMiB, {}},
      {kChunkBytes - 40, {}}, {kChunkBytes - 39, {}}, {kChunkBytes + 1, {kChunkBytes, 1, 63, 3 * kChunkBytes + 5}},
      {128, std::vector<uint64_t>(abi::kSegmentsMax, 777)}};
  Harness<Rig> h;
  h.connect_and_wait();
  for (uint32_t i = 0; i < shapes.size(); ++i) {
    h.send(h.client, make_frame(7, i, shapes[i].head, shapes[i].blobs));
    h.pump_until([&] { return !h.server.frames.empty(); });
    CAPTURE(i);
    CHECK(h.server.frames.front().sequence == i);
    CHECK(intact(h.server.frames.front(), shapes[i].head, shapes[i].blobs));
    h.server.frames.clear();
  }
}

TEST_CASE_TEMPLATE_DEFINE("frames of one call keep their order, whatever their sizes", Rig, conforms_order) {
  Harness<Rig> h;
  h.connect_and_wait();
  const uint64_t sizes[] = {10, 3 * kMiB, 0, 200'000, 1, kChunkBytes, 500'000, 17};
  for (uint32_t i = 0; i < 64; ++i) h.send(h.client, make_frame(1 + i % 2, i / 2, sizes[i % 8]));
  uint32_t next[3] = {};
  h.pump_until([&] {
    for (; !h.server.frames.empty(); h.server.frames.pop_front()) {
      const Frame& frame = h.server.frames.front();
      REQUIRE(frame.sequence == next[frame.call_id]++);
      REQUIRE(intact(frame, frame.head.size()));
    }
    return next[1] + next[2] == 64;
  });
}

TEST_CASE_TEMPLATE_DEFINE("a small frame passes a large one of another call", Rig, conforms_interleaving) {
  if constexpr (Rig::kSegments) {
    Harness<Rig> h;
    h.connect_and_wait();
    h.send(h.client, make_frame(1, 0, 64, {64 * kMiB}));
    h.pump(4);
    h.send(h.client, make_frame(2, 0, 64));
    h.pump_until([&] { return h.server.frames.size() == 2; });
    CHECK(h.server.frames[0].call_id == 2);
    CHECK(intact(h.server.frames[1], 64, {64 * kMiB}));
  }
}

TEST_CASE_TEMPLATE_DEFINE("hold is released once, when the frame is done with", Rig, conforms_hold) {
  int released = 0;
  {
    Harness<Rig> h;
    h.connect_and_wait();
    h.send(h.client, make_frame(1, 0, 64, {kMiB}, &released));
    h.send(h.client, make_frame(1, 1, 64, {}, &released));
    h.pump_until([&] { return h.server.frames.size() == 2; });
    h.server.frames.clear();
    h.pump_until([&] { return released == 2; });
  }
  CHECK(released == 2);
}

TEST_CASE_TEMPLATE_DEFINE("hold is released once when the link dies", Rig, conforms_hold_dead) {
  int released = 0;
  {
    Harness<Rig> h;
    h.connect_and_wait();
    for (uint32_t i = 0; i < 8; ++i) h.send(h.client, make_frame(i, 0, 64, {4 * kMiB}, &released));
    h.poll_client();
    h.client.transport->close(h.client.link);
    h.pump_until([&] { return h.client.downs == 1 && h.server.downs == 1; });
    h.server.frames.clear();
    h.client.frames.clear();
    h.pump_until([&] { return released == 8; });
  }
  CHECK(released == 8);

  {  // the transport itself goes
    Harness<Rig> h;
    h.connect_and_wait();
    h.send(h.client, make_frame(1, 0, 64, {kMiB}, &released));
    h.poll_client();
  }
  CHECK(released == 9);
}

TEST_CASE_TEMPLATE_DEFINE("a receiver that does not poll blocks the sender, then everything arrives", Rig, conforms_blocked) {
  Harness<Rig> h;
  h.connect_and_wait();
  uint32_t sent = 0;
  Frame frame = make_frame(3, 0, 32, {kMiB});
  const std::vector<Blob> blobs = frame.blobs;
  const auto hold = frame.hold;
  SendResult result = SendResult::kSent;
  while (sent < 2000) {
    Frame next{.kind = FrameKind::kMessage, .sequence = sent, .call_id = 3};
    next.blobs = blobs;
    next.hold = hold;
    result = h.client.transport->send(h.client.link, std::move(next));
    if (result != SendResult::kSent) break;
    ++sent;
    if constexpr (Rig::kSegments) h.poll_client();
  }
  CHECK(result == SendResult::kBlocked);
  CHECK(sent >= 16);
  CHECK(!h.client.transport->writable(h.client.link));
  uint32_t received = 0;
  h.server.on_frame = [&](Frame&& got) {
    REQUIRE(got.sequence == received++);
    REQUIRE(std::memcmp(got.blobs[0].data, blobs[0].data, kMiB) == 0);
  };
  h.pump_until([&] { return received == sent && h.client.transport->writable(h.client.link); });
}

TEST_CASE_TEMPLATE_DEFINE("frames in tiny portions of events", Rig, conforms_portions) {
  Harness<Rig> h;
  h.connect_and_wait();
  for (uint32_t i = 0; i < 50; ++i) h.send(h.client, make_frame(1, i, 100));
  uint32_t received = 0;
  for (int i = 0; i < 300'000 && received < 50; ++i) {
    h.poll_client();
    if (h.server.transport == h.client.transport) h.server.frames.clear();
    h.server.transport->poll(h.rig.now_ns, 1, [&](Event&& event) {
      if (event.kind == Event::Kind::kFrame) CHECK(event.frame.sequence == received++);
    });
    if (h.server.transport == h.client.transport) received = 50;  // the first poll took them
    h.rig.idle();
  }
  CHECK(received == 50);
}

TEST_CASE_TEMPLATE_DEFINE("close lets what was sent arrive, and the other side sees it", Rig, conforms_close) {
  for (const bool by_client : {true, false}) {
    Harness<Rig> h;
    h.connect_and_wait();
    End& closer = by_client ? h.client : h.server;
    End& other = by_client ? h.server : h.client;
    for (uint32_t i = 0; i < 5; ++i) h.send(closer, make_frame(1, i, 300'000));
    closer.transport->close(closer.link);
    CHECK(closer.transport->send(closer.link, make_frame(1, 9, 8)) == SendResult::kClosed);
    CHECK(!closer.transport->writable(closer.link));
    closer.transport->close(closer.link);
    h.pump_until([&] { return closer.downs == 1 && other.downs == 1; });
    CHECK(!closer.error.has_value());
    REQUIRE(other.error.has_value());
    CHECK(other.error->code == StatusCode::kUnavailable);
    CHECK(other.frames.size() == 5);
  }
}

TEST_CASE_TEMPLATE_DEFINE("sending on what is no link", Rig, conforms_no_link) {
  Harness<Rig> h;
  CHECK(h.client.transport->send(12345, make_frame(1, 0, 8)) == SendResult::kClosed);
  CHECK(!h.client.transport->writable(12345));
  h.client.transport->close(12345);
  h.connect();
  h.client.transport->close(h.client.link);
  h.pump_until([&] { return h.client.downs == 1; });
  h.pump(20);
  CHECK(h.client.transport->send(h.client.link, make_frame(1, 0, 8)) == SendResult::kClosed);
  const LinkId first = h.client.link;
  h.connect();
  CHECK(h.client.link != first);
}

TEST_CASE_TEMPLATE_DEFINE("connecting outlasts the absence of a listener", Rig, conforms_reconnect) {
  if constexpr (Rig::kReconnects) {
    Harness<Rig> h;
    const std::string address = h.rig.unused_address();
    auto link = h.client.transport->connect(address);
    REQUIRE(link.ok());
    h.client.link = *link;
    h.pump_until([&] { return h.client.downs == 1; });
    CHECK(h.client.error->code == StatusCode::kUnavailable);
    CHECK(h.client.transport->send(h.client.link, make_frame(1, 0, 8)) == SendResult::kBlocked);
    h.pump(50);
    CHECK(h.client.downs == 1);
    REQUIRE(h.server.transport->listen(address).ok());
    h.pump_until([&] { return h.client.ups == 1; });
    h.send(h.client, make_frame(1, 0, 8));
    h.pump_until([&] { return h.server.frames.size() == 1; });
  }
}

TEST_CASE_TEMPLATE_DEFINE("soak: 10,000 frames of 100 calls", Rig, conforms_soak) {
  Harness<Rig> h;
  h.connect_and_wait();
  std::map<uint64_t, uint32_t> sequences, next;  // by call
  uint32_t received = 0;
  const auto blobs = [](uint64_t call, uint32_t sequence) {
    return sequence % 5 == 0 ? std::vector<uint64_t>{call * 7 + 1} : std::vector<uint64_t>{};
  };
  h.server.on_frame = [&](Frame&& frame) {
    REQUIRE(frame.sequence == next[frame.call_id]++);
    REQUIRE(intact(frame, frame.head.size(), blobs(frame.call_id, frame.sequence)));
    ++received;
  };
  for (uint32_t i = 0; i < 10'000; ++i) {
    const uint64_t call = mix(i) % 2 == 0 ? i % 100 : (i * 7) % 100;
    const uint32_t sequence = sequences[call]++;
    h.send(h.client, make_frame(call, sequence, mix(i * 3) % 2000, blobs(call, sequence)));
    if (i % 97 == 0) h.step();
  }
  h.pump_until([&] { return received == 10'000; });
}

TEST_CASE_TEMPLATE_DEFINE("a bidirectional echo stream", Rig, conforms_echo) {
  Harness<Rig> h;
  h.connect_and_wait();
  uint32_t echoed = 0;
  h.server.on_frame = [&](Frame&& frame) {
    REQUIRE(h.server.transport->send(h.server.link, std::move(frame)) == SendResult::kSent);
  };
  h.client.on_frame = [&](Frame&& frame) {
    REQUIRE(intact(frame, 200, {kChunkBytes + frame.sequence}));
    REQUIRE(frame.sequence == echoed);
    if (++echoed + 7 < 300) REQUIRE(h.client.transport->send(h.client.link, make_frame(5, echoed + 7, 200, {kChunkBytes + echoed + 7})) == SendResult::kSent);
  };
  for (uint32_t i = 0; i < 8; ++i) h.send(h.client, make_frame(5, i, 200, {kChunkBytes + i}));
  h.pump_until([&] { return echoed == 300; });
}

#define MRPC_TRANSPORT_CONFORMANCE(...)                           \
  TEST_CASE_TEMPLATE_INVOKE(conforms_up, __VA_ARGS__);            \
  TEST_CASE_TEMPLATE_INVOKE(conforms_address, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(conforms_fields, __VA_ARGS__);        \
  TEST_CASE_TEMPLATE_INVOKE(conforms_sizes, __VA_ARGS__);         \
  TEST_CASE_TEMPLATE_INVOKE(conforms_order, __VA_ARGS__);         \
  TEST_CASE_TEMPLATE_INVOKE(conforms_interleaving, __VA_ARGS__);  \
  TEST_CASE_TEMPLATE_INVOKE(conforms_hold, __VA_ARGS__);          \
  TEST_CASE_TEMPLATE_INVOKE(conforms_hold_dead, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(conforms_blocked, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(conforms_portions, __VA_ARGS__);      \
  TEST_CASE_TEMPLATE_INVOKE(conforms_close, __VA_ARGS__);         \
  TEST_CASE_TEMPLATE_INVOKE(conforms_no_link, __VA_ARGS__);       \
  TEST_CASE_TEMPLATE_INVOKE(conforms_reconnect, __VA_ARGS__);     \
  TEST_CASE_TEMPLATE_INVOKE(conforms_soak, __VA_ARGS__);          \
  TEST_CASE_TEMPLATE_INVOKE(conforms_echo, __VA_ARGS__)

}  // namespace mrpc::transport::testing
