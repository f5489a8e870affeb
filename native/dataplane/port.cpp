#include "dataplane/port.h"

#include <algorithm>
#include <cstring>

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kTrimBytesPerTurn = 4ull << 20;  // about a millisecond of the kernel's work
constexpr uint64_t kTrimPauseNs = 2'000'000;
// Ranked calls that a server sees before it has taken one. What lies in its ring is served in that order, so later calls can only pass
// those that wait here; a few must lie there, so that its workers find the next call without asking.
constexpr size_t kShownMax = 8;
constexpr double kCallCostBytes = 4096;  // what a call costs besides its bytes

uint64_t part_bytes(const Attachment& attachment, const Config& config) {
  return attachment.receive_heap_bytes() / config.shards / abi::kPage * abi::kPage;
}

}  // namespace

Port::Port(std::shared_ptr<Attachment> attachment, uint32_t shard, const Config& config)
    : attachment_(std::move(attachment)),
      receive_base_(part_bytes(*attachment_, config) * shard),
      receive_heap_(part_bytes(*attachment_, config), config.receive_quota_bytes / config.shards,
                    [this](std::span<const shm::Heap::Range> ranges) {
                      for (const auto& range : ranges)
                        shm::punch_hole(attachment_->receive_heap_fd(), receive_base_ + range.offset, range.bytes);
                    },
                    config.receive_warm_bytes / config.shards) {
  shm::RingRegions& rings = attachment_->rings;
  abi::DaemonShard& mine = rings.daemon_shard(shard);
  abi::AppShard& theirs = rings.app_shard(shard);
  submit = shm::RingConsumer(rings.submit_slots(shard), rings.slots, &theirs.submit_tail, &mine.submit_head);
  complete = shm::RingProducer(rings.complete_slots(shard), rings.slots, &mine.complete_tail, &theirs.complete_head);
}

bool Port::has_room(uint32_t reserved) {
  const auto state = complete.room(reserved);
  broken |= state == shm::RingState::kBroken;
  return state == shm::RingState::kOk;
}

void Port::deliver(Delivery&& delivery) {
  uint64_t budget_bytes = transport::kChunkBytes;
  const bool waits = delivery.rank ? !ranked_.empty() || shows_too_many() : !queue_.empty();
  if (!waits && try_now(delivery, budget_bytes)) return;
  park(std::move(delivery));
}

void Port::park(Delivery&& delivery) {
  const double image_bytes = delivery.message ? static_cast<double>(delivery.message->header.image_bytes) : 0;
  delivery.parked_bytes = static_cast<uint64_t>(image_bytes) + sizeof(Delivery);
  parked_bytes_ += delivery.parked_bytes;
  if (!delivery.rank) return queue_.push_back(std::move(delivery));
  const QosRank rank = *delivery.rank;
  ranked_.push(rank.qos, rank.group, rank.deadline_ns, image_bytes + kCallCostBytes, std::move(delivery));
}

void Port::deliver_last(Delivery&& delivery) {
  uint64_t budget_bytes = transport::kChunkBytes;
  if (queue_.empty() && try_now(delivery, budget_bytes)) return;
  (void)drop_waiting(delivery.slot.call_id);
  abi::Slot bare = delivery.slot;
  bare.flags = 0;
  deliver_urgent(bare);
}

void Port::deliver_urgent(const abi::Slot& slot) {
  if (urgent_.empty() && has_room()) complete.push(slot);
  else urgent_.push_back(slot);
}

bool Port::pump(uint64_t& budget_bytes) {
  bool moved = false;
  for (; !urgent_.empty() && has_room(); moved = true) {
    complete.push(urgent_.front());
    urgent_.pop_front();
  }
  while (!queue_.empty() && budget_bytes > 0) {
    const uint64_t before = budget_bytes;
    const bool done = try_now(queue_.front(), budget_bytes);
    moved |= done || budget_bytes != before;
    stuck_ = !done && budget_bytes == before;
    if (!done) break;
    parked_bytes_ -= queue_.front().parked_bytes;
    queue_.pop_front();
  }
  if (!ranked_.empty()) moved |= pump_ranked(budget_bytes);
  if (receive_heap_.wants_trim()) receive_heap_.trim(receive_heap_.warm_limit_bytes(), kTrimBytesPerTurn);
  return moved;
}

