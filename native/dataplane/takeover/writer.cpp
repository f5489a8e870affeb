#include "dataplane/takeover/writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/shard_core.h"

namespace mrpc::dataplane {

std::string as_text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

uint32_t TakeoverWriter::add_fd(int fd) {
  fds_.push_back(fd);
  state.fd_count = static_cast<uint32_t>(fds_.size());
  return state.fd_count - 1;
}

uint32_t TakeoverWriter::add_schema(const message::Schema& schema) {
  const auto known = schemas_.find(&schema);
  if (known != schemas_.end()) return known->second;
  std::string bytes = as_text(schema.serialized());
  const auto [same, is_new] = schema_bytes_.try_emplace(bytes, static_cast<uint32_t>(state.schemas.size()));
  if (is_new) state.schemas.push_back(std::move(bytes));
  schemas_.emplace(&schema, same->second);
  return same->second;
}

void TakeoverWriter::add_memory(const std::shared_ptr<Attachment>& attachment) {
  const Attachment& a = *attachment;
  attachments_.emplace(a.id, true);
  memory_[a.send_heap()] = {a.send_heap() + a.send_heap_bytes(), a.id, abi::kSendRegion};
  memory_[a.receive_heap()] = {a.receive_heap() + a.receive_heap_bytes(), a.id, abi::kReceiveRegion};
}

TakeoverBody TakeoverWriter::body(std::span<const std::byte> head, const std::vector<transport::Blob>& blobs,
                                  const std::shared_ptr<void>& hold, uint64_t blob_bytes) {
  TakeoverBody made;
  made.head = as_text(head);
  const auto* returns = std::get_deleter<ReturnBlock>(hold);
  if (returns != nullptr && attachments_.count(returns->block.port) != 0) {
    made.hold_attachment = returns->block.port;
    made.hold_offset = returns->block.offset;
  }
  // Memory of a sender that has gone is ours alone by now, as what came from another host is.
  if (!refers(blobs, made)) copy(blobs, blob_bytes, made);
  return made;
}

bool TakeoverWriter::refers(const std::vector<transport::Blob>& blobs, TakeoverBody& into) const {
  for (const transport::Blob& blob : blobs) {
    auto at = memory_.upper_bound(blob.data);
    if (at == memory_.begin()) break;
    const auto& [start, memory] = *--at;
    if (blob.data >= memory.end || blob.length > static_cast<uint64_t>(memory.end - blob.data)) break;
    into.blobs.push_back({memory.attachment, memory.region, static_cast<uint64_t>(blob.data - start), blob.length});
  }
  if (into.blobs.size() == blobs.size()) return true;
  into.blobs.clear();
  return false;
}

// One piece for all of them, each at the next multiple of kBlobAlign, as transports lay them out.
void TakeoverWriter::copy(const std::vector<transport::Blob>& blobs, uint64_t blob_bytes, TakeoverBody& into) {
  payload_end_ = abi::align_up(payload_end_, abi::kBlobAlign);
  for (const transport::Blob& blob : blobs) {
    payload_end_ = abi::align_up(payload_end_, abi::kBlobAlign);
    const uint64_t come = std::min(blob.length, blob_bytes);
    if (come > 0) payload_.push_back({{blob.data, come}, payload_end_});
    into.blobs.push_back({0, 0, payload_end_, blob.length});
    payload_end_ += blob.length;
    blob_bytes -= come;
  }
}

TakeoverFrame TakeoverWriter::frame(const transport::Frame& frame, uint64_t blob_bytes) {
  TakeoverFrame made{static_cast<uint32_t>(frame.kind), frame.flags, frame.code, frame.sequence, frame.call_id, frame.aux, {}};
  made.body = body(frame.head, frame.blobs, frame.hold, blob_bytes);
  return made;
}

Status TakeoverWriter::write_payload() {
  if (payload_end_ == 0) return ok_status();
  state.payload_bytes = abi::align_up(payload_end_, abi::kPage);
  auto region = shm::create_region("mrpc-takeover", state.payload_bytes);
  if (!region) return region.error();
  for (const Piece& piece : payload_) {
    auto rest = piece.from;
    for (uint64_t at = piece.at; !rest.empty();) {
      const ssize_t wrote = ::pwrite(region->get(), rest.data(), rest.size(), static_cast<off_t>(at));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return resource_exhausted(std::string("no memory for what is under way: ") + std::strerror(errno));
      at += static_cast<uint64_t>(wrote);
      rest = rest.subspan(static_cast<size_t>(wrote));
    }
  }
  payload_fd_ = std::move(*region);
  state.payload_fd = add_fd(payload_fd_.get());
  return ok_status();
}

}  // namespace mrpc::dataplane
