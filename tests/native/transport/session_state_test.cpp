// Sessions that are carried from one process to the next in the middle of everything: every frame comes once, whole and in order.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <random>

#include "transport/harness.h"
#include "transport/session/stream_reader.h"

namespace mrpc::transport::testing {
namespace {

constexpr uint64_t kWindow = 4 << 20;
const SendLimits kSend{64 << 20, 4096};
const ReceiveLimits kReceive{kWindow, 64 << 20};

WireHello hello() {
  WireHello made;
  made.window_bytes = kWindow;
  made.message_bytes_max = 64 << 20;
  return made;
}

// One direction of a connection: a sender, the bytes on their way, a receiver that may stand in the middle of a segment.
class Direction final : public StreamHandler {
 public:
  Direction() { attach(std::make_unique<Session>(SessionId{1, 2}, kSend, kReceive, hello()), {}); }

  bool on_control(const WireHeader&, std::span<const std::byte>) override { return true; }
  void on_message(Frame&& frame) override {
    receiver->in.release(frame);
    const uint32_t expected = next_[frame.call_id]++;
    CHECK(frame.sequence == expected);
    CHECK(has_pattern(frame.head.data(), frame.head.size(), seed_of(frame, 0)));
    for (size_t i = 0; i < frame.blobs.size(); ++i)
      CHECK(has_pattern(frame.blobs[i].data, frame.blobs[i].length, seed_of(frame, i + 1)));
    ++frames;
  }

  void write_some(size_t segments) {
    for (size_t i = 0; i < segments; ++i) {
      WireHeader header;
      std::vector<iovec> pieces;
      if (!sender->out.next(header, pieces)) break;
      sender->stamp(header);
      append(&header, sizeof header);
      for (const iovec& piece : pieces) append(piece.iov_base, piece.iov_len);
    }
    sender->out.written();
  }
  void read_some(size_t bytes) {
    while (bytes > 0 && !wire_.empty()) {
      iovec parts[2];
      const int count = reader->room(parts);
      size_t taken = 0;
      for (int i = 0; i < count && bytes > 0 && !wire_.empty(); ++i) {
        const size_t now = std::min({parts[i].iov_len, bytes, wire_.size()});
        std::copy_n(wire_.begin(), now, static_cast<std::byte*>(parts[i].iov_base));
        wire_.erase(wire_.begin(), wire_.begin() + static_cast<ptrdiff_t>(now));
        taken += now;
        bytes -= now;
        if (now < parts[i].iov_len) break;
      }
      REQUIRE(reader->advance(taken).ok());
    }
    REQUIRE(sender->out.acknowledge(receiver->in.receive_next(), receiver->in.consumed()));
  }

  void move_sender() {
    auto next = std::make_unique<Session>(SessionId{1, 2}, kSend, kReceive, hello());
    REQUIRE(next->out.restore(sender->out.save()).ok());
    sender = std::move(next);
  }
  void move_receiver() {
    auto next = std::make_unique<Session>(SessionId{1, 2}, kSend, kReceive, hello());
    REQUIRE(next->in.restore(receiver->in.save()).ok());
    const auto unread = reader->unread();
    attach(std::move(next), {unread.begin(), unread.end()});
  }
  bool done() const { return wire_.empty() && sender->out.all_given(); }

  std::unique_ptr<Session> sender = std::make_unique<Session>(SessionId{1, 2}, kSend, kReceive, hello());
  std::unique_ptr<Session> receiver;
  std::unique_ptr<StreamReader> reader;
  size_t frames = 0;

 private:
  void attach(std::unique_ptr<Session> session, const std::vector<std::byte>& unread) {
    auto fresh = std::make_unique<StreamReader>(*this);
    fresh->attach(session.get());
    REQUIRE(fresh->restore(unread));
    reader = std::move(fresh);
    receiver = std::move(session);
  }
  void append(const void* data, size_t bytes) {
    const auto* from = static_cast<const std::byte*>(data);
    wire_.insert(wire_.end(), from, from + bytes);
  }
  std::vector<std::byte> wire_;
  std::map<uint64_t, uint32_t> next_;
};

}  // namespace

TEST_CASE("both halves of a session move at any moment") {
  for (const uint64_t seed : {1, 2, 3, 4}) {
    std::mt19937_64 random(seed);
    Direction direction;
    std::map<uint64_t, uint32_t> sequence;
    size_t sent = 0;
    for (int step = 0; step < 600 || !direction.done(); ++step) {
      REQUIRE(step < 100'000);
      const uint64_t call = random() % 5;
      if (step < 600 && random() % 3 == 0) {
        const uint64_t head = random() % 8 == 0 ? random() % 700'000 : random() % 500;
        std::vector<uint64_t> blobs;
        for (uint64_t i = random() % 3; i > 0; --i) blobs.push_back(random() % 4 == 0 ? random() % 900'000 : random() % 100);
        if (direction.sender->out.push(make_frame(call, sequence[call], head, blobs)) == SendResult::kSent) {
          ++sequence[call];
          ++sent;
        }
      }
      direction.write_some(random() % 4);
      direction.read_some(random() % 200'000);
      if (random() % 4 == 0) direction.move_sender();
      if (random() % 4 == 0) direction.move_receiver();
    }
    CHECK(direction.frames == sent);
    CHECK(direction.sender->out.empty());
  }
}

TEST_CASE("states that cannot be are refused") {
  SendQueue out({}, kWindow, kWindow);
  out.push(make_frame(1, 0, 10));
  out.push(make_frame(2, 0, 3 << 17));
  const auto refused = [&](auto&& change) {
    SendState state = out.save();
    change(state);
    return !SendQueue({}, kWindow, kWindow).restore(std::move(state)).ok();
  };
  CHECK_FALSE(refused([](SendState&) {}));
  CHECK(refused([](SendState& state) { state.segments[0].message = 9; }));
  CHECK(refused([](SendState& state) { state.segments[0].offset = 1 << 20; }));
  CHECK(refused([](SendState& state) { state.segments[0].bytes = 1 << 20; }));
  CHECK(refused([](SendState& state) { state.waiting.push_back(0); }));
  CHECK(refused([](SendState& state) { state.waiting.push_back(99); }));
  CHECK(refused([](SendState& state) { state.next = 50; }));
  CHECK(refused([](SendState& state) { state.consumed_bytes = 1ull << 40; }));
  CHECK(refused([](SendState& state) { state.messages[0].cut_bytes = 1 << 30; }));
  ReceiveState half;
  half.in_segment = true;
  half.segment.message_id = 7;
  CHECK(!Assembler(kReceive).restore(std::move(half)).ok());
}

}  // namespace mrpc::transport::testing
