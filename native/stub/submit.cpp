// The attachment's rings: publishing, polling, sleeping.
#include <time.h>
#include <unistd.h>

#include "stub/attachment.h"

namespace mrpc::stub {
namespace {

constexpr int kLockSpins = 64;
constexpr uint64_t kRoomPauseMaxNs = 1'000'000;
constexpr uint64_t kStallNs = 1'000'000'000;  // at most, for a region's kRegionAdd to be read

// Held for a hundred nanoseconds or so: polling briefly beats sleeping.
std::unique_lock<std::mutex> lock_briefly(std::mutex& mutex) {
  for (int i = 0; i < kLockSpins; ++i) {
    if (mutex.try_lock()) return {mutex, std::adopt_lock};
    shm::cpu_relax();
  }
  return std::unique_lock(mutex);
}

void pause_ns(uint64_t ns) {
  const timespec span{0, static_cast<long>(ns)};
  ::nanosleep(&span, nullptr);
}

// Offsets of the blocks whose slots the daemon has passed. Under submit_mutex.
void take_passed(ShardRings& shard, std::vector<uint64_t>& offsets) {
  const uint32_t consumed = shard.producer.consumed();
  while (!shard.in_flight.empty() && static_cast<int32_t>(consumed - shard.in_flight.front().index) > 0) {
    offsets.push_back(shard.in_flight.front().offset);
    shard.in_flight.pop_front();
  }
}

// Two a slot where they are of one region, as far as there is room beside the one slot that the caller came with. Under submit_mutex.
bool push_reclaims(ShardRings& shard) {
  std::lock_guard lock(shard.reclaim_mutex);
  auto& queue = shard.reclaims;
  size_t taken = 0;
  while (taken < queue.size() && shard.producer.room(1) == shm::RingState::kOk) {
    abi::Slot slot{};
    slot.kind = static_cast<uint8_t>(abi::SlotKind::kReclaim);
    slot.region = queue[taken].region;
    slot.offset = queue[taken].offset;
    slot.aux = 1;
    ++taken;
    if (taken < queue.size() && queue[taken].region == slot.region) {
      slot.length = queue[taken++].offset;
      slot.aux = 2;
    }
    shard.producer.push(slot);
  }
  queue.erase(queue.begin(), queue.begin() + static_cast<ptrdiff_t>(taken));
  shard.reclaim_bytes = 0;
  return taken != 0;
}

}  // namespace

void Attachment::describe(abi::Slot& slot, SendBlock& block) {
  abi::BlockHeader header;
  std::memcpy(&header, block.data(), sizeof header);
  MRPC_ASSERT(header.segment_count == block.pins_.size());
  slot.region = abi::kSendRegion;
  slot.offset = block.offset_;
  slot.length = block.size();
  if (block.size() <= abi::kIntakeBytesMax && header.segment_count == 0) return;
  slot.flags |= abi::kHold;
  std::lock_guard lock(memory_mutex_);
  if (!dead()) held_[block.offset_] = std::move(block.pins_);
}

Status Attachment::publish(uint32_t shard_index, const abi::Slot& request, SendBlock&& block, uint64_t give_up_ns) {
  if (auto status = usable(); !status) return status;
  if (block.attachment_ && (block.attachment_.get() != this || block.stale_))
    return unavailable("mrpcd was replaced while the message was written; call again");
  std::vector<uint64_t> passed;
  uint64_t pause = 1'000;
  for (;; pause_ns(pause), pause = std::min(pause * 2, kRoomPauseMaxNs)) {
    Rings& rings = *rings_.load(std::memory_order_acquire);
    ShardRings& shard = *rings.shards[shard_index];
    auto lock = lock_briefly(shard.submit_mutex);
    if (rings.retired) continue;
    const shm::RingState room = shard.producer.room();
    if (room == shm::RingState::kBroken) end(internal_error("mrpcd broke a ring"));
    if (room == shm::RingState::kOk) {
      abi::Slot slot = request;
      if (block) describe(slot, block);
      push_reclaims(shard);
      if (block && (slot.flags & abi::kHold) == 0) shard.in_flight.push_back({shard.producer.tail(), block.offset_});
      shard.producer.push(slot);
      shard.producer.publish();
      rings.ring_doorbell(shard_index);
      take_passed(shard, passed);
      break;
    }
    lock.unlock();
    if (!check()) return end_error();
    if (now_ns() > give_up_ns) return resource_exhausted("the submission ring stayed full: mrpcd is overloaded or stuck");
  }
  block.attachment_ = nullptr;  // the daemon's answer, or its passing the slot, frees it
  if (!passed.empty()) free_offsets(passed);
  return ok_status();
}

void Attachment::collect_passed() {
  std::vector<uint64_t> passed;
  std::vector<std::shared_ptr<Rings>> all;
  {
    std::lock_guard lock(consumer_mutex_);
    all = all_rings_;
  }
  for (const auto& rings : all) {
    for (const auto& shard : rings->shards) {
      std::lock_guard lock(shard->submit_mutex);
      take_passed(*shard, passed);
    }
  }
  free_offsets(passed);
}

bool Attachment::settled() {
  std::scoped_lock locks(consumer_mutex_);
  for (const auto& rings : all_rings_) {
    for (const auto& shard : rings->shards) {
      std::lock_guard lock(shard->submit_mutex);
      if (shard->producer.consumed() != shard->producer.tail()) return false;
    }
  }
  std::lock_guard lock(memory_mutex_);
  return held_.empty();
}

bool Attachment::flush_reclaims() {
  bool all = true;
  Rings& rings = *rings_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < rings.regions.shards; ++i) {
    ShardRings& shard = *rings.shards[i];
    {
      std::lock_guard lock(shard.reclaim_mutex);
      if (shard.reclaims.empty()) continue;
    }
    auto lock = lock_briefly(shard.submit_mutex);
    if (dead()) continue;
    if (!rings.retired && push_reclaims(shard)) {
      shard.producer.publish();
      rings.ring_doorbell(i);
    }
    std::lock_guard left(shard.reclaim_mutex);
    all = all && shard.reclaims.empty() && !rings.retired;
  }
  return all;
}

