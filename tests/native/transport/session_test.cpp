// The session's two halves without a transport: watermarks, windows, interleaving, and the wire's golden bytes.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "transport/session/session.h"

#include "transport/harness.h"

namespace mrpc::transport::testing {
namespace {

struct Segment {
  WireHeader header;
  std::vector<std::byte> payload;
};

std::optional<Segment> take(SendQueue& out) {
  Segment segment;
  std::vector<iovec> pieces;
  if (!out.next(segment.header, pieces)) return std::nullopt;
  for (const iovec& piece : pieces) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    segment.payload.insert(segment.payload.end(), from, from + piece.iov_len);
  }
  REQUIRE(segment.payload.size() == segment.header.payload_bytes);
  return segment;
}

constexpr uint64_t kMax = 64 << 20;

}  // namespace

TEST_CASE("the header's bytes on the wire") {
  WireHeader header{.type = static_cast<uint8_t>(WireType::kData), .flags = kFirst | kLast};
  header.payload_bytes = 0x01020304;
  header.message_id = 5;
  header.sequence = 6;
  header.ack = 7;
  header.consumed = 8;
  seal(header);
  std::string hex;
  for (const auto* at = reinterpret_cast<const unsigned char*>(&header); hex.size() < 2 * sizeof header; ++at) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", *at);
    hex += digits;
  }
  CHECK(hex.substr(0, 88) == "6d50525703030000040302010500000006000000000000000700000000000000080000000000000000000000");
  CHECK(hex.substr(88) == "039be3e5");
  CHECK(offsetof(WireHeader, sequence) == 16);
  CHECK(offsetof(WireHeader, check) == 44);
  CHECK(offsetof(WireHello, session) == 16);
  CHECK(offsetof(MessageHeader, call_id) == 8);
}

TEST_CASE("no bit of a header can flip unseen") {
  WireHeader header = plain_header(WireType::kAck, 3, 4);
  std::byte bytes[sizeof header];
  std::memcpy(bytes, &header, sizeof header);
  REQUIRE(parse_header(bytes).ok());
  for (size_t bit = 0; bit < 8 * sizeof header; ++bit) {
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    CHECK(!parse_header(bytes).ok());
    bytes[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST_CASE("an acknowledgement frees nothing that is being written") {
  int released = 0;
  SendQueue out({}, kMax, kMax);
  REQUIRE(out.push(make_frame(1, 0, 8, {100}, &released)) == SendResult::kSent);
  CHECK(!out.acknowledge(1, 0));  // never given out
  REQUIRE(take(out));
  CHECK(out.acknowledge(1, 0));
  CHECK(released == 0);
  out.written();
  CHECK(released == 1);
  CHECK(out.empty());
  CHECK(!out.acknowledge(2, 0));
  CHECK(!out.acknowledge(1, 1'000'000));  // more consumed than was sent
}

TEST_CASE("after a rewind too") {
  int released = 0;
  SendQueue out({}, kMax, kMax);
  for (uint32_t i = 0; i < 3; ++i) REQUIRE(out.push(make_frame(1, i, 8, {100}, &released)) == SendResult::kSent);
  while (take(out)) {}
  out.written();
  REQUIRE(out.rewind(1, 0));
  CHECK(released == 1);
  const auto again = take(out);
  REQUIRE(again);
  CHECK(again->header.sequence == 1);
  CHECK(out.acknowledge(3, 0));
  CHECK(released == 1);
  out.written();
  CHECK(released == 3);
  CHECK(!out.rewind(2, 0));  // forgotten
  CHECK(!take(out));
}

TEST_CASE("large messages take turns, and small ones go between") {
  SendQueue out({}, kMax, kMax);
  out.push(make_frame(1, 0, 10 * kChunkBytes));
  out.push(make_frame(2, 0, 10 * kChunkBytes));
  CHECK(take(out)->header.message_id == 0);
  CHECK(take(out)->header.message_id == 1);
  CHECK(take(out)->header.message_id == 0);
  out.push(make_frame(3, 0, 10));
  out.push(make_frame(1, 1, 10));  // behind its call's large one
  CHECK(take(out)->header.message_id == 1);
  CHECK(take(out)->header.message_id == 0);
  CHECK(take(out)->header.message_id == 2);
  std::vector<uint32_t> rest;
  while (const auto segment = take(out)) rest.push_back(segment->header.message_id);
  CHECK(rest.back() == 3);
  CHECK(out.all_given());
}

TEST_CASE("the window stops what is large first, then what is small, and never what has begun") {
  SendQueue out({}, 1 << 20, kMax);
  Assembler in({.window_bytes = 1 << 20, .message_bytes_max = kMax});
  uint32_t small = 0;
  out.push(make_frame(1, 0, 3 << 20));
  out.push(make_frame(2, 0, 3 << 20));
  for (; small < 200; ++small) out.push(make_frame(10 + small, 0, 100'000));
  std::vector<Frame> frames;
  const auto carry = [&] {
    while (const auto segment = take(out)) {
      auto received = in.receive(segment->header, segment->payload);
      REQUIRE(received.ok());
      REQUIRE(received->verdict == Assembler::Verdict::kTake);
      if (received->frame) frames.push_back(std::move(*received->frame));
    }
    out.written();
  };
  carry();
  CHECK(frames.size() > 10);
  CHECK(frames.size() < 60);
  CHECK(!out.all_given());
  size_t released = 0;
  while (frames.size() < 202) {
    REQUIRE(released < frames.size());
    for (; released < frames.size(); ++released) in.release(frames[released]);
    REQUIRE(out.acknowledge(in.receive_next(), in.consumed()));
    carry();
  }
  REQUIRE(out.acknowledge(in.receive_next(), in.consumed()));
  CHECK(out.empty());
  for (const Frame& frame : frames) CHECK(intact(frame, frame.head.size()));
}

TEST_CASE("what comes twice or too early is told apart") {
  SendQueue out({}, kMax, kMax);
  Assembler in({});
  for (uint32_t i = 0; i < 2; ++i) out.push(make_frame(1, i, 10));
  const auto first = take(out), second = take(out);
  CHECK(in.receive(second->header, second->payload)->verdict == Assembler::Verdict::kGap);
  CHECK(in.receive(first->header, first->payload)->frame);
  CHECK(in.receive(first->header, first->payload)->verdict == Assembler::Verdict::kDuplicate);
  CHECK(in.receive(second->header, second->payload)->frame);
}

TEST_CASE("a segment that broke off is as if it had never begun") {
  SendQueue out({}, kMax, kMax);
  Assembler in({});
  out.push(make_frame(1, 0, 200'000, {300'000}));
  const size_t prefix = sizeof(MessageHeader) + 8;
  std::optional<Frame> frame;
  while (const auto segment = take(out)) {
    const size_t start = (segment->header.flags & kFirst) != 0 ? prefix : 0;
    const std::span<const std::byte> payload = segment->payload;
    REQUIRE(*in.begin(segment->header, payload.first(start)) == Assembler::Verdict::kTake);
    const auto room = in.room();
    std::memset(room.data(), 0xee, room.size() / 2);
    in.filled(room.size() / 2);
    in.abort_segment();
    frame = std::move(in.receive(segment->header, payload)->frame);
  }
  REQUIRE(frame);
  CHECK(intact(*frame, 200'000, {300'000}));
}

}  // namespace mrpc::transport::testing
