#include "transport/session/assembler.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace mrpc::transport {
namespace {

uint64_t travelling_bytes(const Frame& frame) {
  uint64_t bytes = sizeof(MessageHeader) + frame.blobs.size() * sizeof(uint64_t) + frame.head.size();
  for (const Blob& blob : frame.blobs) bytes += blob.length;
  return bytes;
}

bool known_kind(uint8_t kind) {
  switch (static_cast<FrameKind>(kind)) {
    case FrameKind::kOpen:
    case FrameKind::kMessage:
    case FrameKind::kHalfClose:
    case FrameKind::kCancel:
    case FrameKind::kCredit:
    case FrameKind::kStatus:
    case FrameKind::kInitialMetadata:
    case FrameKind::kAnnounce: return true;
  }
  return false;
}

// Makes one piece of memory for all blobs, each at a multiple of kBlobAlign; gives its start.
std::byte* place_blobs(Frame& frame, std::span<const uint64_t> lengths) {
  uint64_t end = 0;
  for (const uint64_t length : lengths) end = abi::align_up(end, abi::kBlobAlign) + length;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(abi::kBlobAlign, abi::align_up(std::max<uint64_t>(end, 1), abi::kBlobAlign)));
  MRPC_ASSERT(memory != nullptr);
  frame.hold = std::shared_ptr<void>(memory, std::free);
  uint64_t at = 0;
  for (const uint64_t length : lengths) {
    at = abi::align_up(at, abi::kBlobAlign);
    frame.blobs.push_back({memory + at, length});
    at += length;
  }
  return memory;
}

}  // namespace

Result<size_t> Assembler::prefix_bytes(const WireHeader& header, std::span<const std::byte> start) {
  if ((header.flags & kFirst) == 0) return size_t{0};
  if (start.size() < sizeof(MessageHeader)) return sizeof(MessageHeader);
  MessageHeader message;
  std::memcpy(&message, start.data(), sizeof message);
  if (message.blob_count > abi::kSegmentsMax) return invalid_argument("a message has too many blobs");
  return sizeof message + message.blob_count * sizeof(uint64_t);
}

Status Assembler::check_room(const WireHeader& header, uint64_t total_bytes) const {
  const bool small = total_bytes <= kChunkBytes;
  const bool single = (header.flags & kLast) != 0;
  if (small != single) return invalid_argument("a message is cut where it must not be");
  const uint64_t outstanding = started_bytes_ - consumed_bytes_;
  if (outstanding >= limits_.window_bytes + (small ? kSmallReserveBytes : 0)) {
    return resource_exhausted("the peer sends more than it was granted");
  }
  return ok_status();
}

Result<Assembler::Assembly> Assembler::start_message(const WireHeader& header, std::span<const std::byte> prefix) const {
  MessageHeader message;
  if (prefix.size() < sizeof message || header.payload_bytes < prefix.size()) return invalid_argument("a message is too short");
  std::memcpy(&message, prefix.data(), sizeof message);
  if (prefix.size() != sizeof message + message.blob_count * sizeof(uint64_t)) return invalid_argument("a message is too short");
  if (!known_kind(message.kind) || (message.flags & ~(kEnd | kHasMessage | kProtobuf)) != 0 || message.code > kStatusCodeMax ||
      message.reserved != 0 || message.reserved1 != 0) {
    return invalid_argument("a message of unknown kind");
  }
  std::vector<uint64_t> lengths(message.blob_count);
  if (!lengths.empty()) std::memcpy(lengths.data(), prefix.data() + sizeof message, lengths.size() * sizeof(uint64_t));
  uint64_t body_bytes = message.head_bytes;
  bool too_large = body_bytes > limits_.message_bytes_max;
  for (const uint64_t length : lengths) {
    too_large = too_large || length > limits_.message_bytes_max - body_bytes;
    if (!too_large) body_bytes += length;
  }
  if (too_large) return resource_exhausted("a message is larger than this node takes");

  Assembly assembly;
  assembly.head_bytes = message.head_bytes;
  assembly.body_bytes = body_bytes;
  assembly.total_bytes = body_bytes + prefix.size();
  if (Status room = check_room(header, assembly.total_bytes); !room) return room.error();
  Frame& frame = assembly.frame;
  frame = {.kind = static_cast<FrameKind>(message.kind), .flags = message.flags, .code = message.code,
           .sequence = message.sequence, .call_id = message.call_id, .aux = message.aux};
  frame.head.reserve(message.head_bytes);
  if (!lengths.empty()) assembly.blob_memory = place_blobs(frame, lengths);
  return assembly;
}

