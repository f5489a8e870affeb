// Peers that do not keep to the protocol: each costs its own connection, while a good link beside it goes on.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <sys/socket.h>
#include <unistd.h>

#include "transport/session/frame.h"
#include "transport/tcp_rig.h"

namespace mrpc::transport::testing {
namespace {

using Rig = TcpRig<false>;

// A peer that writes what a test tells it to.
class RawPeer {
 public:
  RawPeer(Harness<Rig>& harness, const std::string& address) : harness_(harness) {
    const auto parsed = parse_address(address);
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&parsed->storage), parsed->bytes) == 0);
  }
  ~RawPeer() { ::close(fd_); }

  void write(const std::vector<std::byte>& bytes) {
    REQUIRE(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  }
  void stop_writing() { ::shutdown(fd_, SHUT_WR); }
  // What the other side says until it closes.
  std::vector<std::byte> read_to_end() {
    std::vector<std::byte> all;
    bool open = true;
    harness_.pump_until([&] {
      std::byte chunk[4096];
      ssize_t got = 0;
      while ((got = ::recv(fd_, chunk, sizeof chunk, MSG_DONTWAIT)) > 0) all.insert(all.end(), chunk, chunk + got);
      open = got < 0 && errno == EAGAIN;
      return !open;
    });
    return all;
  }
  WireHeader read_header(WireHello* hello = nullptr) {
    std::byte bytes[sizeof(WireHeader) + sizeof(WireHello)];
    harness_.pump_until([&] { return ::recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK) == sizeof bytes; });
    if (hello != nullptr) std::memcpy(hello, bytes + sizeof(WireHeader), sizeof *hello);
    return *parse_header(bytes);
  }

 private:
  Harness<Rig>& harness_;
  int fd_;
};

WireHello good_hello() {
  WireHello hello;
  hello.window_bytes = hello.message_bytes_max = 1 << 20;
  return hello;
}

