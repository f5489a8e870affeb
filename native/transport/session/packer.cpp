#include "transport/session/packer.h"

#include <algorithm>

namespace mrpc::transport {

bool Packer::work() {
  for (int i = 0; i < kSegmentsAtOnce; ++i) {
    const uint64_t offset = packed_.size() * uint64_t{kChunkBytes};
    if (offset >= message_->total_bytes) return true;
    std::vector<iovec> pieces;
    append_pieces({message_, offset, static_cast<uint32_t>(std::min<uint64_t>(kChunkBytes, message_->total_bytes - offset))}, pieces);
    packed_.push_back(compressor_.compress(pieces, level_));
  }
  return packed_.size() * uint64_t{kChunkBytes} >= message_->total_bytes;
}

Frame Packer::take() {
  Frame frame = std::move(message_->frame);
  frame.packed = std::make_shared<const std::vector<std::vector<std::byte>>>(std::move(packed_));
  return frame;
}

}  // namespace mrpc::transport