Result<Assembler::Verdict> Assembler::begin(const WireHeader& header, std::span<const std::byte> prefix) {
  MRPC_ASSERT(current_ == nullptr);
  if (header.sequence < receive_next_) return Verdict::kDuplicate;
  if (header.sequence > receive_next_) return Verdict::kGap;
  if ((header.flags & kFirst) != 0) {
    auto started = start_message(header, prefix);
    if (!started) return started.error();
    if ((header.flags & kLast) != 0) {
      single_ = std::move(*started);
      current_ = &single_;
    } else {
      const auto [at, is_new] = assemblies_.try_emplace(header.message_id, std::move(*started));
      if (!is_new) return invalid_argument("a message begins twice");
      current_ = &at->second;
    }
    started_bytes_ += current_->total_bytes;
  } else {
    const auto at = assemblies_.find(header.message_id);
    if (at == assemblies_.end() || header.payload_bytes == 0) return invalid_argument("a segment of no message");
    current_ = &at->second;
  }
  segment_ = header;
  segment_start_ = current_->filled_bytes;
  segment_left_ = header.payload_bytes - prefix.size();
  const uint64_t missing = current_->body_bytes - current_->filled_bytes;
  if (segment_left_ > missing || (segment_left_ == missing) != ((header.flags & kLast) != 0)) {
    abort_segment();
    return invalid_argument("a segment does not fit its message");
  }
  return Verdict::kTake;
}

std::span<std::byte> Assembler::room() {
  if (current_ == nullptr || segment_left_ == 0) return {};
  Assembly& assembly = *current_;
  uint64_t at = assembly.filled_bytes;
  if (at < assembly.head_bytes) {
    const uint64_t end = std::min(assembly.head_bytes, at + segment_left_);
    assembly.frame.head.resize(end);
    return std::span(assembly.frame.head).subspan(at);
  }
  at -= assembly.head_bytes;
  for (const Blob& blob : assembly.frame.blobs) {
    if (at < blob.length) {
      std::byte* start = assembly.blob_memory + (blob.data - assembly.blob_memory) + at;
      return {start, std::min(blob.length - at, segment_left_)};
    }
    at -= blob.length;
  }
  MRPC_ASSERT(false);
  return {};
}

void Assembler::filled(size_t bytes) {
  MRPC_ASSERT(current_ != nullptr && bytes <= segment_left_);
  current_->filled_bytes += bytes;
  segment_left_ -= bytes;
}

std::optional<Frame> Assembler::finish_segment() {
  MRPC_ASSERT(current_ != nullptr && segment_left_ == 0);
  Assembly& assembly = *std::exchange(current_, nullptr);
  ++receive_next_;
  if ((segment_.flags & kLast) == 0) return std::nullopt;
  MRPC_ASSERT(assembly.filled_bytes == assembly.body_bytes);
  Frame frame = std::move(assembly.frame);
  if ((segment_.flags & kFirst) == 0) assemblies_.erase(segment_.message_id);
  return frame;
}

void Assembler::abort_segment() {
  if (current_ == nullptr) return;
  Assembly& assembly = *std::exchange(current_, nullptr);
  if ((segment_.flags & kFirst) == 0) {
    assembly.filled_bytes = segment_start_;  // the head's surplus is overwritten in place
    return;
  }
  started_bytes_ -= assembly.total_bytes;
  if ((segment_.flags & kLast) != 0) {
    single_ = {};
  } else {
    assemblies_.erase(segment_.message_id);
  }
}

Result<Assembler::Received> Assembler::receive(const WireHeader& header, std::span<const std::byte> payload) {
  MRPC_ASSERT(payload.size() == header.payload_bytes);
  const auto prefix_size = prefix_bytes(header, payload);
  if (!prefix_size) return prefix_size.error();
  if (*prefix_size > payload.size()) return invalid_argument("a message is too short");
  const auto verdict = begin(header, payload.first(*prefix_size));
  if (!verdict) return verdict.error();
  if (*verdict != Verdict::kTake) return Received{.verdict = *verdict};
  payload = payload.subspan(*prefix_size);
  while (!payload.empty()) {
    const std::span<std::byte> into = room();
    std::memcpy(into.data(), payload.data(), into.size());
    filled(into.size());
    payload = payload.subspan(into.size());
  }
  return Received{.verdict = Verdict::kTake, .frame = finish_segment()};
}

void Assembler::release(const Frame& frame) {
  consumed_bytes_ += travelling_bytes(frame);
  MRPC_ASSERT(consumed_bytes_ <= started_bytes_);
}

}  // namespace mrpc::transport
