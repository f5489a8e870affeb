// Two ends of a link and a pump, for any transport. A Rig supplies the transports, their clock, and how to wait.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "shm/abi.h"
#include "transport/transport.h"

namespace mrpc::transport::testing {

// A Rig has: client(), server() (may be one object), address(), now_ns, idle() (nothing happened: let time pass),
// kSegments (large messages are cut), kReconnects (connect() may come before listen()).

struct End {
  Transport* transport = nullptr;
  LinkId link = 0;
  int ups = 0, downs = 0;
  std::string peer;
  std::optional<Error> error;  // of the last kDown
  std::deque<Frame> frames;
  std::function<void(Frame&&)> on_frame;  // instead of keeping it

  void take(Event&& event) {
    switch (event.kind) {
      case Event::Kind::kUp: ++ups; peer = event.peer; return;
      case Event::Kind::kDown: ++downs; error = event.error; return;
      case Event::Kind::kFrame: break;
    }
    if (on_frame) {
      on_frame(std::move(event.frame));
    } else {
      frames.push_back(std::move(event.frame));
    }
  }
};

template <typename Rig>
struct Harness {
  Rig rig;
  End client, server;

  Harness() {
    client.transport = &rig.client();
    server.transport = &rig.server();
  }

  void connect() {
    auto link = client.transport->connect(rig.address());
    REQUIRE(link.ok());
    client.link = *link;
  }
  void connect_and_wait() {
    connect();
    pump_until([&] { return client.ups == 1 && server.ups == 1; });
  }

  size_t poll(Transport& transport) {
    return transport.poll(rig.now_ns, 64, [&](Event&& event) {
      const bool is_client = &transport == client.transport && (event.link == client.link);
      if (!is_client && event.kind == Event::Kind::kUp) {
        REQUIRE(event.accepted);
        server.link = event.link;
      }
      (is_client ? client : server).take(std::move(event));
    });
  }
  void poll_client() { poll(*client.transport); }
  void step() {
    size_t events = poll(*client.transport);
    if (server.transport != client.transport) events += poll(*server.transport);
    if (events == 0) rig.idle();
  }
  template <typename Predicate>
  void pump_until(Predicate&& done) {
    for (int i = 0; i < 300'000; ++i) {
      if (done()) return;
      step();
    }
    FAIL("did not come about");
  }
  void pump(int steps) {
    for (int i = 0; i < steps; ++i) step();
  }
  // Sends, pumping while the link is blocked.
  void send(End& from, Frame&& frame) {
    SendResult result = from.transport->send(from.link, std::move(frame));
    for (int i = 0; result == SendResult::kBlocked && i < 300'000; ++i) {
      step();
      if (from.transport->writable(from.link)) result = from.transport->send(from.link, std::move(frame));
    }
    REQUIRE(result == SendResult::kSent);
  }
};

// ---- frames whose content can be foretold ----------------------------------------------------------------

inline uint64_t mix(uint64_t value) {
  value = (value ^ value >> 31) * 0x9e3779b97f4a7c15ull;
  return value ^ value >> 29;
}

inline void fill_pattern(std::byte* data, uint64_t bytes, uint64_t seed) {
  for (uint64_t i = 0; i < bytes; i += 8) {
    const uint64_t word = mix(seed + i);
    std::memcpy(data + i, &word, std::min<uint64_t>(8, bytes - i));
  }
}

inline bool has_pattern(const std::byte* data, uint64_t bytes, uint64_t seed) {
  for (uint64_t i = 0; i < bytes; i += 8) {
    const uint64_t word = mix(seed + i);
    if (std::memcmp(data + i, &word, std::min<uint64_t>(8, bytes - i)) != 0) return false;
  }
  return true;
}

inline uint64_t seed_of(const Frame& frame, uint64_t part) { return mix(frame.call_id * 1000 + frame.sequence) + part * 0x10000000; }

// `released` counts how often the hold was destroyed.
inline Frame make_frame(uint64_t call_id, uint32_t sequence, uint64_t head_bytes, std::vector<uint64_t> blob_bytes = {},
                        int* released = nullptr) {
  Frame frame{.kind = FrameKind::kMessage, .flags = kHasMessage, .sequence = sequence, .call_id = call_id};
  frame.head.resize(head_bytes);
  fill_pattern(frame.head.data(), head_bytes, seed_of(frame, 0));
  auto* memory = new std::vector<std::unique_ptr<std::byte, void (*)(void*)>>();
  for (size_t i = 0; i < blob_bytes.size(); ++i) {
    auto* data = static_cast<std::byte*>(std::aligned_alloc(64, abi::align_up(blob_bytes[i] + 1, 64)));
    memory->emplace_back(data, std::free);
    fill_pattern(data, blob_bytes[i], seed_of(frame, i + 1));
    frame.blobs.push_back({data, blob_bytes[i]});
  }
  frame.hold = std::shared_ptr<void>(memory, [released](void* held) {
    delete static_cast<std::vector<std::unique_ptr<std::byte, void (*)(void*)>>*>(held);
    if (released != nullptr) ++*released;
  });
  return frame;
}

inline bool intact(const Frame& frame, uint64_t head_bytes, const std::vector<uint64_t>& blob_bytes = {}) {
  if (frame.head.size() != head_bytes || frame.blobs.size() != blob_bytes.size()) return false;
  if (!has_pattern(frame.head.data(), head_bytes, seed_of(frame, 0))) return false;
  for (size_t i = 0; i < blob_bytes.size(); ++i) {
    const Blob& blob = frame.blobs[i];
    if (blob.length != blob_bytes[i] || reinterpret_cast<uintptr_t>(blob.data) % abi::kBlobAlign != 0) return false;
    if (!has_pattern(blob.data, blob.length, seed_of(frame, i + 1))) return false;
  }
  return true;
}

}  // namespace mrpc::transport::testing
