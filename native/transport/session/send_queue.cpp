#include "transport/session/send_queue.h"

#include <algorithm>

namespace mrpc::transport {
namespace {

// Appends the parts of [begin, end) of the message as it travels that lie in `data`, which stands at `at` in it.
void append_piece(std::vector<iovec>& pieces, uint64_t begin, uint64_t end, uint64_t& at, const void* data, uint64_t bytes) {
  const uint64_t from = std::max(begin, at), to = std::min(end, at + bytes);
  if (from < to) pieces.push_back({static_cast<char*>(const_cast<void*>(data)) + (from - at), to - from});
  at += bytes;
}

}  // namespace

void append_pieces(const OutSegment& segment, std::vector<iovec>& pieces) {
  const OutMessage& message = *segment.message;
  const uint64_t begin = segment.offset, end = segment.offset + segment.bytes;
  uint64_t at = 0;
  append_piece(pieces, begin, end, at, &message.header, sizeof message.header);
  append_piece(pieces, begin, end, at, message.blob_bytes.data(), message.blob_bytes.size() * sizeof(uint64_t));
  append_piece(pieces, begin, end, at, message.frame.head.data(), message.frame.head.size());
  for (const Blob& blob : message.frame.blobs) append_piece(pieces, begin, end, at, blob.data, blob.length);
}

std::shared_ptr<OutMessage> make_message(Frame&& frame, uint32_t id) {
  auto message = std::make_shared<OutMessage>();
  message->id = id;
  message->header = {.kind = static_cast<uint8_t>(frame.kind), .flags = frame.flags, .code = frame.code,
                     .sequence = frame.sequence, .call_id = frame.call_id, .aux = frame.aux,
                     .head_bytes = frame.head.size(), .blob_count = static_cast<uint32_t>(frame.blobs.size())};
  message->total_bytes = sizeof(MessageHeader) + frame.blobs.size() * sizeof(uint64_t) + frame.head.size();
  message->blob_bytes.reserve(frame.blobs.size());
  for (const Blob& blob : frame.blobs) {
    message->blob_bytes.push_back(blob.length);
    message->total_bytes += blob.length;
  }
  message->frame = std::move(frame);
  return message;
}

SendResult SendQueue::push(Frame&& frame) {
  MRPC_ASSERT(frame.blobs.size() <= abi::kSegmentsMax);
  uint64_t payload_bytes = frame.head.size();
  for (const Blob& blob : frame.blobs) payload_bytes += blob.length;
  const uint64_t bytes_max = limits_.queue_bytes_max + (payload_bytes <= kChunkBytes ? kSmallReserveBytes : 0);
  if (queued_frames_ >= limits_.queue_frames_max || queued_bytes_ >= bytes_max) return SendResult::kBlocked;
  if (payload_bytes > message_bytes_max_) return SendResult::kTooLarge;

  auto message = make_message(std::move(frame), next_message_id_++);
  queued_frames_ += 1;
  queued_bytes_ += message->total_bytes;
  // What is small needs no lane while nothing is in its way.
  if (lanes_.empty() && message->total_bytes <= kChunkBytes && may_start(*message)) {
    cut(message);
    return SendResult::kSent;
  }
  const uint64_t call_id = message->header.call_id;
  const auto [lane, is_new] = lanes_.try_emplace(call_id);
  if (is_new) turns_.push(uint64_t{call_id});
  lane->second.messages.push(std::move(message));
  return SendResult::kSent;
}

bool SendQueue::may_start(const OutMessage& message) const {
  const uint64_t outstanding = started_bytes_ - consumed_bytes_;
  return outstanding < (message.total_bytes <= kChunkBytes ? window_bytes_ + kSmallReserveBytes : window_bytes_);
}

void SendQueue::cut(const std::shared_ptr<OutMessage>& message) {
  if (message->cut_bytes == 0) {
    started_bytes_ += message->total_bytes;
    ++half_cut_;
  }
  const uint64_t bytes = std::min<uint64_t>(kChunkBytes, message->total_bytes - message->cut_bytes);
  segments_.push({.message = message, .offset = message->cut_bytes, .bytes = static_cast<uint32_t>(bytes)});
  message->cut_bytes += bytes;
  if (message->cut_bytes == message->total_bytes) --half_cut_;
}

// One segment of the first call, in turn, that may send.
bool SendQueue::cut_from_lanes() {
  if (half_cut_ == 0 && started_bytes_ - consumed_bytes_ >= window_bytes_ + kSmallReserveBytes) return false;
  for (size_t i = turns_.size(); i > 0; --i) {
    uint64_t call_id = turns_.pop();
    const auto lane = lanes_.find(call_id);
    auto& messages = lane->second.messages;
    OutMessage& message = *messages.front();
    const bool able = message.cut_bytes > 0 || may_start(message);
    if (able) {
      cut(messages.front());
      if (message.cut_bytes == message.total_bytes) messages.pop();
    }
    if (messages.empty()) {
      lanes_.erase(lane);
    } else {
      turns_.push(std::move(call_id));
    }
    if (able) return true;
  }
  return false;
}

bool SendQueue::next(WireHeader& header, std::vector<iovec>& pieces) {
  if (next_ == first_ + segments_.size() && !cut_from_lanes()) return false;
  if (!writing_) {
    writing_ = true;
    writing_from_ = next_;
  }
  const OutSegment& segment = segments_.at(next_ - first_);
  const bool is_last = segment.offset + segment.bytes == segment.message->total_bytes;
  header = {.type = static_cast<uint8_t>(WireType::kData)};
  header.flags = static_cast<uint8_t>((segment.offset == 0 ? kFirst : 0) | (is_last ? kLast : 0));
  header.payload_bytes = segment.bytes;
  header.message_id = segment.message->id;
  header.sequence = next_++;
  highest_ = std::max(highest_, next_);
  append_pieces(segment, pieces);
  return true;
}

void SendQueue::written() {
  writing_ = false;
  forget_acknowledged();
}

bool SendQueue::acknowledge(uint64_t ack, uint64_t consumed) {
  if (ack > highest_ || consumed > started_bytes_) return false;
  peer_ack_ = std::max(peer_ack_, ack);
  consumed_bytes_ = std::max(consumed_bytes_, consumed);
  forget_acknowledged();
  return true;
}

void SendQueue::forget_acknowledged() {
  const uint64_t end = writing_ ? std::min(writing_from_, peer_ack_) : peer_ack_;
  for (; first_ < end; ++first_) {
    const OutSegment segment = segments_.pop();
    if (segment.offset + segment.bytes < segment.message->total_bytes) continue;
    queued_frames_ -= 1;
    queued_bytes_ -= segment.message->total_bytes;
  }
  next_ = std::max(next_, first_);
}

bool SendQueue::rewind(uint64_t receive_next, uint64_t consumed) {
  writing_ = false;
  if (receive_next < first_ || !acknowledge(receive_next, consumed)) return false;
  next_ = first_;
  return true;
}

}  // namespace mrpc::transport
