// The attachment's memory: the send heap, what it lends out of it, and received blocks.
#include "stub/attachment.h"

namespace mrpc::stub {
namespace {

// Smaller blobs are copied: looking them up would cost more.
constexpr uint64_t kLocateBytesMin = 4096;
constexpr size_t kReclaimBlocksMax = 16;
constexpr uint64_t kReclaimBytesMax = 64 * 1024;

}  // namespace

// ---- send heap

std::optional<uint64_t> Attachment::allocate_offset(uint64_t bytes) {
  {
    std::lock_guard lock(memory_mutex_);
    ++blocks_moved_;
    if (const auto offset = heap_->allocate(bytes)) return offset;
  }
  collect_passed();
  std::lock_guard lock(memory_mutex_);
  return heap_->allocate(bytes);
}

Result<SendBlock> Attachment::allocate(uint64_t bytes) {
  if (auto status = usable(); !status) return status.error();
  const auto offset = allocate_offset(bytes);
  if (!offset)
    return resource_exhausted("no room for " + std::to_string(bytes) + " bytes in the send heap (quota " +
                              std::to_string(welcome_.send_quota_bytes) + "); wait for open calls, or drop unused mrpc.empty arrays");
  return SendBlock(shared_from_this(), *offset, {send_region_->mapping.data() + *offset, bytes});
}

Result<HeapBufferPtr> Attachment::allocate_buffer(uint64_t bytes) {
  auto block = allocate(std::max<uint64_t>(bytes, 1));
  if (!block) return block.error();
  const std::span<std::byte> span(block->data(), bytes);
  auto buffer = std::make_shared<HeapBuffer>(shared_from_this(), block->offset_, span);
  block->attachment_ = nullptr;  // the buffer owns it now
  std::lock_guard lock(memory_mutex_);
  located_[span.data()] = {bytes, block->offset_, abi::kSendRegion, buffer};
  return buffer;
}

HeapBuffer::HeapBuffer(std::shared_ptr<Attachment> attachment, uint64_t offset, std::span<std::byte> bytes)
    : attachment_(std::move(attachment)), offset_(offset), bytes_(bytes) {}

HeapBuffer::~HeapBuffer() { attachment_->release_buffer(bytes_.data(), offset_); }

SendBlock& SendBlock::operator=(SendBlock&& other) noexcept {
  std::swap(attachment_, other.attachment_);
  std::swap(offset_, other.offset_);
  std::swap(bytes_, other.bytes_);
  std::swap(pins_, other.pins_);
  std::swap(stale_, other.stale_);
  return *this;
}

SendBlock::~SendBlock() {
  if (attachment_) attachment_->free_unsent(offset_);
}

void Attachment::free_unsent(uint64_t offset) {
  if (here()) free_offsets({&offset, 1});
}

void Attachment::release_buffer(const std::byte* at, uint64_t offset) {
  if (!here()) return;
  {
    std::lock_guard lock(memory_mutex_);
    located_.erase(at);
  }
  free_offsets({&offset, 1});
}

void Attachment::free_offsets(std::span<const uint64_t> offsets) {
  std::lock_guard lock(memory_mutex_);
  for (const uint64_t offset : offsets) MRPC_ASSERT(heap_->free(offset));
  after_free();
}

void Attachment::on_reclaim(const abi::Slot& slot) {
  const uint64_t offsets[2] = {slot.offset, slot.length};
  std::lock_guard lock(memory_mutex_);
  for (uint64_t i = 0; i < std::min<uint64_t>(slot.aux, 2); ++i) {
    const auto found = held_.find(offsets[i]);
    if (slot.region != abi::kSendRegion || found == held_.end()) continue;  // of an attachment that has just ended
    freed_pins_.insert(freed_pins_.end(), std::make_move_iterator(found->second.begin()), std::make_move_iterator(found->second.end()));
    held_.erase(found);
    heap_->free(offsets[i]);
  }
  after_free();
}

std::optional<Pinned> Attachment::locate(const void* data, uint64_t bytes) {
  if (bytes < kLocateBytesMin || !here() || dead()) return std::nullopt;
  const auto* at = static_cast<const std::byte*>(data);
  std::lock_guard lock(memory_mutex_);
  auto found = located_.upper_bound(at);
  if (found == located_.begin()) return std::nullopt;
  --found;
  const auto inside = static_cast<uint64_t>(at - found->first);
  if (inside > found->second.bytes || bytes > found->second.bytes - inside) return std::nullopt;
  auto owner = found->second.owner.lock();
  if (!owner) return std::nullopt;
  return Pinned{{found->second.offset + inside, bytes, found->second.region, 0}, std::move(owner), this};
}

// ---- received blocks

Result<RecvBlockPtr> Attachment::receive_block(uint32_t shard, const abi::Slot& slot) {
  if (slot.length == 0) return RecvBlockPtr();
  const auto region = std::find_if(receive_regions_.begin(), receive_regions_.end(),
                                   [&](const auto& candidate) { return candidate->record.id == slot.region; });
  if (region == receive_regions_.end() || slot.offset > (*region)->mapping.size() ||
      slot.length > (*region)->mapping.size() - slot.offset)
    return internal_error("mrpcd named a block outside of its regions");
  const std::span<const std::byte> bytes((*region)->mapping.data() + slot.offset, slot.length);
  const shm::BlockLimits limits{abi::kMessageBytesLimit, UINT32_MAX};  // the daemon has kept its own
  auto reader = shm::BlockReader::parse(bytes, slot.length, limits);
  if (!reader) return reader.error();
  auto block = std::make_shared<RecvBlock>(shared_from_this(), *region, *reader, slot.offset, slot.length, shard);
  if (slot.length >= kLocateBytesMin) {
    std::lock_guard lock(memory_mutex_);
    located_[bytes.data()] = {slot.length, slot.offset, slot.region, block};
  }
  return RecvBlockPtr(std::move(block));
}

RecvBlock::RecvBlock(std::shared_ptr<Attachment> attachment, std::shared_ptr<Region> region, const shm::BlockReader& reader,
                     uint64_t offset, uint64_t length, uint32_t shard)
    : attachment_(std::move(attachment)), region_(std::move(region)), reader_(reader), offset_(offset), length_(length), shard_(shard) {}

RecvBlock::~RecvBlock() {
  if (!attachment_->here()) return;
  attachment_->release_received(*this);
  region_.reset();
  attachment_->retire_regions();
}

void Attachment::release_received(const RecvBlock& block) {
  if (block.length_ >= kLocateBytesMin) {
    std::lock_guard lock(memory_mutex_);
    located_.erase(block.region_->mapping.data() + block.offset_);
  }
  if (dead()) return;
  for (;;) {
    Rings& rings = *rings_.load(std::memory_order_acquire);
    ShardRings& shard = *rings.shards[block.shard_];
    std::unique_lock lock(shard.reclaim_mutex);
    if (rings.retired) continue;  // since they were read
    shard.reclaims.push_back({block.offset_, block.region_->record.id});
    shard.reclaim_bytes += block.length_;
    const bool flush = shard.reclaims.size() > kReclaimBlocksMax || shard.reclaim_bytes > kReclaimBytesMax;
    lock.unlock();
    if (flush) flush_reclaims();
    return;
  }
}

}  // namespace mrpc::stub
