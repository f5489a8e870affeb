// A message in the daemon's private memory: taken from a sender's heap, checked, judged, and written to a receiver's.
//
// No decision is made on memory that the sender can still change: take_block() copies a block once, everything after that looks
// at the copy. Only blobs (segments) stay in the sender's heap; nothing looks into them, and they are copied once, at delivery.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/config.h"
#include "message/image.h"
#include "shm/abi.h"
#include "shm/block.h"
#include "transport/transport.h"

namespace mrpc::dataplane {

struct Message {
  std::vector<std::byte> bytes;  // room for a frame's prefix, then the block
  size_t block_at = 0;
  abi::BlockHeader header{};
  abi::BlockLayout at{};         // of the block's parts, from block_at
  std::vector<transport::Blob> blobs;
  std::vector<abi::Segment> segments;  // as the sender named the blobs
  std::shared_ptr<void> hold;    // keeps the blobs' memory from reuse

  std::span<const std::byte> inline_image() const { return {bytes.data() + block_at + at.image, header.inline_bytes}; }
  std::span<const std::byte> metadata() const { return {bytes.data() + block_at + at.metadata, header.metadata_bytes}; }
  std::span<const std::byte> details() const { return {bytes.data() + block_at + at.details, header.details_bytes}; }
  // Private memory that it takes.
  uint64_t private_bytes() const { return bytes.size(); }
};

// Room in front of a block for what a kOpen frame says about its call.
struct OpenPrefix {
  uint32_t path_bytes;
  uint32_t client_bytes;  // the client's app name follows the path
  uint64_t fingerprint;   // of the server's schema by which the image is laid out
  uint64_t endpoint;      // attachment of the server app; 0: the receiving daemon chooses
};
static_assert(sizeof(OpenPrefix) == 24);

// Parses private bytes whose block starts at `block_at`. `length` is the block's, inline image included.
Result<Message> parse_block(std::vector<std::byte> bytes, size_t block_at, const shm::BlockLimits& limits);

// A block without segments. `image` may be empty.
Message make_message(size_t prefix_bytes, std::span<const std::byte> metadata, std::span<const std::byte> details,
                     std::span<const std::byte> image);
// A block that says why a call ended.
Message make_error_message(std::string_view text);

// Verifies the message's image against `layout`. Errors: kInvalidArgument, kResourceExhausted.
Result<message::Verified> check_image(const Message& message, const message::MessageLayout& layout, const message::Limits& limits);

// Makes what another daemon sent an image by `layout`: verifies it, re-lays what came with unknown fields, or lays it out from protobuf
// bytes. Touches no shard, and so may run elsewhere. Errors: kInvalidArgument, kResourceExhausted.
Status check_arrived(Message& message, const message::MessageLayout& layout, bool protobuf, const message::Limits& limits);

// The other way: the image becomes protobuf bytes. The image must have been verified.
void into_protobuf(Message& message, const message::MessageLayout& layout);

// Longer to check than a turn may be. What is re-laid is copied whole, its blobs with it.
inline bool is_long(const Message& message, bool relays) {
  return (relays ? message.header.image_bytes : message.header.inline_bytes) > transport::kChunkBytes;
}

// Copies every blob into the block, so that the whole image is private and contiguous.
void assemble(Message& message);

// Re-lays the image from one schema version to another (assembling it first). Errors as message::relay.
Status relay(Message& message, const message::MessageLayout& from, const message::MessageLayout& to, const message::Limits& limits);

// Metadata as it stands in a block.
std::vector<std::byte> pack_metadata(std::span<const shm::MetadataPair> pairs);

// Metadata that only the mesh may set: keys that begin with "mrpc-".
struct ReservedMetadata {
  std::string tenant;  // mrpc-tenant, which stays; "": none, or `own`, which goes without saying
  std::string judged;  // mrpc-judged: chains by which the caller's daemon says that it has judged the call
};
// Removes it from the message, but for one mrpc-tenant. Errors: kInvalidArgument for two.
Result<ReservedMetadata> strip_reserved_metadata(Message& message, std::string_view own);
// Adds mrpc-judged. A daemon that does not know the key strips it.
constexpr uint32_t kJudgedBytesMax = 1024;
void say_judged(Message& message, std::string_view chains);
// The mrpc-tenant that stands in a message; "" when none does.
std::string_view tenant_of(const Message& message);

// The message as a frame's payload; `frame.head` is then [prefix][block].
void into_frame(Message&& message, transport::Frame& frame);
// The other way. `prefix_bytes` is where the frame's block begins. Errors: a malformed block.
Result<Message> from_frame(transport::Frame&& frame, size_t prefix_bytes, const shm::BlockLimits& limits);

}  // namespace mrpc::dataplane
