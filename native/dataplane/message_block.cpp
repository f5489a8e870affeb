#include "dataplane/message_block.h"

#include <cstring>

#include "dataplane/tenant.h"

namespace mrpc::dataplane {
namespace {

constexpr std::string_view kReservedPrefix = "mrpc-", kJudgedKey = "mrpc-judged";

std::vector<uint64_t> blob_lengths(const Message& message) {
  std::vector<uint64_t> lengths;
  lengths.reserve(message.blobs.size());
  for (const transport::Blob& blob : message.blobs) lengths.push_back(blob.length);
  return lengths;
}

// The same prefix, metadata and details with another image and no blobs.
void replace_image(Message& message, std::span<const std::byte> image) {
  Message made = make_message(message.block_at, message.metadata(), message.details(), image);
  std::memcpy(made.bytes.data(), message.bytes.data(), message.block_at);
  message = std::move(made);
}

// The same message, prefix included, with other metadata. `pairs` may point into the message.
void replace_metadata(Message& message, std::span<const shm::MetadataPair> pairs) {
  MRPC_ASSERT(message.header.details_bytes == 0);  // requests have none
  const shm::BlockShape shape{message.header.segment_count, shm::metadata_bytes(pairs), 0, message.header.inline_bytes};
  std::vector<std::byte> bytes(message.block_at + shm::block_bytes(shape));
  std::memcpy(bytes.data(), message.bytes.data(), message.block_at);
  shm::BlockWriter writer(bytes.data() + message.block_at, shape);
  writer.metadata(pairs);
  for (uint32_t i = 0; i < shape.segment_count; ++i) writer.segment(i, message.segments[i]);
  const auto image = message.inline_image();
  if (!image.empty()) std::memcpy(writer.image(), image.data(), image.size());
  writer.finish();
  auto made = parse_block(std::move(bytes), message.block_at, {UINT64_MAX, UINT32_MAX});
  MRPC_ASSERT(made.ok());
  made->blobs = std::move(message.blobs);
  made->hold = std::move(message.hold);
  message = std::move(*made);
}

}  // namespace

Result<Message> parse_block(std::vector<std::byte> bytes, size_t block_at, const shm::BlockLimits& limits) {
  MRPC_ASSERT(block_at <= bytes.size());
  const std::span<const std::byte> block(bytes.data() + block_at, bytes.size() - block_at);
  const auto reader = shm::BlockReader::parse(block, block.size(), limits);
  if (!reader) return reader.error();
  Message message;
  message.header = reader->header();
  message.at = abi::block_layout(message.header.segment_count, message.header.metadata_bytes, message.header.details_bytes,
                                 message.header.inline_bytes);
  for (uint32_t i = 0; i < reader->segment_count(); ++i) message.segments.push_back(reader->segment(i));
  message.block_at = block_at;
  message.bytes = std::move(bytes);
  return message;
}

Message make_message(size_t prefix_bytes, std::span<const std::byte> metadata, std::span<const std::byte> details,
                     std::span<const std::byte> image) {
  Message message;
  message.block_at = prefix_bytes;
  message.header = {image.size(), image.size(), static_cast<uint32_t>(metadata.size()), static_cast<uint32_t>(details.size()), 0, 0};
  message.at = abi::block_layout(0, message.header.metadata_bytes, message.header.details_bytes, image.size());
  message.bytes.resize(prefix_bytes + message.at.end);
  std::byte* block = message.bytes.data() + prefix_bytes;
  std::memcpy(block, &message.header, sizeof message.header);
  if (!metadata.empty()) std::memcpy(block + message.at.metadata, metadata.data(), metadata.size());
  if (!details.empty()) std::memcpy(block + message.at.details, details.data(), details.size());
  if (!image.empty()) std::memcpy(block + message.at.image, image.data(), image.size());
  return message;
}

Message make_error_message(std::string_view text) {
  const shm::BlockShape shape{0, 0, shm::details_bytes(text, {}), 0};
  std::vector<std::byte> bytes(shm::block_bytes(shape));
  shm::BlockWriter writer(bytes.data(), shape);
  writer.details(text, {});
  writer.finish();
  auto message = parse_block(std::move(bytes), 0, {});
  MRPC_ASSERT(message.ok());
  return std::move(*message);
}

Result<message::Verified> check_image(const Message& message, const message::MessageLayout& layout, const message::Limits& limits) {
  return message::verify(layout, message.inline_image(), blob_lengths(message), limits);
}

Status check_arrived(Message& message, const message::MessageLayout& layout, bool protobuf, const message::Limits& limits) {
  if (protobuf) {
    if (!message.blobs.empty()) return invalid_argument("protobuf bytes in more than one piece");
    std::vector<std::byte> image;
    if (Status laid_out = message::from_protobuf(layout, message.inline_image(), limits, image); !laid_out) return laid_out;
    replace_image(message, image);
    return ok_status();
  }
  const auto verified = check_image(message, layout, limits);
  if (!verified) return verified.error();
  return verified->has_unknown ? relay(message, layout, layout, limits) : ok_status();
}

void into_protobuf(Message& message, const message::MessageLayout& layout) {
  assemble(message);
  std::vector<std::byte> bytes;
  message::to_protobuf(layout, message.inline_image(), bytes);
  replace_image(message, bytes);
}

void assemble(Message& message) {
  if (message.blobs.empty()) return;
  std::vector<std::byte> whole(message::image_bytes(message.header.inline_bytes, blob_lengths(message)));
  const auto inline_part = message.inline_image();
  std::memcpy(whole.data(), inline_part.data(), inline_part.size());
  uint64_t at = inline_part.size();
  for (const transport::Blob& blob : message.blobs) {
    at = abi::align_up(at, abi::kBlobAlign);
    std::memcpy(whole.data() + at, blob.data, blob.length);
    at += blob.length;
  }
  replace_image(message, whole);
}

Status relay(Message& message, const message::MessageLayout& from, const message::MessageLayout& to, const message::Limits& limits) {
  assemble(message);  // not canonical order any more, but what relay() makes of it is
  std::vector<std::byte> image;
  const Status relaid = message::relay(from, message.inline_image(), to, limits, image);
  if (!relaid) return relaid;
  replace_image(message, image);
  return ok_status();
}

std::vector<std::byte> pack_metadata(std::span<const shm::MetadataPair> pairs) {
  const shm::BlockShape shape{0, shm::metadata_bytes(pairs), 0, 0};
  std::vector<std::byte> block(shm::block_bytes(shape));
  shm::BlockWriter writer(block.data(), shape);
  writer.metadata(pairs);
  writer.finish();
  const auto at = block.begin() + static_cast<ptrdiff_t>(sizeof(abi::BlockHeader));
  return {at, at + shape.metadata_bytes};
}

std::string_view tenant_of(const Message& message) {
  shm::MetadataReader reader(message.metadata());
  for (shm::MetadataPair pair; reader.next(pair);)
    if (pair.key == kTenantKey) return pair.value;
  return {};
}

Result<ReservedMetadata> strip_reserved_metadata(Message& message, std::string_view own) {
  shm::MetadataReader reader(message.metadata());
  std::vector<shm::MetadataPair> kept;
  ReservedMetadata found;
  uint32_t reserved = 0, tenants = 0;
  for (shm::MetadataPair pair; reader.next(pair);) {
    const bool reserves = pair.key.starts_with(kReservedPrefix), names = pair.key == kTenantKey;
    const bool another = names && !pair.value.empty() && pair.value != own;
    reserved += reserves;
    tenants += names;
    if (another) found.tenant = pair.value;
    if (pair.key == kJudgedKey) found.judged = pair.value;
    if (!reserves || another) kept.push_back(pair);
  }
  if (tenants > 1) return invalid_argument("metadata names mrpc-tenant twice; name one");
  if (reserved > (found.tenant.empty() ? 0u : 1u)) replace_metadata(message, kept);
  return found;
}

void say_judged(Message& message, std::string_view chains) {
  shm::MetadataReader reader(message.metadata());
  std::vector<shm::MetadataPair> pairs;
  for (shm::MetadataPair pair; reader.next(pair);) pairs.push_back(pair);
  pairs.push_back({kJudgedKey, chains});
  replace_metadata(message, pairs);
}

void into_frame(Message&& message, transport::Frame& frame) {
  frame.head = std::move(message.bytes);
  frame.blobs = std::move(message.blobs);
  frame.hold = std::move(message.hold);
}

Result<Message> from_frame(transport::Frame&& frame, size_t prefix_bytes, const shm::BlockLimits& limits) {
  auto message = parse_block(std::move(frame.head), prefix_bytes, limits);
  if (!message) return message.error();
  if (message->segments.size() != frame.blobs.size()) return invalid_argument("frame whose blobs do not match its block");
  message->blobs = std::move(frame.blobs);
  message->hold = std::move(frame.hold);
  return message;
}

}  // namespace mrpc::dataplane