std::vector<std::byte> bytes_of(WireHeader header, size_t payload_bytes = 0, std::byte filler = {}) {
  seal(header);
  std::vector<std::byte> bytes(sizeof header + payload_bytes, filler);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

WireHeader data_header(uint64_t sequence, uint32_t payload_bytes, uint8_t flags) {
  WireHeader header{.type = static_cast<uint8_t>(WireType::kData), .flags = flags};
  header.sequence = sequence;
  header.payload_bytes = payload_bytes;
  return header;
}

std::vector<std::byte> message(const MessageHeader& record, const WireHeader& header) {
  auto bytes = bytes_of(header, header.payload_bytes);
  std::memcpy(bytes.data() + sizeof header, &record, std::min<size_t>(sizeof record, header.payload_bytes));
  return bytes;
}

std::vector<std::byte> operator+(std::vector<std::byte> a, const std::vector<std::byte>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Bed {
  Harness<Rig> h;
  Bed() { h.connect_and_wait(); }
  // The bystander's link still works.
  ~Bed() {
    h.send(h.client, make_frame(9, 0, 1000));
    h.pump_until([&] { return !h.server.frames.empty() && h.server.frames.back().call_id == 9; });
    CHECK(h.client.downs == 0);
  }
  void expect_closed(const std::vector<std::byte>& bytes) {
    const uint64_t before = h.rig.b->stats().garbage_closed;
    RawPeer peer(h, h.rig.address());
    peer.write(bytes);
    peer.read_to_end();
    CHECK(h.rig.b->stats().garbage_closed == before + 1);
  }
};

const auto kHelloBytes = encode_hello(WireType::kHello, good_hello(), "raw");

}  // namespace

TEST_CASE("garbage instead of a hello") {
  Bed bed;
  bed.expect_closed(std::vector<std::byte>(500, std::byte{'G'}));
  auto damaged = kHelloBytes;
  damaged[13] ^= std::byte{1};
  bed.expect_closed(damaged);
  bed.expect_closed(bytes_of(plain_header(WireType::kPing, 0, 0)));
  bed.expect_closed(bytes_of(data_header(0, 0, 0)));
  WireHeader oversize{.type = static_cast<uint8_t>(WireType::kHello)};
  oversize.payload_bytes = 0xffffffff;
  bed.expect_closed(bytes_of(oversize));
}

TEST_CASE("a wrong version is told why") {
  Bed bed;
  WireHello hello = good_hello();
  hello.version_min = hello.version_max = 77;
  RawPeer peer(bed.h, bed.h.rig.address());
  peer.write(encode_hello(WireType::kHello, hello, "from the future"));
  const auto answer = peer.read_to_end();
  REQUIRE(answer.size() > sizeof(WireHeader));
  const Error told = parse_goaway(std::span(answer).subspan(sizeof(WireHeader)));
  CHECK(told.code == StatusCode::kUnimplemented);
  CHECK(told.text.find("no common wire version") != std::string::npos);
}

TEST_CASE("a truncated hello, and one that never comes") {
  Bed bed;
  {
    RawPeer peer(bed.h, bed.h.rig.address());
    peer.write({kHelloBytes.begin(), kHelloBytes.begin() + 60});
    peer.stop_writing();
    peer.read_to_end();
  }
  const uint64_t before = bed.h.rig.b->stats().garbage_closed;
  RawPeer silent(bed.h, bed.h.rig.address());
  silent.read_to_end();
  CHECK(bed.h.rig.b->stats().garbage_closed == before + 1);
}

TEST_CASE("half-open connections are bounded") {
  TcpOptions server = tcp_options("b");
  server.half_open_max = 3;
  Harness<Rig> h;
  h.rig.b = make_tcp(server);
  h.rig.address_ = *h.rig.b->listen("127.0.0.1:0");
  h.server.transport = h.rig.b.get();
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 6; ++i) peers.push_back(std::make_unique<RawPeer>(h, h.rig.address()));
  h.pump_until([&] { return h.rig.b->stats().refused == 3; });
  h.connect();
  h.pump_until([&] { return h.client.ups == 1; });  // when the silent ones have run out of time
}

TEST_CASE("a session broken by its peer ends alone") {
  Bed bed;
  MessageHeader whole{.kind = 2};
  MessageHeader too_large{.kind = 2};
  too_large.head_bytes = 1ull << 40;
  MessageHeader overflow{.kind = 2, .head_bytes = ~uint64_t{0} - 20};
  MessageHeader many_blobs{.kind = 2};
  many_blobs.blob_count = 65;
  MessageHeader longer{.kind = 2, .head_bytes = 100};
  MessageHeader large{.kind = 2, .head_bytes = 1 << 20};
  const uint8_t single = kFirst | kLast;
  WireHeader early_ack = plain_header(WireType::kAck, 1, 0);
  WireHeader early_consumed = plain_header(WireType::kAck, 0, 1);
  const std::vector<std::vector<std::byte>> attacks = {
      kHelloBytes,
      bytes_of(early_ack),
      bytes_of(early_consumed),
      message(whole, data_header(1, 40, single)),
      message(MessageHeader{.kind = 77}, data_header(0, 40, single)),
      message(whole, data_header(0, 40, single | kCompressed)),  // which was not agreed upon
      message(MessageHeader{.kind = 2, .flags = 0x80}, data_header(0, 40, single)),
      message(too_large, data_header(0, 4096, kFirst)),
      message(overflow, data_header(0, 4096, kFirst)),
      message(many_blobs, data_header(0, 4096, single)),
      message(longer, data_header(0, 50, single)),
      message(longer, data_header(0, 50, kFirst)),
      message(longer, data_header(0, 200, single)),
      message(whole, data_header(0, 20, single)),
      message(whole, data_header(0, 40, 0)),
      message(large, data_header(0, 4096, kFirst)) + message(large, data_header(1, 4096, kFirst)),
      message(large, data_header(0, 4096, kFirst)) + bytes_of(data_header(1, 0, 0)),
      message(large, data_header(0, 4096, kFirst)) + message(large, data_header(1, 4096, kLast)),
  };
  for (const auto& attack : attacks) bed.expect_closed(kHelloBytes + attack);
  const int ups = bed.h.server.ups - 1;  // the bystander's
  CHECK(ups == static_cast<int>(attacks.size()));
  CHECK(bed.h.server.downs == ups);
  bed.h.server.frames.clear();
}

