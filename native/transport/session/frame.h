// The wire, version 1: what two daemons say to each other over a stream (tcp) or in datagrams (fake).
//
// THE PROTOCOL
//
// 1. Everything is a WireHeader and `payload_bytes`. All integers are little-endian; reserved fields are zero. Anything that does
//    not parse ends its connection, and nothing else.
// 2. The side that connects sends kHello, the other answers kHelloAck (same form, `version` chosen) or kGoaway. Nothing else
//    passes before. The accepting side chooses the session id; a kHello with an id that it knows resumes that session: each
//    side says in `receive_next` which sequence it waits for, the other forgets what is before and sends the rest again.
//    An id that it does not know any more is answered with a new one, and the connecting side reports the old session's end.
// 3. A call frame travels as a message: MessageHeader, u64 blob lengths, head, blobs. It is cut into segments (kData) of at most
//    kChunkBytes; one that fits into a single segment must not be cut. Segments of different calls interleave; a message of
//    a call starts only when the call's previous message has been cut to its end, so frames of one call keep their order.
// 4. kData segments are numbered from 0 by `sequence`, in each direction. `ack` of every header says: all before were received.
//    A sender keeps what is not acknowledged, and sends it again, with the same cuts, after a resume.
// 5. Flow control is by message, so that what has begun can always end: a sender adds a message's bytes to `started` when it cuts
//    its first segment; the receiver adds them to `consumed` when its shard has taken the frame, and tells so in every header.
//    A small message (one segment) may start while started - consumed < window + kSmallReserveBytes, a large one while
//    it is < window. Both count on for the life of the session; a receiver checks, so what a peer can make it hold is bounded.
// 6. kAck has no payload: its header says all. kPing is answered by kPong. kGoaway ends the session.
// 7. A kData segment may be kCompressed when both hellos of this connection have kFeatureZstd: its payload is then u32 raw_bytes and one zstd
//    frame of so many bytes, at most kChunkBytes, which are what the segment would hold otherwise; cuts, windows and `started` count these.
//    The sender decides for each segment, so nothing has to be agreed upon when an operator turns compression on or off, and a
//    segment that is sent again, over a connection whose peer may be another build, is compressed anew, or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "shm/abi.h"
#include "transport/transport.h"

namespace mrpc::transport {

constexpr uint32_t kWireMagic = 0x5752506d;  // "mPRW"
constexpr uint16_t kWireVersion = 1;
constexpr uint16_t kWireVersionOldest = 1;
constexpr uint64_t kSmallReserveBytes = 4ull << 20;

enum class WireType : uint8_t { kHello = 1, kHelloAck = 2, kData = 3, kAck = 4, kPing = 5, kPong = 6, kGoaway = 7 };

enum WireFlag : uint8_t { kFirst = 1, kLast = 2, kCompressed = 4 };  // kData: the message's first segment, its last; rule 7

constexpr uint64_t kFeatureZstd = 1;  // WireHello::features: this side takes segments that are kCompressed

struct WireHeader {
  uint32_t magic = kWireMagic;
  uint8_t type = 0;
  uint8_t flags = 0;
  uint16_t reserved0 = 0;
  uint32_t payload_bytes = 0;
  uint32_t message_id = 0;  // kData: which message of those under way
  uint64_t sequence = 0;    // kData
  uint64_t ack = 0;
  uint64_t consumed = 0;
  uint32_t reserved1 = 0;
  uint32_t check = 0;       // of the fields above: tells a lost boundary or garbage from a header; no defence against forgery
};
static_assert(sizeof(WireHeader) == 48);

struct MessageHeader {
  uint8_t kind = 0;
  uint8_t flags = 0;
  uint8_t code = 0;
  uint8_t reserved = 0;
  uint32_t sequence = 0;
  uint64_t call_id = 0;
  uint64_t aux = 0;
  uint64_t head_bytes = 0;
  uint32_t blob_count = 0;
  uint32_t reserved1 = 0;
};
static_assert(sizeof(MessageHeader) == 40);

constexpr uint32_t kPrefixBytesMax = sizeof(MessageHeader) + abi::kSegmentsMax * sizeof(uint64_t);
constexpr uint32_t kNodeNameBytesMax = 256;
constexpr uint32_t kGoawayTextBytesMax = 1024;

struct SessionId {
  uint64_t high = 0, low = 0;
  bool operator==(const SessionId&) const = default;
  bool none() const { return high == 0 && low == 0; }
};

struct WireHello {
  uint16_t version_min = kWireVersionOldest, version_max = kWireVersion;
  uint16_t version = 0;      // kHelloAck: chosen; kHello: 0
  uint16_t node_bytes = 0;   // of the name that follows
  uint32_t layout_version = 0;
  uint32_t shard = 0;        // kHello: wanted; kHelloAck: reached
  SessionId session{};       // kHello: to resume, or none
  uint64_t receive_next = 0;
  uint64_t consumed = 0;
  uint64_t window_bytes = 0;
  uint64_t message_bytes_max = 0;
  uint64_t features = 0;
  uint64_t reserved = 0;
};
static_assert(sizeof(WireHello) == 80);

struct WireGoaway {
  uint32_t status_code = 0;
  uint32_t reserved = 0;
};

// Fills in `check`; the result is what goes onto the wire, byte by byte.
void seal(WireHeader& header);
// Errors: kInvalidArgument with what is wrong. Past this, type and lengths are within their bounds.
Result<WireHeader> parse_header(std::span<const std::byte> bytes);

struct ParsedHello {
  WireHello hello;
  std::string node_name;
};
std::vector<std::byte> encode_hello(WireType type, WireHello hello, const std::string& node_name);
// Errors: kInvalidArgument (malformed), kUnimplemented (no common version), with text fit to be sent to the peer.
Result<ParsedHello> parse_hello(const WireHeader& header, std::span<const std::byte> payload);

std::vector<std::byte> encode_goaway(const Error& error);
// What the peer said, or that it said nothing readable.
Error parse_goaway(std::span<const std::byte> payload);

// A frame with no payload.
WireHeader plain_header(WireType type, uint64_t ack, uint64_t consumed);

}  // namespace mrpc::transport
