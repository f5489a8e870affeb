// One session between two transports: both halves, and when to acknowledge. It outlives the connections that carry it.
#pragma once

#include "transport/session/assembler.h"
#include "transport/session/send_queue.h"

namespace mrpc::transport {

// An acknowledgement rides on the next frame that leaves; alone it leaves after this many segments, or this late.
constexpr uint64_t kAckSegments = 32;
constexpr uint64_t kAckDelayNs = 1'000'000;

class Session {
 public:
  Session(SessionId id, SendLimits send, ReceiveLimits receive, const WireHello& peer)
      : out(send, peer.window_bytes, peer.message_bytes_max), in(receive), id_(id) {}

  const SessionId& id() const { return id_; }

  // Writes the watermarks into a header that is about to leave, and seals it.
  void stamp(WireHeader& header) {
    header.ack = told_ack_ = in.receive_next();
    header.consumed = told_consumed_ = in.consumed();
    ack_due_ns_ = UINT64_MAX;
    seal(header);
  }
  WireHeader plain(WireType type) {
    WireHeader header{.type = static_cast<uint8_t>(type)};
    stamp(header);
    return header;
  }
  // Says again what was told, as after a resume or when a duplicate shows that it was lost.
  void owe_ack() { told_ack_ = UINT64_MAX; }
  bool ack_due(uint64_t now_ns) {
    if (in.receive_next() == told_ack_ && in.consumed() == told_consumed_) return false;
    if (told_ack_ == UINT64_MAX || in.receive_next() - told_ack_ >= kAckSegments) return true;
    if (in.consumed() - told_consumed_ >= in.limits().window_bytes / 4) return true;
    if (ack_due_ns_ == UINT64_MAX) ack_due_ns_ = now_ns + kAckDelayNs;
    return now_ns >= ack_due_ns_;
  }
  uint64_t ack_due_ns() const { return ack_due_ns_; }

  SendQueue out;
  Assembler in;

 private:
  SessionId id_;
  uint64_t told_ack_ = 0, told_consumed_ = 0;
  uint64_t ack_due_ns_ = UINT64_MAX;
};

}  // namespace mrpc::transport
