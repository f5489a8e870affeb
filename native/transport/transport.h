// The transport contract: how call frames pass between two shards, on one daemon (local), over TCP, or in a
// simulation (fake). One conformance suite (tests/native/transport/transport_conformance.h) is instantiated for each.
//
// A Transport belongs to one shard and is only touched by its thread. Links are multiplexed: frames of many calls share one,
// frames of one call keep their order, large payloads of one call do not hold up small ones of another for more than
// kChunkBytes. Nothing here blocks. Errors are values, and a link's end is an event.
//
// A link that connect() made is blocked until its kUp. When its session ends it says kDown, is blocked again, and goes on
// connecting; an accepted link is gone after kDown. A kDown without a kUp before it tells why the first attempt failed.
// What send() took leaves with the next poll(); next_timer_ns() is 0 until then.
//
// Who frees what: send() takes a Frame whose `head` it owns from then on, and whose `blobs` point to memory that stays
// valid until the transport destroys Frame::hold (when the last byte has been copied or written, or the link died).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace mrpc::transport {

constexpr uint32_t kChunkBytes = 128 * 1024;

enum class FrameKind : uint8_t {
  kOpen = 1, kMessage = 2, kHalfClose = 3, kCancel = 4, kCredit = 5, kStatus = 6, kInitialMetadata = 8,
  kAnnounce = 9,  // control plane to control plane: opaque bytes in `head`
};

enum FrameFlag : uint8_t { kEnd = 1, kHasMessage = 2, kProtobuf = 4 /* payload is protobuf bytes, not an image */ };

// No server was there to have the call. Not a flag: a peer of an earlier build, or the successor of one on the same connection, ends the
// session for a flag that it does not know, and does not look at a kStatus' sequence.
constexpr uint32_t kNotDelivered = 1;

using LinkId = uint64_t;  // never reused by one Transport

struct Blob { const std::byte* data; uint64_t length; };

struct Frame {
  FrameKind kind{};
  uint8_t flags = 0;
  uint8_t code = 0;          // StatusCode, for kStatus
  uint32_t sequence = 0;     // message number in this direction of the call; kStatus: kNotDelivered, or 0
  uint64_t call_id = 0;      // chosen by the side that opened the call; only that side opens (each direction has a link of its own)
  uint64_t aux = 0;          // kOpen: nanoseconds left to the deadline, 0 none; kCredit: messages
  // kOpen starts with {u32 path_bytes, u32 reserved, path, pad to 8}. Then, for every kind that carries them:
  // an abi::BlockHeader with segment_count = blobs.size(), metadata, details, inline image, laid out as abi::block_layout.
  std::vector<std::byte> head{};
  std::vector<Blob> blobs{};  // logically follow the head's inline image, each at the next multiple of kBlobAlign
  std::shared_ptr<void> hold{};
  uint8_t compression = 0;   // level by which its sender wants it compressed where the link can; 0: not. Says nothing on arrival
  // What pack() has compressed of it ahead of time (session/packer.h): its segments in their order, an empty one as it is.
  std::shared_ptr<const std::vector<std::vector<std::byte>>> packed{};
};

// What a link tells its shard. A received Frame has every blob's bytes in memory owned by `hold`.
struct Event {
  enum class Kind : uint8_t { kUp, kFrame, kDown };
  Kind kind{};
  LinkId link = 0;
  bool accepted = false;  // kUp: the other side connected to us
  std::string peer{};     // kUp: the peer's node name
  uint32_t peer_layout = 0;  // kUp: the peer's message::kLayoutVersion; images pass only between equal ones
  Frame frame{};          // kFrame
  std::optional<Error> error{};  // kDown: why; empty after close() on this side
};

enum class SendResult : uint8_t {
  kSent,      // taken; in order after what was sent before on this link
  kBlocked,   // nothing was taken: the link's queue is full; poll() reports writable() again later
  kClosed,    // no such link, or it has ended
  kTooLarge,  // nothing was taken: the peer does not take frames of this size
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Address forms are the implementation's ("127.0.0.1:7000", "local:", "fake:NAME"). Connecting goes on in the background, with
  // backoff, until close(); kUp and kDown events tell how it fares. Errors: kInvalidArgument for a bad address.
  virtual Result<LinkId> connect(const std::string& address) = 0;
  // Errors: kInvalidArgument, kAlreadyExists (address in use), kPermissionDenied. Returns the address bound (port 0 resolved).
  virtual Result<std::string> listen(const std::string& address) = 0;

  virtual SendResult send(LinkId link, Frame&& frame) = 0;
  virtual bool writable(LinkId link) const = 0;
  // Whether Frame::compression means anything on the link at present.
  virtual bool compresses(LinkId) const { return false; }
  virtual void close(LinkId link) = 0;

  // Moves bytes, then hands at most `events_max` events to `sink`, which may call send() and close(). Returns how many. Does
  // at most about kChunkBytes of copying a link a call. `now_ns` is the shard's clock: the transport reads no other.
  virtual size_t poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) = 0;

  // For the shard's epoll: a descriptor that is readable when poll() has work; -1 when it is driven by hand.
  virtual int poll_fd() const = 0;
  // When poll() wants to be called even if poll_fd() stays silent (reconnect, retransmission); UINT64_MAX never.
  virtual uint64_t next_timer_ns() const = 0;
};

}  // namespace mrpc::transport
