#include "transport/local/local.h"

namespace mrpc::transport {

Result<LinkId> LocalTransport::connect(const std::string& address) {
  if (address != "local:") return invalid_argument("'" + address + "' is not a local address; write local:");
  if (free_slots_.empty()) {
    if (pairs_.size() >> kSlotBits) return resource_exhausted("too many local links; close some");
    free_slots_.push_back(pairs_.size());
    pairs_.emplace_back();
  }
  const size_t slot = free_slots_.back();
  free_slots_.pop_back();
  Pair& pair = pairs_[slot];
  pair.ends[0] = pair.ends[1] = End{.open = true};
  const LinkId link = (pair.generation << kSlotBits | slot) << 1;
  for (const LinkId end : {link, other_end(link)}) queue_.push({.kind = Event::Kind::kUp, .link = end});
  return link;
}

Result<std::string> LocalTransport::listen(const std::string& address) {
  if (address != "local:") return invalid_argument("'" + address + "' is not a local address; write local:");
  return address;
}

SendResult LocalTransport::send(LinkId link, Frame&& frame) {
  End* receiver = find(other_end(link));
  if (receiver == nullptr || find(link) == nullptr) return SendResult::kClosed;
  if (!has_room(*receiver)) return SendResult::kBlocked;
  uint64_t bytes = frame.head.size();
  for (const Blob& blob : frame.blobs) bytes += blob.length;
  receiver->queued_frames += 1;
  receiver->queued_bytes += bytes;
  queue_.push({.kind = Event::Kind::kFrame, .link = other_end(link), .bytes = bytes, .frame = std::move(frame)});
  return SendResult::kSent;
}

bool LocalTransport::writable(LinkId link) const {
  const End* receiver = find(other_end(link));
  return receiver != nullptr && find(link) != nullptr && has_room(*receiver);
}

// The end that closed hears no more frames; the other one still hears those that were sent before. Neither can send.
void LocalTransport::close(LinkId link) {
  End* end = find(link);
  if (end == nullptr) return;
  end->open = false;
  Pair& pair = pairs_[slot_of(link)];
  if (pair.downs_due > 0) return;
  pair.downs_due = 2;
  queue_.push({.kind = Event::Kind::kDown, .link = link});
  queue_.push({.kind = Event::Kind::kDown, .by_peer = true, .link = other_end(link)});
}

Event LocalTransport::change_event(const Entry& entry) {
  Event event{.kind = entry.kind, .link = entry.link, .accepted = (entry.link & 1) != 0};
  if (entry.kind == Event::Kind::kUp) {
    event.peer = options_.node_name;
    return event;
  }
  if (entry.by_peer) event.error = unavailable("the other end closed the link");
  Pair& pair = pairs_[slot_of(entry.link)];
  pair.ends[entry.link & 1].open = false;
  if (--pair.downs_due == 0) {
    ++pair.generation;
    free_slots_.push_back(slot_of(entry.link));
  }
  return event;
}

size_t LocalTransport::poll(uint64_t, size_t events_max, const std::function<void(Event&&)>& sink) {
  return drain(
      events_max,
      [&](LinkId link, Frame&& frame) {
        Event event{.kind = Event::Kind::kFrame, .link = link};
        event.frame = std::move(frame);
        sink(std::move(event));
      },
      [&](Event&& event) { sink(std::move(event)); });
}

}  // namespace mrpc::transport