TEST_CASE("segments that do not decompress to what they say end their session") {
  Bed bed;
  WireHello hello = good_hello();
  hello.features = kFeatureZstd;
  const auto greeting = encode_hello(WireType::kHello, hello, "raw");
  const MessageHeader record{.kind = 2, .head_bytes = 1000};
  std::vector<std::byte> whole(sizeof record + record.head_bytes);
  std::memcpy(whole.data(), &record, sizeof record);
  const iovec piece{whole.data(), whole.size()};
  const auto packed = Compressor().compress({&piece, 1}, 1);
  REQUIRE(!packed.empty());
  const auto segment = [](const std::vector<std::byte>& payload) {
    auto bytes = bytes_of(data_header(0, static_cast<uint32_t>(payload.size()), kFirst | kLast | kCompressed));
    bytes.resize(sizeof(WireHeader));
    return bytes + payload;
  };
  const auto saying = [&](uint32_t raw_bytes) {
    auto lie = packed;
    std::memcpy(lie.data(), &raw_bytes, sizeof raw_bytes);
    return segment(lie);
  };
  auto damaged = packed;
  damaged[sizeof(uint32_t)] ^= std::byte{1};
  for (const auto& attack : {segment({}), segment({3, std::byte{}}), segment(std::vector<std::byte>(100, std::byte{7})), segment(damaged),
                             segment({packed.begin(), packed.end() - 1}), saying(0), saying(999), saying(1041), saying(kChunkBytes + 1), saying(UINT32_MAX)})
    bed.expect_closed(greeting + attack);
}

TEST_CASE("a peer cannot make a node hold more than its window") {
  Bed bed;
  TcpOptions small = tcp_options("c");
  small.receive.window_bytes = 1 << 20;
  auto node = make_tcp(small);
  const std::string address = *node->listen("127.0.0.1:0");
  RawPeer peer(bed.h, address);
  peer.write(kHelloBytes);
  // 100 messages begun and not ended: each claims 1 MiB.
  for (uint32_t i = 0; i < 100; ++i) {
    WireHeader header = data_header(i, 40, kFirst);
    header.message_id = i;
    peer.write(message(MessageHeader{.kind = 2, .head_bytes = 1 << 20}, header));
  }
  bed.h.pump_until([&] {
    node->poll(bed.h.rig.now_ns, 64, [](Event&&) {});
    return node->stats().garbage_closed == 1;
  });
}

TEST_CASE("a stranger's session id resumes nothing") {
  Bed bed;
  WireHello hello = good_hello();
  hello.session = {1, 2};
  hello.receive_next = 5;
  RawPeer peer(bed.h, bed.h.rig.address());
  peer.write(encode_hello(WireType::kHello, hello, "raw"));
  WireHello answer;
  CHECK(peer.read_header(&answer).type == static_cast<uint8_t>(WireType::kHelloAck));
  CHECK(!(answer.session == hello.session));
  CHECK(answer.receive_next == 0);
  CHECK(bed.h.rig.b->stats().resumed == 0);
}

TEST_CASE("random bytes after a good hello") {
  Bed bed;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    std::vector<std::byte> noise(2000);
    fill_pattern(noise.data(), noise.size(), seed);
    bed.expect_closed(kHelloBytes + noise);
  }
}

}  // namespace mrpc::transport::testing
