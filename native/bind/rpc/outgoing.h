// One block out of a Python message, metadata and a status, written straight into shared memory.
#pragma once

#include <cstring>
#include <optional>
#include <string>

#include "bind/message/codec.h"
#include "bind/rpc/heap_memory.h"
#include "bind/rpc/metadata.h"
#include "stub/stub.h"

namespace mrpc::bind {

struct Outgoing {
  PyObject* message = nullptr;  // borrowed; nullptr: no message
  const MetadataList* metadata = nullptr;
  std::string_view details;
  std::string_view rich;  // google.rpc.Status bytes
  SentArrays* arrays = nullptr;  // takes the arrays of mrpc.empty() that are sent; nullptr: nobody waits for the end

  bool has_details() const { return !details.empty() || !rich.empty(); }
  uint32_t details_size() const { return has_details() ? shm::details_bytes(details, rich_bytes()) : 0; }
  std::span<const std::byte> rich_bytes() const { return std::as_bytes(std::span(rich.data(), rich.size())); }
};

// Raises RESOURCE_EXHAUSTED when a part is over its limit; true when all fit.
bool check_limits(const Outgoing& outgoing, uint64_t image_bytes, uint64_t message_bytes_max, uint32_t metadata_bytes_max);

// Fills `block`, which has the size that `shape` means, and hands the pins over to it.
void write_block(stub::SendBlock& block, const shm::BlockShape& shape, const Outgoing& outgoing, const EncodePlan& plan,
                 std::vector<stub::Pinned>& pins);

// From here on, content that the application keeps elsewhere is copied to the heap as a segment of its own: the daemon then moves it once,
// a piece a turn, where a large inline part has to be copied, checked and copied again.
constexpr uint64_t kOwnSegmentBytesMin = 64 * 1024;

// Copies a blob into `endpoint`'s heap. Empty, with an exception set, when there is no room.
template <typename Endpoint>
std::optional<stub::Pinned> copy_blob(Endpoint& endpoint, const BlobRef& blob) {
  Result<stub::HeapBufferPtr> buffer = endpoint.allocate_buffer(blob.length);
  if (!buffer.ok()) {
    raise(buffer.error());
    return std::nullopt;
  }
  std::memcpy((*buffer)->bytes().data(), blob.data, blob.length);
  return endpoint.locate((*buffer)->bytes().data(), blob.length);
}

// Where the plan's blobs stand in `endpoint`'s memory. False when one does not: no room (an exception is set), or the daemon was
// replaced meanwhile.
template <typename Endpoint>
bool pin_blobs(Endpoint& endpoint, const EncodePlan& plan, std::vector<stub::Pinned>& pins) {
  for (const BlobRef& blob : plan.blobs) {
    std::optional<stub::Pinned> pinned = endpoint.locate(blob.data, blob.length);
    if (!pinned && blob.length >= kOwnSegmentBytesMin) pinned = copy_blob(endpoint, blob);
    if (!pinned) return false;
    pins.push_back(std::move(*pinned));
  }
  return true;
}

// One attempt of build_block(). Sets `stale` instead of an exception when blobs belonged to a daemon that has gone.
template <typename Endpoint, typename Allocate>
stub::SendBlock try_build(Endpoint& endpoint, Allocate&& allocate, const Outgoing& outgoing, bool blobs_allowed, bool& stale) {
  uint32_t blob_count = 0;
  const auto apart = [&](const std::byte* data, uint64_t length) {
    return blobs_allowed && blob_count < abi::kSegmentsMax &&
           (length >= kOwnSegmentBytesMin || endpoint.locate(data, length).has_value()) && ++blob_count;
  };
  EncodePlan plan;
  if (outgoing.message && !plan_encode(outgoing.message, plan, apart)) return {};
  if (!check_limits(outgoing, plan.image_bytes, endpoint.message_bytes_max(), endpoint.metadata_bytes_max())) return {};

  std::vector<stub::Pinned> pins;
  const uint64_t epoch = plan.blobs.empty() ? 0 : endpoint.epoch();
  const bool pinned = pin_blobs(endpoint, plan, pins);
  stale = !pinned && PyErr_Occurred() == nullptr;
  if (!pinned) return {};
  const shm::BlockShape shape{static_cast<uint32_t>(pins.size()), outgoing.metadata ? outgoing.metadata->bytes() : 0,
                              outgoing.details_size(), plan.inline_bytes};
  Result<stub::SendBlock> block = allocate(shm::block_bytes(shape));
  if (!block.ok()) {
    raise(block.error());
    return {};
  }
  stale = !pins.empty() && endpoint.epoch() != epoch;
  if (stale) return {};
  write_block(*block, shape, outgoing, plan, pins);
  if (outgoing.arrays)
    for (const BlobRef& blob : plan.blobs) outgoing.arrays->add(blob.data);
  return std::move(block).value();
}

// `endpoint` is a stub::Client or stub::Server; `allocate(bytes)` takes memory from it. An empty block with an exception set: the
// message cannot be encoded or is too large, the heap is over its quota, or there is no daemon. With the GIL held throughout: the
// message must not change between the plan and the encoding.
template <typename Endpoint, typename Allocate>
stub::SendBlock build_block(Endpoint& endpoint, Allocate&& allocate, const Outgoing& outgoing) {
  bool stale = false;
  stub::SendBlock block = try_build(endpoint, allocate, outgoing, true, stale);
  return stale ? try_build(endpoint, allocate, outgoing, false, stale) : std::move(block);
}

}  // namespace mrpc::bind
