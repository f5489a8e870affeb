// Both ends on one shard of this daemon: a frame sent on one end comes out of poll() at the other as the same object.
// The head is moved and blobs pass by reference with their hold, so nothing is copied.
//
// connect("local:") makes both ends at once: two kUp events, the connecting end first. close() of either ends the pair:
// the other end receives what had been sent to it, then kDown. A local pair is never connected anew.
// There is no descriptor: work arises only from calls on this object, and next_timer_ns() is 0 while some is left.
#pragma once

#include "transport/fifo.h"
#include "transport/transport.h"

namespace mrpc::transport {

struct LocalOptions {
  std::string node_name;
  size_t queue_frames_max = 4096;           // of one direction of a pair
  uint64_t queue_bytes_max = 256ull << 20;  // a frame is taken while the queue is below both
};

class LocalTransport final : public Transport {
 public:
  explicit LocalTransport(LocalOptions options) : options_(std::move(options)) {}

  Result<LinkId> connect(const std::string& address) override;
  Result<std::string> listen(const std::string& address) override;
  SendResult send(LinkId link, Frame&& frame) override;
  bool writable(LinkId link) const override;
  void close(LinkId link) override;
  size_t poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) override;
  int poll_fd() const override { return -1; }
  uint64_t next_timer_ns() const override { return queue_.empty() ? UINT64_MAX : 0; }

  bool has_work() const { return !queue_.empty(); }
  // The end that `link` is joined to; it need not be open.
  static LinkId other_end(LinkId link) { return link ^ 1; }

  // poll() for a shard that knows this type: on_frame(LinkId, Frame&&) for frames, on_change(Event&&) for the rest.
  template <typename OnFrame, typename OnChange>
  size_t drain(size_t events_max, OnFrame&& on_frame, OnChange&& on_change) {
    size_t events = 0;
    while (events < events_max && !queue_.empty()) {
      Entry entry = queue_.pop();
      if (entry.kind != Event::Kind::kFrame) {
        on_change(change_event(entry));
      } else if (End* end = find(entry.link); end != nullptr) {
        end->queued_frames -= 1;
        end->queued_bytes -= entry.bytes;
        on_frame(entry.link, std::move(entry.frame));
      } else {
        continue;  // its receiver has closed
      }
      ++events;
    }
    return events;
  }

 private:
  struct Entry {
    Event::Kind kind{};
    bool by_peer = false;  // kDown: the other end closed
    LinkId link = 0;
    uint64_t bytes = 0;
    Frame frame{};
  };
  struct End {
    bool open = false;
    size_t queued_frames = 0;  // on their way to this end
    uint64_t queued_bytes = 0;
  };
  struct Pair {
    uint64_t generation = 1;
    int downs_due = 0;  // the slot is used again after both ends' kDown
    End ends[2];
  };
  // A link id is (generation, slot, end), so that an id of a pair that is gone finds nothing.
  static constexpr int kSlotBits = 24;
  static size_t slot_of(LinkId link) { return (link >> 1) & ((1u << kSlotBits) - 1); }

  const End* find(LinkId link) const {
    const size_t slot = slot_of(link);
    if (slot >= pairs_.size() || pairs_[slot].generation != link >> (kSlotBits + 1)) return nullptr;
    const End& end = pairs_[slot].ends[link & 1];
    return end.open ? &end : nullptr;
  }
  End* find(LinkId link) { return const_cast<End*>(std::as_const(*this).find(link)); }
  bool has_room(const End& receiver) const {
    return receiver.queued_frames < options_.queue_frames_max && receiver.queued_bytes < options_.queue_bytes_max;
  }
  Event change_event(const Entry& entry);

  LocalOptions options_;
  Fifo<Entry> queue_;  // all pairs' frames and changes, in the order of the calls that made them
  std::vector<Pair> pairs_;
  std::vector<size_t> free_slots_;
};

}  // namespace mrpc::transport
