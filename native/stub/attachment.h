// One attachment to the daemon: control socket, regions, rings, send heap. Both halves of the stub stand on it.
//
// Locks, outermost first: notice_mutex_, consumer_mutex_, a shard's submit_mutex, its reclaim_mutex, memory_mutex_. No callback of
// a user and no destructor of a pinned object runs under any of them.
//
// In a forked child nothing but the destructors runs, and those take no lock: a lock may have been held at the time of the fork.
#pragma once

#include <functional>
#include <map>
#include <thread>
#include <unordered_map>

#include "shm/heap.h"
#include "shm/futex.h"
#include "stub/clock.h"
#include "stub/control_link.h"
#include "stub/process.h"
#include "stub/rings.h"
#include "stub/types.h"
#include "stub/wait_point.h"

namespace mrpc::stub {

struct Region {
  abi::RegionRecord record{};
  shm::Mapping mapping;
};

// Takes what the completion rings deliver, but for what the attachment sees to itself (kReclaim, kControl).
class SlotSink {
 public:
  virtual void on_slot(uint32_t shard, const abi::Slot& slot) = 0;  // under the consumer lock

 protected:
  ~SlotSink() = default;
};

class Attachment : public std::enable_shared_from_this<Attachment> {
 public:
  static Result<std::shared_ptr<Attachment>> open(const AttachOptions& options, abi::Role role);
  explicit Attachment(Fd socket) : control_(std::move(socket)) {}
  ~Attachment();  // the members' own destructors unmap and close, in a child, too; what they close there is the child's copy

  bool here() const { return mark_.here(); }
  bool dead() const { return dead_.load(std::memory_order_acquire); }
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  Status usable() const;  // kFailedPrecondition in a forked child, the reason of the end when dead
  Error end_error() const;
  void end(Error error);  // the first reason stands
  void detach();          // in good order: kGoodbye, then end()
  const abi::Welcome& welcome() const { return welcome_; }

  // ---- memory
  Result<SendBlock> allocate(uint64_t bytes);
  Result<HeapBufferPtr> allocate_buffer(uint64_t bytes);
  std::optional<Pinned> locate(const void* data, uint64_t bytes);
  // The block that a slot of `shard` names; null when it names none. Under the consumer lock. Errors end the attachment.
  Result<RecvBlockPtr> receive_block(uint32_t shard, const abi::Slot& slot);

  // Before anything is allocated: `on_warm` is called, under a lock, when somebody is to call trim_when_idle(). Without it a thread of the
  // attachment's own does.
  void leave_trim_to(std::function<void()> on_warm) { on_warm_ = std::move(on_warm); }
  // Gives warm memory back if no block has moved for a while. Returns after how many ns it wants to be called again; UINT64_MAX: not.
  uint64_t trim_when_idle();

  // ---- rings
  // Publishes `request`, with `block` if it holds one; waits for room until `give_up_ns`. Errors: kResourceExhausted, or usable()'s.
  Status publish(uint32_t shard, const abi::Slot& request, SendBlock&& block, uint64_t give_up_ns);
  // Takes up to `slots_max` completions. Returns how many.
  size_t poll(size_t slots_max, SlotSink& sink);
  bool completions_waiting() const {
    return rings_.load(std::memory_order_acquire)->completions_waiting() || until_empty_.load(std::memory_order_relaxed);
  }
  // Sleeps until a completion comes, at most `timeout_ns`, unless `ready` (looked at after the sleep was announced) says otherwise.
  template <typename Ready>
  void sleep(uint64_t timeout_ns, const Ready& ready) {
    sleep_by(ready, [&](const abi::Index& sequence, uint32_t seen) { shm::futex_wait(&sequence, seen, timeout_ns); });
  }
  // The same, also ended by `point`, whose sequence() was `point_seen`.
  template <typename Ready>
  void sleep(uint64_t timeout_ns, const Ready& ready, WaitPoint& point, uint32_t point_seen) {
    sleep_by(ready, [&](const abi::Index& sequence, uint32_t seen) { point.sleep_with(point_seen, sequence, seen, timeout_ns); });
  }
  // The same; who sleeps as `first` is woken before others.
  template <typename Ready>
  void sleep_in_order(uint64_t timeout_ns, const Ready& ready, bool first) {
    sleep_by(ready, [&](const abi::Index& sequence, uint32_t seen) { shm::futex_wait_first(&sequence, seen, timeout_ns, first); });
  }
  void wake_sleeper();
  void wake_all_sleepers();
  bool flush_reclaims();  // false: the ring has no room for all
  bool settled();  // the daemon has taken every slot, and read every block that was sent with kHold
  void set_poll_armed(bool armed);
  uint32_t generation() const { return rings_.load(std::memory_order_acquire)->generation; }  // of the rings
  int wake_fd() const { return rings_.load(std::memory_order_acquire)->wake_fd.get(); }
  void signal_wake_fd();
  void drain_wake_fd();

