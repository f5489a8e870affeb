// The receiving half of a session: checks a hostile peer's segments and puts frames together in memory of its own.
//
// A segment is taken in three steps, so that a stream can read bytes straight to where they belong: begin() with its header
// and, for a message's first segment, the message's prefix; room() and filled() until all its bytes have come. A connection
// that breaks off within a segment calls abort_segment(): the segment is then as if it had never begun.
#pragma once

#include <optional>
#include <unordered_map>

#include "transport/session/frame.h"
#include "transport/session/session_state.h"

namespace mrpc::transport {

struct ReceiveLimits {
  uint64_t window_bytes = 64ull << 20;  // see rule 5 of frame.h
  uint64_t message_bytes_max = (64ull << 20) + (1ull << 20);  // head and blobs: abi::kMessageBytesMax, metadata, details
};

class Assembler {
 public:
  explicit Assembler(ReceiveLimits limits) : limits_(limits) {}

  // How much of a segment's start begin() must see: the message's prefix, as far as `start` tells; at most kPrefixBytesMax.
  // Errors: kInvalidArgument.
  static Result<size_t> prefix_bytes(const WireHeader& header, std::span<const std::byte> start);

  enum class Verdict { kTake, kDuplicate, kGap };
  // Errors: kInvalidArgument, kResourceExhausted: the peer broke the protocol.
  Result<Verdict> begin(const WireHeader& header, std::span<const std::byte> prefix);
  // Where the segment's next bytes go; empty when all have come.
  std::span<std::byte> room();
  void filled(size_t bytes);
  bool in_segment() const { return current_ != nullptr; }
  // Ends a segment of which all bytes have come. A frame, if it was a message's last.
  std::optional<Frame> finish_segment();
  void abort_segment();

  // A whole segment at once, as from a datagram. Errors as begin().
  struct Received {
    Verdict verdict{};
    std::optional<Frame> frame{};
  };
  Result<Received> receive(const WireHeader& header, std::span<const std::byte> payload);

  // The shard has taken a frame, or dropped it.
  void release(const Frame& frame);

  // For a successor process, and in it, into one that was never used. Errors: kInvalidArgument, a state that cannot be.
  ReceiveState save() const;
  Status restore(ReceiveState&& state);

  uint64_t receive_next() const { return receive_next_; }
  uint64_t consumed() const { return consumed_bytes_; }
  const ReceiveLimits& limits() const { return limits_; }

 private:
  struct Assembly {
    Frame frame;
    std::byte* blob_memory = nullptr;  // owned by frame.hold
    uint64_t head_bytes = 0;
    uint64_t body_bytes = 0;           // head and blobs
    uint64_t filled_bytes = 0;         // of the body
    uint64_t total_bytes = 0;          // as it travels
  };

  Result<Assembly> start_message(const WireHeader& header, std::span<const std::byte> prefix) const;
  Status check_room(const WireHeader& header, uint64_t total_bytes) const;

  ReceiveLimits limits_;
  uint64_t receive_next_ = 0;
  uint64_t started_bytes_ = 0, consumed_bytes_ = 0;
  std::unordered_map<uint32_t, Assembly> assemblies_;  // of several segments, by message id
  Assembly single_;                                    // of one segment
  Assembly* current_ = nullptr;
  WireHeader segment_;
  uint64_t segment_left_ = 0, segment_start_ = 0;      // body bytes to come; filled_bytes before the segment
};

}  // namespace mrpc::transport
