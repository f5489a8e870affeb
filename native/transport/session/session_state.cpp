#include "transport/session/session_state.h"

#include <algorithm>
#include <unordered_map>

#include "transport/session/session.h"

namespace mrpc::transport {
namespace {

Error broken() { return invalid_argument("the state of a session contradicts itself"); }

}  // namespace

SendState SendQueue::save() const {
  SendState state;
  state.peer_window_bytes = window_bytes_;
  state.peer_message_bytes_max = message_bytes_max_;
  state.next_message_id = next_message_id_;
  state.started_bytes = started_bytes_;
  state.consumed_bytes = consumed_bytes_;
  state.first = first_;
  state.next = next_;
  state.highest = highest_;
  state.peer_ack = peer_ack_;
  std::unordered_map<const OutMessage*, uint32_t> known;
  const auto index_of = [&](const OutMessage& message) {
    const auto [at, is_new] = known.try_emplace(&message, static_cast<uint32_t>(state.messages.size()));
    if (is_new) state.messages.push_back({message.frame, message.id, message.cut_bytes});
    return at->second;
  };
  for (size_t i = 0; i < segments_.size(); ++i) {
    const OutSegment& segment = segments_.at(i);
    state.segments.push_back({index_of(*segment.message), segment.offset, segment.bytes});
  }
  for (size_t i = 0; i < turns_.size(); ++i) {
    const auto& messages = lanes_.at(turns_.at(i)).messages;
    for (size_t at = 0; at < messages.size(); ++at) state.waiting.push_back(index_of(*messages.at(at)));
  }
  return state;
}

Status SendQueue::restore(SendState&& state) {
  next_message_id_ = state.next_message_id;
  started_bytes_ = state.started_bytes;
  consumed_bytes_ = state.consumed_bytes;
  first_ = state.first;
  next_ = state.next;
  highest_ = state.highest;
  peer_ack_ = state.peer_ack;
  if (first_ > next_ || next_ > first_ + state.segments.size() || highest_ < next_ || consumed_bytes_ > started_bytes_) return broken();
  std::vector<std::shared_ptr<OutMessage>> messages;
  for (SendState::Message& saved : state.messages) {
    if (saved.frame.blobs.size() > abi::kSegmentsMax) return broken();
    auto message = make_message(std::move(saved.frame), saved.id);
    message->cut_bytes = saved.cut_bytes;
    if (message->cut_bytes > message->total_bytes) return broken();
    queued_frames_ += 1;
    queued_bytes_ += message->total_bytes;
    half_cut_ += message->cut_bytes > 0 && message->cut_bytes < message->total_bytes;
    messages.push_back(std::move(message));
  }
  for (const SendState::Segment& segment : state.segments) {
    if (segment.message >= messages.size()) return broken();
    const auto& message = messages[segment.message];
    if (segment.offset > message->cut_bytes || segment.bytes > message->cut_bytes - segment.offset) return broken();
    segments_.push({message, segment.offset, segment.bytes});
  }
  for (const uint32_t index : state.waiting) {
    if (index >= messages.size() || messages[index]->cut_bytes == messages[index]->total_bytes) return broken();
    const uint64_t call_id = messages[index]->header.call_id;
    const auto [lane, is_new] = lanes_.try_emplace(call_id);
    if (is_new) turns_.push(uint64_t{call_id});
    lane->second.messages.push(std::shared_ptr<OutMessage>(messages[index]));
  }
  forget_acknowledged();
  return ok_status();
}

ReceiveState Assembler::save() const {
  ReceiveState state;
  state.receive_next = receive_next_;
  state.started_bytes = started_bytes_;
  state.consumed_bytes = consumed_bytes_;
  state.in_segment = current_ != nullptr;
  state.segment = segment_;
  state.segment_left = segment_left_;
  state.segment_start = segment_start_;
  const auto add = [&state](uint32_t id, const Assembly& assembly, bool single) {
    state.assemblies.push_back({assembly.frame, id, assembly.head_bytes, assembly.filled_bytes, assembly.total_bytes, single});
  };
  for (const auto& [id, assembly] : assemblies_) add(id, assembly, false);
  if (current_ == &single_) add(segment_.message_id, single_, true);
  return state;
}

Status Assembler::restore(ReceiveState&& state) {
  receive_next_ = state.receive_next;
  started_bytes_ = state.started_bytes;
  consumed_bytes_ = state.consumed_bytes;
  if (consumed_bytes_ > started_bytes_) return broken();
  for (ReceiveState::Assembly& saved : state.assemblies) {
    Assembly assembly;
    assembly.head_bytes = assembly.body_bytes = saved.head_bytes;
    assembly.filled_bytes = saved.filled_bytes;
    assembly.total_bytes = saved.total_bytes;
    uint64_t end = 0;
    for (const Blob& blob : saved.frame.blobs) {
      assembly.body_bytes += blob.length;
      // Memory that we made: one piece, each blob at the next multiple of kBlobAlign.
      end = abi::align_up(end, abi::kBlobAlign);
      if (blob.data != saved.frame.blobs.front().data + end) return broken();
      end += blob.length;
    }
    const uint64_t head_filled = std::min(saved.filled_bytes, saved.head_bytes);
    if (saved.filled_bytes > assembly.body_bytes || saved.frame.head.size() < head_filled || saved.frame.head.size() > saved.head_bytes) return broken();
    if (!saved.frame.blobs.empty()) assembly.blob_memory = const_cast<std::byte*>(saved.frame.blobs.front().data);
    assembly.frame = std::move(saved.frame);
    assembly.frame.head.reserve(saved.head_bytes);
    if (saved.single) single_ = std::move(assembly);
    else assemblies_.insert_or_assign(saved.id, std::move(assembly));
  }
  if (!state.in_segment) return ok_status();
  segment_ = state.segment;
  segment_left_ = state.segment_left;
  segment_start_ = state.segment_start;
  const auto known = assemblies_.find(segment_.message_id);
  const bool single = (segment_.flags & kFirst) != 0 && (segment_.flags & kLast) != 0;
  if (!single && known == assemblies_.end()) return broken();
  current_ = single ? &single_ : &known->second;
  if (segment_left_ > current_->body_bytes - current_->filled_bytes) return broken();
  return ok_status();
}

}  // namespace mrpc::transport