size_t Attachment::poll(size_t slots_max, SlotSink& sink) {
  if (!completions_waiting()) return 0;
  size_t count = 0;
  bool control = false;
  std::vector<std::shared_ptr<const void>> pins;
  {
    std::lock_guard lock(consumer_mutex_);
    bool stalled = false;
    for (const auto& rings : all_rings_)
      if (!stalled) count += poll_rings(*rings, slots_max - count, sink, stalled);
    on_stall(stalled);
    if (count < slots_max && !stalled) on_rings_empty();
    control = std::exchange(control_pending_, false) || stalled;
    pins.swap(freed_pins_);
  }
  if (control) check();
  else retire_regions();
  return count;
}

// The notice is on the socket already, or will be in a moment: another thread may have read it and not got to it yet.
void Attachment::on_stall(bool stalled) {
  const uint64_t now = stalled ? now_ns() : 0;
  if (!stalled || stalled_since_ns_ == 0) stalled_since_ns_ = now;
  else if (now - stalled_since_ns_ > kStallNs) end(internal_error("mrpcd named a block outside of its regions"));
}

size_t Attachment::poll_rings(Rings& rings, size_t slots_max, SlotSink& sink, bool& stalled) {
  size_t count = 0;
  for (uint32_t i = 0; i < rings.regions.shards; ++i) {
    shm::RingConsumer& consumer = rings.shards[i]->consumer;
    const size_t before = count;
    abi::Slot slot;
    shm::RingState state = shm::RingState::kOk;
    while (count < slots_max && (state = consumer.pop(slot)) == shm::RingState::kOk) {
      const auto kind = static_cast<abi::SlotKind>(slot.kind);
      if (kind != abi::SlotKind::kReclaim && slot.length != 0 && !knows_region(slot.region)) {
        consumer.unpop();
        stalled = true;
        break;
      }
      ++count;
      if (kind == abi::SlotKind::kReclaim) on_reclaim(slot);
      else if (kind == abi::SlotKind::kControl) control_pending_ = true;
      else sink.on_slot(i, slot);
    }
    if (count != before) consumer.publish();
    if (state == shm::RingState::kBroken) end(internal_error("mrpcd broke a ring"));
  }
  return count;
}

void Attachment::wake_sleeper() {
  const auto& regions = rings_.load(std::memory_order_acquire)->regions;
  if (regions.app_control().sleepers.load(std::memory_order_seq_cst) != 0) shm::futex_wake_one(&regions.daemon_control().wake_sequence);
}

void Attachment::wake_all_sleepers() {
  const auto& regions = rings_.load(std::memory_order_acquire)->regions;
  if (regions.app_control().sleepers.load(std::memory_order_seq_cst) != 0)
    shm::futex_wake(&regions.daemon_control().wake_sequence, INT32_MAX);
}

void Attachment::set_poll_armed(bool armed) {
  Rings& rings = *rings_.load(std::memory_order_acquire);
  rings.regions.app_control().poll_armed.store(armed ? 1 : 0, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Attachment::signal_wake_fd() {
  const uint64_t one = 1;
  (void)!::write(wake_fd(), &one, sizeof one);  // fails only when it is readable already
}

void Attachment::drain_wake_fd() {
  char signals[512];
  while (::read(wake_fd(), signals, sizeof signals) == static_cast<ssize_t>(sizeof signals)) {  // it does not block
  }
}

}  // namespace mrpc::stub
