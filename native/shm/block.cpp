#include "shm/block.h"

#include <algorithm>
#include <string>

namespace mrpc::shm {
namespace {

constexpr uint64_t kPairHead = 8;  // two lengths

uint64_t pair_bytes(uint64_t key_bytes, uint64_t value_bytes) { return abi::align_up(kPairHead + key_bytes + value_bytes, 8); }

template <typename T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::string_view text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Status check_metadata(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (bytes.size() < kPairHead) return invalid_argument("block: metadata ends within a pair");
    const uint64_t size = pair_bytes(load<uint32_t>(bytes.data()), load<uint32_t>(bytes.data() + 4));
    if (size > bytes.size()) return invalid_argument("block: metadata pair longer than the metadata");
    bytes = bytes.subspan(size);
  }
  return ok_status();
}

Status check_details(std::span<const std::byte> bytes) {
  if (bytes.empty()) return ok_status();
  if (bytes.size() < 4 || load<uint32_t>(bytes.data()) > bytes.size() - 4)
    return invalid_argument("block: status message longer than the details");
  return ok_status();
}

// The whole image's length is derived from its parts, as receivers will see them.
Status check_segments(const BlockReader& block) {
  uint64_t total = block.header().inline_bytes;
  for (uint32_t i = 0; i < block.segment_count(); ++i) {
    const abi::Segment segment = block.segment(i);
    if (segment.length == 0 || segment.length > abi::kMessageBytesLimit || segment.reserved != 0)
      return invalid_argument("block: malformed segment");
    total = abi::align_up(total, abi::kBlobAlign) + segment.length;
  }
  if (total != block.header().image_bytes) return invalid_argument("block: image length differs from its parts'");
  return ok_status();
}

}  // namespace

uint32_t metadata_bytes(std::span<const MetadataPair> pairs) {
  uint64_t total = 0;
  for (const auto& pair : pairs) total += pair_bytes(pair.key.size(), pair.value.size());
  return static_cast<uint32_t>(std::min<uint64_t>(total, UINT32_MAX));
}

uint32_t details_bytes(std::string_view message, std::span<const std::byte> rich) {
  if (message.empty() && rich.empty()) return 0;
  return static_cast<uint32_t>(std::min<uint64_t>(4 + message.size() + rich.size(), UINT32_MAX));
}

BlockWriter::BlockWriter(std::byte* at, const BlockShape& shape)
    : at_(at),
      shape_(shape),
      layout_(abi::block_layout(shape.segment_count, shape.metadata_bytes, shape.details_bytes, shape.inline_bytes)),
      segment_lengths_(shape.segment_count) {
  MRPC_ASSERT(reinterpret_cast<uintptr_t>(at) % 8 == 0);
}

void BlockWriter::metadata(std::span<const MetadataPair> pairs) {
  std::byte* at = at_ + layout_.metadata;
  for (const auto& [key, value] : pairs) {
    const uint32_t lengths[2] = {static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())};
    const uint64_t size = pair_bytes(key.size(), value.size());
    MRPC_ASSERT(at + size <= at_ + layout_.metadata + shape_.metadata_bytes);
    std::memset(at + size - 8, 0, 8);  // padding; overwritten where there is none
    std::memcpy(at, lengths, sizeof lengths);
    std::copy(key.begin(), key.end(), reinterpret_cast<char*>(at + kPairHead));
    std::copy(value.begin(), value.end(), reinterpret_cast<char*>(at + kPairHead + key.size()));
    at += size;
  }
  MRPC_ASSERT(at == at_ + layout_.metadata + shape_.metadata_bytes);
}

void BlockWriter::details(std::string_view message, std::span<const std::byte> rich) {
  MRPC_ASSERT(details_bytes(message, rich) == shape_.details_bytes);
  if (shape_.details_bytes == 0) return;
  std::byte* at = at_ + layout_.details;
  const auto bytes = static_cast<uint32_t>(message.size());
  std::memcpy(at, &bytes, sizeof bytes);
  std::copy(message.begin(), message.end(), reinterpret_cast<char*>(at + 4));
  if (!rich.empty()) std::memcpy(at + 4 + message.size(), rich.data(), rich.size());
}

