// The hot half of a TCP connection: what leaves is gathered into one writev, what comes is read in place.
#pragma once

#include <functional>

#include "transport/session/compression.h"
#include "transport/session/stream_reader.h"

namespace mrpc::transport {

enum class Io { kDone, kBlocked, kLost };

// A fault point for tests: how many of `bytes` may still be written before the connection is cut. Empty in production.
using WriteFault = std::function<size_t(size_t bytes)>;

// Gathers wire frames until one writev, and the rest of it after a short write. Segments are not copied: their session
// must keep them until the batch is complete (SendQueue does).
class OutBatch {
 public:
  OutBatch();
  bool empty() const { return pieces_.empty(); }
  bool full() const { return headers_.size() == kHeadersMax || bytes_ >= kBatchBytes || tried_bytes_ >= kChunkBytes; }

  void add_bytes(std::vector<std::byte>&& bytes);  // of a control frame
  void add_header(const WireHeader& header);       // of a frame without payload
  // The session's next segment, if it has one that may be sent; with a compressor, compressed, if its frame's sender wants that.
  bool add_segment(Session& session, Compressor* compressor);
  uint64_t take_saved_bytes() { return std::exchange(saved_bytes_, 0); }  // by compression, since the last time

  // kDone: all is written and the batch is empty. Adds what was written to `written_bytes`.
  Io write(int fd, uint64_t& written_bytes, const WriteFault& fault);
  void clear();
  // What has yet to be written, copied together.
  std::vector<std::byte> unwritten() const;

 private:
  static constexpr size_t kHeadersMax = 128;
  static constexpr uint64_t kBatchBytes = 2 * kChunkBytes;

  std::vector<WireHeader> headers_;  // never grows past its capacity: pieces point into it
  std::vector<std::vector<std::byte>> controls_;
  std::vector<iovec> pieces_;
  size_t first_ = 0;                 // pieces before are written
  uint64_t bytes_ = 0;
  uint64_t tried_bytes_ = 0;         // given to the compressor: about 300 us for each kChunkBytes
  uint64_t saved_bytes_ = 0;

  void compress_last(Compressor& compressor, uint8_t level, size_t first_piece);
  void send_packed(const std::vector<std::byte>& packed, size_t first_piece);
};

// Reads once from `fd`. kDone: more may be there. Errors: the peer broke the protocol.
Result<Io> read_once(int fd, StreamReader& reader, uint64_t& read_bytes);

}  // namespace mrpc::transport
