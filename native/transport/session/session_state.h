// A session as plain values, so that a successor process can go on with it where this one stopped: which segments are cut and not
// acknowledged, what waits, what has half arrived. Taking a state changes nothing: the session may go on instead.
//
// Frames are copies that share blobs and holds with the session's own; whoever carries them to another process translates both.
#pragma once

#include <vector>

#include "transport/session/frame.h"

namespace mrpc::transport {

struct SendState {
  struct Message {
    Frame frame;
    uint32_t id = 0;
    uint64_t cut_bytes = 0;
  };
  struct Segment {
    uint32_t message = 0;  // index into `messages`
    uint64_t offset = 0;
    uint32_t bytes = 0;
  };
  uint64_t peer_window_bytes = 0, peer_message_bytes_max = 0;
  uint32_t next_message_id = 0;
  uint64_t started_bytes = 0, consumed_bytes = 0;
  uint64_t first = 0, next = 0, highest = 0, peer_ack = 0;
  std::vector<Message> messages;
  std::vector<Segment> segments;  // not forgotten; the front one has sequence `first`
  std::vector<uint32_t> waiting;  // not cut to their end: lane by lane, in the order of the lanes' turns
};

struct ReceiveState {
  struct Assembly {
    Frame frame;  // blobs of their full length, of which the first bytes have come
    uint32_t id = 0;
    uint64_t head_bytes = 0, filled_bytes = 0, total_bytes = 0;
    bool single = false;   // of one segment, which is under way
  };
  uint64_t receive_next = 0, started_bytes = 0, consumed_bytes = 0;
  std::vector<Assembly> assemblies;
  // The segment under way, if one is.
  bool in_segment = false;
  WireHeader segment;
  uint64_t segment_left = 0, segment_start = 0;
};

}  // namespace mrpc::transport