void BlockWriter::segment(uint32_t index, const abi::Segment& segment) {
  MRPC_ASSERT(index < shape_.segment_count && segment.length != 0);
  std::memcpy(at_ + layout_.segments + index * sizeof segment, &segment, sizeof segment);
  segment_lengths_[index] = segment.length;
}

uint64_t BlockWriter::finish() {
  uint64_t image_bytes = shape_.inline_bytes;
  for (const uint64_t length : segment_lengths_) image_bytes = abi::align_up(image_bytes, abi::kBlobAlign) + length;
  const abi::BlockHeader header{image_bytes,         shape_.inline_bytes,  shape_.metadata_bytes,
                                shape_.details_bytes, shape_.segment_count, 0};
  std::memcpy(at_, &header, sizeof header);
  return layout_.end;
}

bool MetadataReader::next(MetadataPair& pair) {
  if (rest_.empty()) return false;
  const uint64_t key_bytes = load<uint32_t>(rest_.data()), value_bytes = load<uint32_t>(rest_.data() + 4);
  pair = {text(rest_.subspan(kPairHead, key_bytes)), text(rest_.subspan(kPairHead + key_bytes, value_bytes))};
  rest_ = rest_.subspan(pair_bytes(key_bytes, value_bytes));
  return true;
}

Result<uint64_t> BlockReader::head_bytes(const abi::BlockHeader& header, uint64_t length, const BlockLimits& limits) {
  if (header.reserved != 0) return invalid_argument("block: reserved bits are set");
  if (header.segment_count > abi::kSegmentsMax) return invalid_argument("block: too many segments");
  if (header.metadata_bytes > limits.metadata_bytes_max)
    return resource_exhausted("metadata of " + std::to_string(header.metadata_bytes) + " bytes, the limit is " +
                              std::to_string(limits.metadata_bytes_max));
  if (header.details_bytes > abi::kDetailsBytesMax) return resource_exhausted("status details over their limit");
  if (header.image_bytes > limits.message_bytes_max)
    return resource_exhausted("message of " + std::to_string(header.image_bytes) + " bytes, the limit is " +
                              std::to_string(limits.message_bytes_max));
  if (header.inline_bytes > header.image_bytes) return invalid_argument("block: image shorter than its inline part");
  const abi::BlockLayout layout =
      abi::block_layout(header.segment_count, header.metadata_bytes, header.details_bytes, header.inline_bytes);
  if (layout.end != length) return invalid_argument("block: length differs from its parts'");
  return layout.image;
}

Result<BlockReader> BlockReader::parse(std::span<const std::byte> head, uint64_t length, const BlockLimits& limits) {
  if (head.size() < sizeof(abi::BlockHeader)) return invalid_argument("block: shorter than its header");
  BlockReader block;
  block.header_ = load<abi::BlockHeader>(head.data());
  const auto needed = head_bytes(block.header_, length, limits);
  if (!needed) return needed.error();
  if (head.size() < *needed) return invalid_argument("block: shorter than its parts");
  block.head_ = head;
  block.layout_ = abi::block_layout(block.header_.segment_count, block.header_.metadata_bytes, block.header_.details_bytes,
                                    block.header_.inline_bytes);
  if (auto status = check_segments(block); !status) return status.error();
  if (auto status = check_metadata(block.metadata()); !status) return status.error();
  if (auto status = check_details(block.details()); !status) return status.error();
  return block;
}

abi::Segment BlockReader::segment(uint32_t index) const {
  MRPC_ASSERT(index < header_.segment_count);
  return load<abi::Segment>(head_.data() + layout_.segments + index * sizeof(abi::Segment));
}

std::string_view BlockReader::status_message() const {
  if (header_.details_bytes == 0) return {};
  return text(details().subspan(4, load<uint32_t>(details().data())));
}

std::span<const std::byte> BlockReader::rich_status() const {
  if (header_.details_bytes == 0) return {};
  return details().subspan(4 + load<uint32_t>(details().data()));
}

std::span<const std::byte> BlockReader::inline_image() const {
  MRPC_ASSERT(image_copied());
  return part(layout_.image, header_.inline_bytes);
}

}  // namespace mrpc::shm