bool Port::pump_ranked(uint64_t& budget_bytes) {
  bool moved = false;
  while (!ranked_.empty() && budget_bytes > 0 && !shows_too_many()) {
    const uint64_t before = budget_bytes;
    const bool done = try_now(ranked_.front(), budget_bytes);
    moved |= done || budget_bytes != before;
    if (!done) break;
    parked_bytes_ -= ranked_.front().parked_bytes;
    ranked_.pop();
  }
  return moved;
}

// The application says how far it has come in its ring; one that lies is shown its calls in another order, and nothing else.
bool Port::shows_too_many() {
  while (!shown_.empty() && static_cast<int32_t>(complete.consumed() - shown_.front()) > 0) shown_.pop_front();
  return shown_.size() >= kShownMax;
}

bool Port::drop_waiting(uint64_t call_id) {
  bool unseen = false;
  const auto drop = [&](Delivery& delivery) {
    if (delivery.slot.call_id != call_id) return false;
    unseen |= delivery.slot.kind == static_cast<uint8_t>(abi::SlotKind::kOpen);
    if (delivery.allocated) (void)reclaim(delivery.block_at);
    parked_bytes_ -= delivery.parked_bytes;
    return true;
  };
  std::erase_if(queue_, drop);
  if (!ranked_.empty()) ranked_.erase_if(drop);
  return unseen;
}

// True when the delivery's slot is in the ring.
bool Port::try_now(Delivery& delivery, uint64_t& budget_bytes) {
  if (!has_room(abi::kRingSlotsReserved)) return false;
  if (delivery.message && (!place(delivery) || !copy_some(delivery, budget_bytes))) return false;
  if (delivery.rank) shown_.push_back(complete.tail());
  complete.push(delivery.slot);
  delivery.message.reset();
  return true;
}

// Finds room for the block and writes everything but the image.
bool Port::place(Delivery& delivery) {
  if (delivery.allocated) return true;
  const abi::BlockLayout at = delivery.layout();
  const auto offset = receive_heap_.allocate(at.end);
  if (!offset) return false;
  delivery.block_at = receive_base_ + *offset;
  delivery.block_bytes = at.end;
  delivery.allocated = true;
  blocks_moved_ += 1;
  attachment_->receive_bytes_in_use.store(receive_heap_.bytes_in_use(), std::memory_order_relaxed);
  write_head(delivery);
  return true;
}

void Port::write_head(Delivery& delivery) {
  const Message& message = *delivery.message;
  const abi::BlockHeader header = delivery.header();
  const abi::BlockLayout at = delivery.layout();
  std::byte* block = attachment_->receive_heap() + delivery.block_at;
  const auto put = [block](uint64_t offset, std::span<const std::byte> part) {
    if (!part.empty()) std::memcpy(block + offset, part.data(), part.size());
  };
  std::memcpy(block, &header, sizeof header);
  put(at.metadata, message.metadata());
  if (delivery.caller) put(at.metadata + message.header.metadata_bytes, *delivery.caller);
  put(at.details, message.details());
  delivery.image_cursor = abi::align_up(message.header.inline_bytes, abi::kBlobAlign);
  delivery.slot.offset = delivery.block_at;
  delivery.slot.length = delivery.block_bytes;
  delivery.slot.region = abi::kReceiveRegion;
}

