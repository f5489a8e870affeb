// Messages with 8 MiB beside their block.
#pragma once

#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {

constexpr uint64_t kBlobBytes = 8 << 20;

// A message whose `data` lies beside its block; the slot that names it lacks what the message is for.
inline abi::Slot write_with_blob(const Rig& rig, App& sender) {
  const auto& layout = *rig.schema->message("test.Payload");
  std::vector<std::byte> inline_part(layout.struct_bytes);
  const message::Ref ref{static_cast<uint32_t>(abi::align_up(inline_part.size(), abi::kBlobAlign)), kBlobBytes};
  std::memcpy(inline_part.data() + layout.by_name("data")->offset, &ref, sizeof ref);
  const abi::Segment segment{sender.take_heap(kBlobBytes), kBlobBytes, abi::kSendRegion, 0};
  for (uint64_t i = 0; i < kBlobBytes; ++i) sender.heap()[segment.offset + i] = static_cast<std::byte>(i * 7);
  abi::Slot slot = sender.write(inline_part, {}, std::span(&segment, 1));
  slot.flags = abi::kHasMessage | abi::kHold;
  return slot;
}

inline bool has_blob(const Rig& rig, const Arrival& arrival) {
  const auto& layout = *rig.schema->message("test.Payload");
  const auto data = message::root_view(layout, arrival.image).text(*layout.by_name("data"));
  bool same = data.size() == kBlobBytes;
  for (uint64_t i = 0; same && i < kBlobBytes; ++i) same = data[i] == static_cast<char>(i * 7);
  return same;
}

}  // namespace mrpc::dataplane::testing
