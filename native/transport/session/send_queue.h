// The sending half of a session: cuts frames into numbered segments, interleaves calls, keeps what is not acknowledged.
//
// A frame stands in one of two places: whole in its call's lane until it has been cut to its end, and as segments, in
// sequence, until the peer has acknowledged them. Segments refer to the frame: nothing is copied, and Frame::hold goes
// with the last segment. The transport takes segments with next(), and says with written() that it no longer reads from
// those that it took: an acknowledgement, however early a hostile peer sends it, frees nothing that is still being written.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <unordered_map>
#include <vector>

#include "transport/fifo.h"
#include "transport/session/frame.h"
#include "transport/session/session_state.h"

namespace mrpc::transport {

struct SendLimits {
  // Taken and not acknowledged. A frame is taken while the queue is below both; small ones while it is little above.
  uint64_t queue_bytes_max = 128ull << 20;
  size_t queue_frames_max = 16384;
};

struct OutMessage {
  Frame frame;
  MessageHeader header;
  std::vector<uint64_t> blob_bytes;
  uint32_t id = 0;
  uint64_t total_bytes = 0;  // as it travels
  uint64_t cut_bytes = 0;
};

struct OutSegment {
  std::shared_ptr<OutMessage> message;
  uint64_t offset = 0;
  uint32_t bytes = 0;
};

std::shared_ptr<OutMessage> make_message(Frame&& frame, uint32_t id);
// Where the segment's bytes stand.
void append_pieces(const OutSegment& segment, std::vector<iovec>& pieces);

class SendQueue {
 public:
  SendQueue(SendLimits limits, uint64_t peer_window_bytes, uint64_t peer_message_bytes_max)
      : limits_(limits), window_bytes_(peer_window_bytes), message_bytes_max_(peer_message_bytes_max) {}

  SendResult push(Frame&& frame);
  bool has_room() const { return queued_frames_ < limits_.queue_frames_max && queued_bytes_ < limits_.queue_bytes_max; }
  // next() has given everything.
  bool all_given() const { return lanes_.empty() && next_ == first_ + segments_.size(); }
  // And the peer has acknowledged everything.
  bool empty() const { return queued_frames_ == 0; }

  // The next segment to write: its header (not sealed, without ack), and its bytes appended to `pieces`. False: nothing may be sent.
  bool next(WireHeader& header, std::vector<iovec>& pieces);
  // Of the segment that next() gave last: how its frame's sender wants it compressed.
  uint8_t compression() const { return last_given().message->frame.compression; }
  // And as it was packed ahead of time; null when it was not. Stays as long as the segment does.
  const std::vector<std::byte>* packed() const {
    const OutSegment& segment = last_given();
    const auto& packed = segment.message->frame.packed;
    return packed ? &(*packed)[segment.offset / kChunkBytes] : nullptr;
  }
  // All segments that next() gave are no longer read from.
  void written();

  // The peer's watermarks. False: they tell of what was never sent.
  [[nodiscard]] bool acknowledge(uint64_t ack, uint64_t consumed);
  // Forgets what the peer has and gives the rest again through next(). Only while nothing is being written. False as above.
  [[nodiscard]] bool rewind(uint64_t receive_next, uint64_t consumed);

  // For a successor process, and in it, into a queue that was never used. Errors: kInvalidArgument, a state that cannot be.
  SendState save() const;
  Status restore(SendState&& state);

  uint64_t acknowledged() const { return first_; }
  uint64_t in_flight_segments() const { return next_ - first_; }

 private:
  struct Lane {
    Fifo<std::shared_ptr<OutMessage>> messages;
  };

  const OutSegment& last_given() const { return segments_.at(next_ - 1 - first_); }
  bool may_start(const OutMessage& message) const;
  bool cut_from_lanes();
  void cut(const std::shared_ptr<OutMessage>& message);
  void forget_acknowledged();

  SendLimits limits_;
  uint64_t window_bytes_, message_bytes_max_;
  size_t queued_frames_ = 0;
  uint64_t queued_bytes_ = 0;
  uint32_t next_message_id_ = 0;
  uint64_t started_bytes_ = 0, consumed_bytes_ = 0;

  std::unordered_map<uint64_t, Lane> lanes_;  // by call; only those that have something to cut
  Fifo<uint64_t> turns_;                      // the lanes' calls, round robin
  Fifo<OutSegment> segments_;                 // cut and not forgotten; the front one has sequence first_
  uint64_t first_ = 0;         // acknowledged before here
  uint64_t next_ = 0;          // next() goes on from here
  uint64_t highest_ = 0;       // next_ at its highest, whatever rewind() did
  uint64_t peer_ack_ = 0;
  bool writing_ = false;       // [writing_from_, next_) is being read from
  uint64_t writing_from_ = 0;
  size_t half_cut_ = 0;        // messages begun and not cut to their end
};

}  // namespace mrpc::transport
