// Compresses a frame's segments before it is sent, where that does not hold up a shard: about 300 us for each. The frame must not change
// afterwards: its segments are those that SendQueue will cut.
#pragma once

#include "transport/session/compression.h"
#include "transport/session/send_queue.h"

namespace mrpc::transport {

class Packer {
 public:
  explicit Packer(Frame&& frame) : level_(frame.compression), message_(make_message(std::move(frame), 0)) {}
  // Goes on for about a millisecond or two. True when nothing is left to do.
  bool work();
  // The frame, once all is done.
  Frame take();

 private:
  static constexpr int kSegmentsAtOnce = 8;

  uint8_t level_;
  std::shared_ptr<OutMessage> message_;
  Compressor compressor_;
  std::vector<std::vector<std::byte>> packed_;
};

}  // namespace mrpc::transport