// Copies the image within the budget, first its inline part, then blobs heap to heap; true when all has come across.
bool Port::copy_some(Delivery& delivery, uint64_t& budget_bytes) {
  const Message& message = *delivery.message;
  std::byte* image = attachment_->receive_heap() + delivery.block_at + delivery.layout().image;
  const auto inline_part = message.inline_image().subspan(delivery.inline_copied);
  const uint64_t first = std::min<uint64_t>(inline_part.size(), budget_bytes);
  if (first > 0) std::memcpy(image + delivery.inline_copied, inline_part.data(), first);
  delivery.inline_copied += first;
  budget_bytes -= first;
  if (first < inline_part.size()) return false;
  while (delivery.blob < message.blobs.size()) {
    const transport::Blob& blob = message.blobs[delivery.blob];
    if (budget_bytes == 0) return false;
    const uint64_t now = std::min(blob.length - delivery.blob_offset, budget_bytes);
    MRPC_ASSERT(delivery.image_cursor + delivery.blob_offset + now <= message.header.image_bytes);
    std::memcpy(image + delivery.image_cursor + delivery.blob_offset, blob.data + delivery.blob_offset, now);
    budget_bytes -= now;
    delivery.blob_offset += now;
    if (delivery.blob_offset < blob.length) continue;
    delivery.image_cursor = abi::align_up(delivery.image_cursor + blob.length, abi::kBlobAlign);
    delivery.blob_offset = 0;
    delivery.blob += 1;
  }
  return true;
}

bool Port::reclaim(uint64_t offset) {
  if (offset < receive_base_ || !receive_heap_.free(offset - receive_base_)) return false;
  blocks_moved_ += 1;
  attachment_->receive_bytes_in_use.store(receive_heap_.bytes_in_use(), std::memory_order_relaxed);
  return true;
}

const std::byte* Port::segment_bytes(const abi::Segment& segment) const {
  if (segment.region == abi::kSendRegion) return send_bytes(segment.offset, segment.length);
  if (segment.region != abi::kReceiveRegion || segment.offset < receive_base_) return nullptr;
  const auto block = receive_heap_.containing(segment.offset - receive_base_);
  if (!block) return nullptr;
  const uint64_t inside = segment.offset - receive_base_ - block->offset;
  if (segment.length > block->bytes - inside) return nullptr;
  return attachment_->receive_heap() + segment.offset;
}

const std::byte* Port::send_bytes(uint64_t offset, uint64_t length) const {
  const uint64_t bytes = attachment_->send_heap_bytes();
  if (offset > bytes || length > bytes - offset) return nullptr;
  return attachment_->send_heap() + offset;
}

uint64_t Port::trim_when_idle() {
  const bool idle = std::exchange(blocks_moved_seen_, blocks_moved_) == blocks_moved_;
  if (idle) receive_heap_.trim(0, kTrimBytesPerTurn);
  if (receive_heap_.warm_bytes() == 0) return UINT64_MAX;
  return idle ? kTrimPauseNs : kIdleNs;
}

std::vector<uint64_t> Port::blocks_out() const {
  auto offsets = receive_heap_.live_offsets();
  for (uint64_t& offset : offsets) offset += receive_base_;
  return offsets;
}

bool Port::restore_heap(const shm::Heap::Saved& saved) {
  if (!receive_heap_.restore(saved)) return false;
  attachment_->receive_bytes_in_use.store(receive_heap_.bytes_in_use(), std::memory_order_relaxed);
  return true;
}

bool Port::restore(Delivery&& delivery) {
  if (!restorable(delivery)) return false;
  park(std::move(delivery));
  return true;
}

// Whether place() and copy_some() can have left it so.
bool Port::restorable(const Delivery& delivery) const {
  if (!delivery.message) return !delivery.allocated;
  const Message& message = *delivery.message;
  uint64_t cursor = abi::align_up(message.header.inline_bytes, abi::kBlobAlign);
  bool stands = delivery.blob == message.blobs.size() || !delivery.allocated;
  for (size_t i = 0; i < message.blobs.size(); ++i) {
    const uint64_t length = message.blobs[i].length;
    if (i == delivery.blob) stands |= delivery.image_cursor == cursor && delivery.blob_offset <= length;
    if (length > message.header.image_bytes || cursor > message.header.image_bytes - length) return false;
    cursor = abi::align_up(cursor + length, abi::kBlobAlign);
  }
  if (!delivery.allocated) return true;
  const auto block = delivery.block_at < receive_base_ ? std::nullopt : receive_heap_.size_of(delivery.block_at - receive_base_);
  return stands && delivery.inline_copied <= message.header.inline_bytes && block && delivery.layout().end == delivery.block_bytes &&
         *block >= delivery.block_bytes;
}

bool Port::publish() {
  submit.publish();
  if (!complete.unpublished()) return false;
  complete.publish();
  return true;
}

}  // namespace mrpc::dataplane
