// Takes a byte stream apart into wire frames. Bytes of large segments are read straight to their place in the message.
#pragma once

#include <sys/uio.h>

#include "transport/session/compression.h"
#include "transport/session/session.h"

namespace mrpc::transport {

class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Anything but kData. False: the handler wants no more of this stream.
  virtual bool on_control(const WireHeader& header, std::span<const std::byte> payload) = 0;
  virtual void on_message(Frame&& frame) = 0;
};

class StreamReader {
 public:
  explicit StreamReader(StreamHandler& handler) : handler_(handler), buffer_(kBufferBytes) {}

  // From here kData is welcome; null: no longer. A segment half read is given up.
  void attach(Session* session);
  // Whether rule 7 of frame.h holds on this stream.
  void take_compressed(bool takes) { takes_compressed_ = takes; }
  // Where the next bytes of the stream go; the number of parts.
  int room(iovec parts[2]);
  // What was read and is not yet taken: the start of a wire frame. A successor's reader goes on behind it.
  std::span<const std::byte> unread() const { return std::span(buffer_).subspan(begin_, end_ - begin_); }
  // Into a reader that was never used. False: more than a buffer.
  bool restore(std::span<const std::byte> unread);
  // What was read is not all taken, since unpacking it takes its time: advance(0) goes on.
  bool paused() const { return paused_; }
  // `bytes` were written there. Errors: kInvalidArgument, kResourceExhausted: the peer broke the protocol.
  Status advance(size_t bytes);

 private:
  static constexpr size_t kBufferBytes = 64 * 1024 + kChunkBytes;  // with room for a compressed segment
  enum class Step { kOn, kNeedMore };

  Result<Step> step();
  Result<Step> begin_data(const WireHeader& header);
  Result<Step> take_compressed(WireHeader header);
  void copy_body();

  StreamHandler& handler_;
  Session* session_ = nullptr;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0, end_ = 0;
  size_t direct_bytes_ = 0;  // room() offered so much of the current segment first
  bool stopped_ = false;
  bool takes_compressed_ = false, paused_ = false;
  size_t unpacked_bytes_ = 0;  // in this call of advance()
  Decompressor decompressor_;
};

}  // namespace mrpc::transport