  // ---- control
  int control_fd() const { return control_.fd(); }
  Result<shm::ControlMessage> request(abi::ControlKind kind, std::span<const std::byte> body, abi::ControlKind answer);
  // Reads notices, and finds out whether the daemon is there; ends the attachment if not. False when it has ended.
  bool check();

  // ---- for the owners of memory (types.h)
  void free_unsent(uint64_t offset);
  void release_buffer(const std::byte* at, uint64_t offset);
  void release_received(const RecvBlock& block);
  void retire_regions();

 private:
  template <typename Ready, typename Wait>
  void sleep_by(const Ready& ready, const Wait& wait);
  struct LocatedMemory {
    uint64_t bytes, offset;
    uint32_t region;
    std::weak_ptr<const void> owner;
  };

  Status hello(const AttachOptions& options, abi::Role role);
  Status map_regions(shm::ControlMessage& message);
  Status handle_notices();
  Status handle_notice(shm::ControlMessage& notice);
  Status add_region(shm::ControlMessage& notice);
  Status replace_rings(shm::ControlMessage& notice);
  std::optional<uint64_t> allocate_offset(uint64_t bytes);
  void collect_passed();  // frees blocks whose slots the daemon has passed
  void free_offsets(std::span<const uint64_t> offsets);
  void after_free();     // under memory_mutex_
  void start_trimmer();  // under memory_mutex_
  void run_trimmer();
  // `stalled`: the next slot names a region whose kRegionAdd has not been read yet.
  size_t poll_rings(Rings& rings, size_t slots_max, SlotSink& sink, bool& stalled);
  void on_stall(bool stalled);
  void on_rings_empty();
  bool knows_region(uint32_t id) const;
  Status retire_region(shm::ControlMessage& notice);
  void hand_over(Rings& old, const std::shared_ptr<Rings>& fresh);
  void on_reclaim(const abi::Slot& slot);
  void describe(abi::Slot& slot, SendBlock& block);

  ProcessMark mark_;
  ControlLink control_;
  abi::Welcome welcome_{};
  std::atomic<bool> dead_{false}, draining_{false};
  std::mutex notice_mutex_, consumer_mutex_;
  bool control_pending_ = false;  // consumer_mutex_

  std::atomic<Rings*> rings_{nullptr};
  std::vector<std::shared_ptr<Rings>> all_rings_;  // consumer_mutex_; replaced ones stay mapped: threads may sleep on their words
  std::atomic<bool> until_empty_{false};           // replaced rings, or slots that name a region to be retired, are left: poll() goes on
  std::vector<uint32_t> to_retire_;                // regions, once what the rings hold is taken; consumer_mutex_
  uint64_t stalled_since_ns_ = 0;                  // consumer_mutex_; 0: not

  mutable std::mutex memory_mutex_;
  Error end_error_;                                // memory_mutex_
  std::unique_ptr<shm::Heap> heap_;                // memory_mutex_
  std::unordered_map<uint64_t, std::vector<std::shared_ptr<const void>>> held_;  // blocks sent with kHold; memory_mutex_
  std::map<const std::byte*, LocatedMemory> located_;  // memory_mutex_
  std::vector<std::shared_ptr<Region>> retiring_;      // memory_mutex_
  std::atomic<bool> any_retiring_{false};
  std::shared_ptr<Region> send_region_;
  Fd send_heap_fd_;

  std::function<void()> on_warm_;
  uint64_t trim_idle_ns_ = 0;
  bool trim_wanted_ = false;                                                // somebody calls trim_when_idle(); memory_mutex_
  uint64_t blocks_moved_ = 0, blocks_moved_seen_ = 0, quiet_since_ns_ = 0;  // memory_mutex_
  std::unique_ptr<std::thread> trimmer_;                                    // memory_mutex_
  std::atomic<bool> trim_stop_{false};
  WaitPoint trim_point_;

  std::vector<std::shared_ptr<Region>> receive_regions_;  // consumer_mutex_
  std::vector<std::shared_ptr<const void>> freed_pins_;   // consumer_mutex_; dropped after it
};

template <typename Ready, typename Wait>
void Attachment::sleep_by(const Ready& ready, const Wait& wait) {
  flush_reclaims();
  Rings& rings = *rings_.load(std::memory_order_acquire);
  abi::Index& sleepers = rings.regions.app_control().sleepers;
  const abi::Index& sequence = rings.regions.daemon_control().wake_sequence;
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  const uint32_t seen = sequence.load(std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool current = rings_.load(std::memory_order_seq_cst) == &rings;
  if (current && !dead() && !completions_waiting() && !ready()) wait(sequence, seen);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace mrpc::stub
