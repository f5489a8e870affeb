// A byte stream from a hostile peer, from its first byte on: frame parser, hello, and a session's receive path.
//
// The input is a list of wire frames in short form, so that the fuzzer need not guess magic numbers and check sums: the first
// byte says how the stream is to be read; then, for each frame, a byte of how to write it, a WireHeader's variable fields, and
// payload. Frames marked raw go onto the stream as they are; others may be compressed, or only say that they are.
#include <algorithm>
#include <cstring>
#include <memory>

#include "transport/session/stream_reader.h"

namespace {

using namespace mrpc;
using namespace mrpc::transport;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  template <typename T>
  T take() {
    T value{};
    const size_t bytes = std::min(sizeof value, static_cast<size_t>(end_ - at_));
    std::memcpy(&value, at_, bytes);
    at_ += bytes;
    return value;
  }
  std::vector<std::byte> take_bytes(size_t bytes) {
    bytes = std::min(bytes, static_cast<size_t>(end_ - at_));
    std::vector<std::byte> taken(bytes);
    if (bytes > 0) std::memcpy(taken.data(), at_, bytes);
    at_ += bytes;
    return taken;
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

// Reads what it is sent, answers nothing, and holds every frame that came whole to its bounds.
class Receiver final : public StreamHandler {
 public:
  explicit Receiver(bool hello_done) : reader(*this) {
    reader.take_compressed(true);
    if (hello_done) start({});
  }
  bool on_control(const WireHeader& header, std::span<const std::byte> payload) override {
    switch (static_cast<WireType>(header.type)) {
      case WireType::kHello:
      case WireType::kHelloAck: {
        const auto parsed = parse_hello(header, payload);
        if (!parsed) return false;
        if (!session) {
          start(parsed->hello);
        } else if (!resume(parsed->hello)) {
          return false;
        }
        return true;
      }
      case WireType::kGoaway: return parse_goaway(payload).text.size() > kGoawayTextBytesMax;
      default: return true;
    }
  }
  void on_message(Frame&& frame) override {
    uint64_t bytes = frame.head.size();
    for (const Blob& blob : frame.blobs) {
      bytes += blob.length;
      MRPC_ASSERT(reinterpret_cast<uintptr_t>(blob.data) % abi::kBlobAlign == 0);
      if (blob.length > 0) last_byte = blob.data[blob.length - 1];
    }
    MRPC_ASSERT(bytes <= session->in.limits().message_bytes_max);
    if (frame.flags & kEnd) session->in.release(frame);
    frame.hold.reset();
    frame.blobs.clear();
    session->out.push(std::move(frame));  // an echo, so that there is something to acknowledge
    give_out();
  }
  void give_out() {
    WireHeader header;
    std::vector<iovec> pieces;
    while (session->out.next(header, pieces)) session->stamp(header);
    session->out.written();
  }
  void start(WireHello hello) {
    session = std::make_unique<Session>(SessionId{1, 2}, SendLimits{.queue_bytes_max = 1 << 20, .queue_frames_max = 64},
                                        ReceiveLimits{.window_bytes = 1 << 20, .message_bytes_max = 1 << 20}, hello);
    reader.attach(session.get());
  }
  bool resume(const WireHello& hello) {
    reader.attach(nullptr);
    if (!session->out.rewind(hello.receive_next, hello.consumed)) return false;
    reader.attach(session.get());
    give_out();
    return true;
  }

  std::unique_ptr<Session> session;
  StreamReader reader;
  std::byte last_byte{};
};

std::vector<std::byte> next_frame(Input& input) {
  const auto how = input.take<uint8_t>();
  const size_t payload_size = input.take<uint16_t>();
  if (how & 1) return input.take_bytes(payload_size);
  WireHeader header{.type = static_cast<uint8_t>(1 + (how >> 1) % 7), .flags = static_cast<uint8_t>(how >> 4 & 3)};
  header.message_id = how >> 6;
  header.sequence = input.take<uint8_t>();
  header.ack = input.take<uint8_t>();
  header.consumed = input.take<uint16_t>();
  auto payload = input.take_bytes(payload_size);
  const bool data = header.type == static_cast<uint8_t>(WireType::kData);
  if (data && header.message_id == 3) {
    const iovec whole{payload.data(), payload.size()};
    if (auto packed = Compressor().compress({&whole, 1}, 1); !packed.empty()) payload = std::move(packed);
  }
  if (data && header.message_id >= 2) header.flags |= kCompressed;
  if (!data) header.flags = 0, header.message_id = 0, header.sequence = 0;
  header.payload_bytes = static_cast<uint32_t>(payload.size());
  seal(header);
  std::vector<std::byte> bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const auto mode = input.take<uint8_t>();
  const size_t portion = (mode >> 1) + 1;  // bytes a read
  std::vector<std::byte> stream;
  while (!input.empty()) {
    const auto frame = next_frame(input);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  Receiver receiver((mode & 1) != 0);
  std::span<const std::byte> rest = stream;
  while (!rest.empty()) {
    iovec parts[2];
    const int count = receiver.reader.room(parts);
    size_t read = 0;
    for (int i = 0; i < count; ++i) {
      const size_t bytes = std::min({parts[i].iov_len, rest.size(), portion * 16 - read});
      if (bytes == 0) break;
      std::memcpy(parts[i].iov_base, rest.data(), bytes);
      rest = rest.subspan(bytes);
      read += bytes;
      if (bytes < parts[i].iov_len) break;
    }
    if (read == 0 || !receiver.reader.advance(read)) break;
    bool good = true;
    while (good && receiver.reader.paused()) good = receiver.reader.advance(0).ok();
    if (!good) break;
  }
  receiver.reader.attach(nullptr);
  return 0;
}
