// A message on its way into one receiver's heap and completion ring. Small ones are written in the turn that brings them;
// large ones and those for which there is no room wait in their port's queue and go on in later turns, in order.
#pragma once

#include <memory>

#include "dataplane/message_block.h"
#include "dataplane/qos.h"

namespace mrpc::dataplane {

// With whom, and how soon, a call wants to be served.
struct QosRank {
  QosClass qos;
  std::string group;
  uint64_t deadline_ns = 0;  // 0: none
};
struct Delivery {
  abi::Slot slot{};  // offset, length and region are filled in when the block has its place
  std::optional<Message> message = std::nullopt;
  std::shared_ptr<const std::vector<std::byte>> caller = nullptr;  // metadata that the daemon adds to a request
  uint64_t block_at = 0;      // in the receive region, once allocated
  uint64_t block_bytes = 0;
  uint64_t inline_copied = 0;
  uint64_t blob_offset = 0;   // how far the copy has come in the current blob
  uint64_t parked_bytes = 0;  // charged to the port while it waits
  uint32_t blob = 0;
  uint64_t image_cursor = 0;  // where the current blob starts in the image
  bool allocated = false;

  // The block as its receiver sees it: one image, and the daemon's metadata after the sender's.
  abi::BlockHeader header() const {
    abi::BlockHeader made = message->header;
    made.inline_bytes = made.image_bytes;
    made.segment_count = 0;
    made.metadata_bytes = static_cast<uint32_t>(made.metadata_bytes + (caller ? caller->size() : 0));
    return made;
  }
  abi::BlockLayout layout() const {
    const abi::BlockHeader made = header();
    return abi::block_layout(0, made.metadata_bytes, made.details_bytes, made.image_bytes);
  }

  std::optional<QosRank> rank = std::nullopt;  // of a call whose chain orders it; others go in the order in which they came
  std::shared_ptr<void> charge = nullptr;  // what its waiting is charged to; given back with it
};

}  // namespace mrpc::dataplane
