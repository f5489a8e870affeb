// Writing and reading blocks, the unit in which messages stand in a heap (abi.h, "message blocks").
//
// A writer states the sizes of all parts first (BlockShape), takes block_bytes(shape) from a heap, and fills the parts in any order;
// BlockWriter::finish() writes the header last. A reader never looks at shared memory: it is given private bytes, and
// checks every offset against them before it hands out a span.
#pragma once

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "shm/abi.h"

namespace mrpc::shm {

struct MetadataPair {
  std::string_view key, value;
};

// Bytes that `pairs` take in a block (kMetadataBytesMax counts the same way).
uint32_t metadata_bytes(std::span<const MetadataPair> pairs);

// Bytes of kStatus details: the status message, then (optional) a serialised google.rpc.Status.
uint32_t details_bytes(std::string_view message, std::span<const std::byte> rich);

struct BlockShape {
  uint32_t segment_count = 0;
  uint32_t metadata_bytes = 0;
  uint32_t details_bytes = 0;
  uint64_t inline_bytes = 0;  // of the image, segments excluded
};

inline uint64_t block_bytes(const BlockShape& shape) {
  return abi::block_layout(shape.segment_count, shape.metadata_bytes, shape.details_bytes, shape.inline_bytes).end;
}

class BlockWriter {
 public:
  // `at` has room for block_bytes(shape) and is 8-byte aligned; in shared memory blocks begin at 64, in private memory need not.
  BlockWriter(std::byte* at, const BlockShape& shape);

  void metadata(std::span<const MetadataPair> pairs);  // exactly shape.metadata_bytes
  void details(std::string_view message, std::span<const std::byte> rich);
  void segment(uint32_t index, const abi::Segment& segment);
  std::byte* image() const { return at_ + layout_.image; }  // shape.inline_bytes long; the caller fills all of it

  // Writes the header; every part must have been written. Returns the block's length, for Slot.length.
  uint64_t finish();

 private:
  std::byte* at_;
  BlockShape shape_;
  abi::BlockLayout layout_;
  std::vector<uint64_t> segment_lengths_;
};

struct BlockLimits {
  uint64_t message_bytes_max = abi::kMessageBytesMax;
  uint32_t metadata_bytes_max = abi::kMetadataBytesMax;
};

// Iterates over checked metadata bytes.
class MetadataReader {
 public:
  explicit MetadataReader(std::span<const std::byte> bytes) : rest_(bytes) {}
  bool next(MetadataPair& pair);  // false at the end

 private:
  std::span<const std::byte> rest_;
};

class BlockReader {
 public:
  // Bytes from the block's start to its inline image, as `header` (a private copy) states them; what a reader that does not want
  // to copy the image must copy. `length` is Slot.length. Errors: kInvalidArgument, kResourceExhausted (over a limit).
  static Result<uint64_t> head_bytes(const abi::BlockHeader& header, uint64_t length, const BlockLimits& limits);

  // `head` is private memory and holds at least head_bytes(); `length` is Slot.length, and may be longer than head when the inline
  // image was not copied. Segments are checked for their number, form and total, not against any region. Errors as above.
  static Result<BlockReader> parse(std::span<const std::byte> head, uint64_t length, const BlockLimits& limits);

  const abi::BlockHeader& header() const { return header_; }
  uint32_t segment_count() const { return header_.segment_count; }
  abi::Segment segment(uint32_t index) const;
  std::span<const std::byte> metadata() const { return part(layout_.metadata, header_.metadata_bytes); }
  std::span<const std::byte> details() const { return part(layout_.details, header_.details_bytes); }
  std::string_view status_message() const;              // of details; empty when there are none
  std::span<const std::byte> rich_status() const;       // google.rpc.Status bytes of details
  uint64_t image_offset() const { return layout_.image; }
  bool image_copied() const { return head_.size() >= layout_.end; }
  std::span<const std::byte> inline_image() const;      // image_copied() must hold

 private:
  std::span<const std::byte> part(uint64_t offset, uint64_t bytes) const { return head_.subspan(offset, bytes); }

  std::span<const std::byte> head_;
  abi::BlockHeader header_{};
  abi::BlockLayout layout_{};
};

}  // namespace mrpc::shm
