// Views of the single-producer single-consumer rings of abi.h. Indexes of the other side are hostile: a distance that
// cannot be is reported as kBroken, after which the attachment ends.
#pragma once

#include <span>

#include "base/assert.h"
#include "shm/abi.h"

namespace mrpc::shm {

enum class RingState { kOk, kFull, kEmpty, kBroken };

class RingProducer {
 public:
  RingProducer() = default;
  // `tail` is written here; `head` is the consumer's. `slots` is a power of two long.
  RingProducer(abi::Slot* slots, uint32_t count, abi::Index* tail, const abi::Index* head)
      : slots_(slots), count_(count), tail_word_(tail), head_word_(head), tail_(tail->load(std::memory_order_relaxed)), head_(tail_ == 0 ? 0 : tail_ - count) {
    MRPC_ASSERT(count_ != 0 && (count_ & (count_ - 1)) == 0);
  }

  // kOk when more than `reserved` slots are free. The consumer's index is read anew only when the cached one says full.
  RingState room(uint32_t reserved = 0) {
    if (tail_ - head_ + reserved < count_) return RingState::kOk;
    const uint32_t head = head_word_->load(std::memory_order_acquire);
    if (tail_ - head > count_) return RingState::kBroken;  // and is not kept: nothing may be reckoned from it
    head_ = head;
    return tail_ - head_ + reserved < count_ ? RingState::kOk : RingState::kFull;
  }
  // Writes a slot; the consumer sees it at the next publish(). Only after room() said kOk.
  void push(const abi::Slot& slot) {
    MRPC_ASSERT(tail_ - head_ < count_);
    slots_[tail_ & (count_ - 1)] = slot;
    ++tail_;
  }
  void publish() { tail_word_->store(tail_, std::memory_order_release); }
  bool unpublished() const { return tail_ != tail_word_->load(std::memory_order_relaxed); }

  uint32_t tail() const { return tail_; }
  // How far the consumer says that it has come; meaningful only within [tail - count, tail].
  uint32_t consumed() const { return head_word_->load(std::memory_order_acquire); }

 private:
  abi::Slot* slots_ = nullptr;
  uint32_t count_ = 0;
  abi::Index* tail_word_ = nullptr;
  const abi::Index* head_word_ = nullptr;
  uint32_t tail_ = 0;
  uint32_t head_ = 0;  // last seen; of a ring taken over at first as if it were full, so that it is looked at before it is written
};

class RingConsumer {
 public:
  RingConsumer() = default;
  RingConsumer(const abi::Slot* slots, uint32_t count, const abi::Index* tail, abi::Index* head)
      : slots_(slots), count_(count), tail_word_(tail), head_word_(head), head_(head->load(std::memory_order_relaxed)) {
    MRPC_ASSERT(count_ != 0 && (count_ & (count_ - 1)) == 0);
    tail_ = head_;
  }

  // Copies the next slot out before anybody looks at it. kEmpty and kBroken leave `slot` alone.
  RingState pop(abi::Slot& slot) {
    if (head_ == tail_) {
      tail_ = tail_word_->load(std::memory_order_acquire);
      if (head_ == tail_) return RingState::kEmpty;
      if (tail_ - head_ > count_) return RingState::kBroken;
    }
    slot = slots_[head_ & (count_ - 1)];
    ++head_;
    return RingState::kOk;
  }
  void unpop() { --head_; }  // the slot popped last, and not published yet, comes again
  bool empty() const { return head_ == tail_word_->load(std::memory_order_acquire); }
  // Lets the producer reuse what was popped.
  void publish() { head_word_->store(head_, std::memory_order_release); }
  uint32_t head() const { return head_; }

 private:
  const abi::Slot* slots_ = nullptr;
  uint32_t count_ = 0;
  const abi::Index* tail_word_ = nullptr;
  abi::Index* head_word_ = nullptr;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;  // last seen
};

// The words and slots of both ring regions, for either side.
struct RingRegions {
  std::byte* app = nullptr;     // AppRings
  std::byte* daemon = nullptr;  // DaemonRings
  uint32_t shards = 0, slots = 0;

  abi::AppControl& app_control() const { return *reinterpret_cast<abi::AppControl*>(app); }
  abi::DaemonControl& daemon_control() const { return *reinterpret_cast<abi::DaemonControl*>(daemon); }
  abi::AppShard& app_shard(uint32_t i) const { return reinterpret_cast<abi::AppShard*>(app + abi::kPage)[i]; }
  abi::DaemonShard& daemon_shard(uint32_t i) const { return reinterpret_cast<abi::DaemonShard*>(daemon + abi::kPage)[i]; }
  abi::Slot* submit_slots(uint32_t i) const { return reinterpret_cast<abi::Slot*>(app + abi::slots_offset(shards, i, slots)); }
  abi::Slot* complete_slots(uint32_t i) const { return reinterpret_cast<abi::Slot*>(daemon + abi::slots_offset(shards, i, slots)); }
};

}  // namespace mrpc::shm
