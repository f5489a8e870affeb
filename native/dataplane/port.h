// One attachment as one shard sees it: its two rings, this shard's part of its receive heap, its methods and open calls, and
// what waits to be delivered to it. Touched by the shard's thread only.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "dataplane/attachment.h"
#include "dataplane/delivery.h"
#include "shm/heap.h"

namespace mrpc::dataplane {

struct BoundMethod;

// What dropping the charge for a reply that waits gives back.
struct PinnedCharge {
  std::unordered_map<uint64_t, uint64_t>* pinned = nullptr;
  uint64_t server = 0, bytes = 0;
  void operator()(void*) const {
    const auto at = pinned->find(server);
    if ((at->second -= bytes) == 0) pinned->erase(at);
  }
};

class Port {
 public:
  Port(std::shared_ptr<Attachment> attachment, uint32_t shard, const Config& config);

  Attachment& attachment() { return *attachment_; }
  const std::shared_ptr<Attachment>& shared_attachment() const { return attachment_; }
  uint32_t id() const { return attachment_->id; }

  shm::RingConsumer submit;
  shm::RingProducer complete;

  // ---- towards the application ----
  // Queues a slot and its message. Order within the port is kept, but for slots without a block that belong to no
  // queued call, which pass.
  void deliver(Delivery&& delivery);
  // A slot without a block that must not wait behind messages: kReclaim, kControl.
  void deliver_urgent(const abi::Slot& slot);
  // The same for a status that cannot wait: without room it passes by the reserved slots, without its block and all that still waits for
  // its call.
  void deliver_last(Delivery&& delivery);
  // Forgets what waits for call `call_id`. True when its kOpen was among it: the application never saw the call.
  bool drop_waiting(uint64_t call_id);
  // Goes on with what waits, at most about `budget_bytes` of copying. True when it got somewhere.
  bool pump(uint64_t& budget_bytes);
  // Charges what waits here for the memory that it holds in a server's send heap.
  std::shared_ptr<void> pin(uint64_t server, uint64_t bytes) {
    pinned_bytes[server] += bytes;
    return {nullptr, PinnedCharge{&pinned_bytes, server, bytes}};
  }
  bool has_deliveries() const { return parked() > 0 || !urgent_.empty(); }
  size_t parked() const { return queue_.size() + ranked_.size(); }
  size_t untaken() const { return parked() + urgent_.size(); }
  bool stuck() const { return stuck_; }  // what waits first found no room when it was last tried
  bool ring_full() { return !has_room(abi::kRingSlotsReserved); }
  uint64_t parked_bytes() const { return parked_bytes_; }  // of whole messages, wherever their blobs stand

  // ---- from the application ----
  // Takes back a receive block. False when no such block is out: the application broke the protocol.
  bool reclaim(uint64_t offset);
  // The bytes of a segment, when they lie in memory that the application may name: its send heap, or a live block of this
  // shard's part of its receive heap.
  const std::byte* segment_bytes(const abi::Segment& segment) const;
  // A block's bytes in the send heap; null when out of bounds.
  const std::byte* send_bytes(uint64_t offset, uint64_t length) const;

  // Receive blocks that are out with the application, as offsets in its region.
  std::vector<uint64_t> blocks_out() const;

  // Gives free receive memory back to the system, a little at a time, when no block has moved since the last look. Returns when to
  // look again, in nanoseconds from now; UINT64_MAX when there is nothing left to give.
  uint64_t trim_when_idle();
  static constexpr uint64_t kIdleNs = 2'000'000'000;

  // ---- for a successor process ----
  template <typename Fn>
  void for_each_waiting(Fn&& fn) const {
    for (const Delivery& delivery : queue_) fn(delivery);
    ranked_.for_each(fn);
  }
  const std::deque<uint32_t>& shown() const { return shown_; }
  const std::deque<abi::Slot>& waiting_urgent() const { return urgent_; }
  shm::Heap::Saved save_heap() const { return receive_heap_.save(); }
  // Into a port that was never used, whose memory another process has served until now. False: a state that cannot be.
  bool restore_heap(const shm::Heap::Saved& saved);
  bool restore(Delivery&& delivery);
  void restore_urgent(const abi::Slot& slot) { urgent_.push_back(slot); }
  void restore_shown(uint32_t index) { shown_.push_back(index); }

  // Publishes both rings' indexes; true when the application has something new to see.
  bool publish();

  std::unordered_map<uint32_t, std::shared_ptr<BoundMethod>> methods;  // client: by handle
  std::unordered_map<uint64_t, uint64_t> client_calls;                 // application's call id -> id in the client table
  std::unordered_set<uint64_t> server_calls;                           // ids in the server table
  DoorShare door;           // what its submission ring may bring in a turn
  std::vector<std::byte> fetched;  // the long block of the slot that is being handled, copied elsewhere
  uint32_t long_jobs = 0;   // intake is waiting for work done elsewhere
  std::unordered_map<uint64_t, uint64_t> pinned_bytes;  // in the send heap of each server, by what waits for this application
  uint64_t checking_bytes = 0;  // of replies to it that are being checked elsewhere
  bool active = false;      // polled each turn; otherwise it has said that its doorbell is to be rung
  bool dirty = false;       // has something to publish at the end of the turn
  bool closing = false;     // its end is under way
  bool paused = false;      // it takes too few completions: its submissions wait
  bool broken = false;      // its completion ring's index cannot be

 private:
  bool restorable(const Delivery& delivery) const;
  bool has_room(uint32_t reserved = 0);
  bool place(Delivery& delivery);
  bool copy_some(Delivery& delivery, uint64_t& budget_bytes);
  void write_head(Delivery& delivery);
  bool try_now(Delivery& delivery, uint64_t& budget_bytes);
  void park(Delivery&& delivery);
  bool shows_too_many();
  bool pump_ranked(uint64_t& budget_bytes);

  std::shared_ptr<Attachment> attachment_;
  uint64_t receive_base_;  // of this shard's part
  shm::Heap receive_heap_;
  uint64_t blocks_moved_ = 0, blocks_moved_seen_ = 0;
  std::deque<Delivery> queue_;
  FairQueue<Delivery> ranked_;
  std::deque<uint32_t> shown_;  // positions in the completion ring of ranked calls that nobody has taken yet
  uint64_t parked_bytes_ = 0;
  std::deque<abi::Slot> urgent_;
  bool stuck_ = false;
};

}  // namespace mrpc::dataplane
