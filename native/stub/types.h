// What both halves of the stub, client and server, take and hand out.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "shm/abi.h"
#include "shm/block.h"

namespace mrpc::stub {

class Attachment;
struct Region;

struct AttachOptions {
  std::string socket_path;  // empty: default_socket_path()
  std::string label;        // shown to operators; no rule trusts it
  std::string token;        // of `mrpc app register`; empty: the uid alone says who this is
  uint32_t trim_idle_ms = 2000;  // without traffic, after which freed send memory goes back to the system
};

// $MRPC_RUNTIME_DIR/app.sock, else /run/mrpc/app.sock as root, else $XDG_RUNTIME_DIR/mrpc/app.sock.
std::string default_socket_path();

// How long a thread may poll before it sleeps. MRPC_WAIT overrides, for measurements: a comma-separated list of
// poll_us=N (client, cap of the adaptive poll; 0: always sleep at once), server_poll_us=N, slice_ms=N.
struct WaitPolicy {
  uint32_t poll_us = 200;
  uint32_t server_poll_us = 50;
  uint32_t slice_ms = 50;  // a waiting thread looks at signals and at the daemon's health at least this often

  static WaitPolicy from_environment();
};

// Called while waiting, at least every slice_ms; true: give up. May be empty.
using InterruptFn = std::function<bool()>;

// A received block. It stands in read-only shared memory until the last reference is dropped; then its memory goes back to the daemon in
// a batch. Safe to keep after the attachment has ended, and to read (not more) in a forked child.
class RecvBlock : public std::enable_shared_from_this<RecvBlock> {
 public:
  RecvBlock(std::shared_ptr<Attachment> attachment, std::shared_ptr<Region> region, const shm::BlockReader& reader, uint64_t offset,
            uint64_t length, uint32_t shard);
  ~RecvBlock();
  RecvBlock(const RecvBlock&) = delete;
  RecvBlock& operator=(const RecvBlock&) = delete;

  std::span<const std::byte> metadata() const { return reader_.metadata(); }  // read it with shm::MetadataReader
  std::span<const std::byte> image() const { return reader_.inline_image(); }
  std::string_view status_message() const { return reader_.status_message(); }
  std::span<const std::byte> rich_status() const { return reader_.rich_status(); }

 private:
  friend class Attachment;
  std::shared_ptr<Attachment> attachment_;
  std::shared_ptr<Region> region_;
  shm::BlockReader reader_;
  uint64_t offset_, length_;
  uint32_t shard_;
};
using RecvBlockPtr = std::shared_ptr<const RecvBlock>;

// Memory in the send heap that the application fills (mrpc.empty) and may send any number of times without a copy. Lives until the last
// reference is dropped; a call that sends it holds one.
class HeapBuffer : public std::enable_shared_from_this<HeapBuffer> {
 public:
  HeapBuffer(std::shared_ptr<Attachment> attachment, uint64_t offset, std::span<std::byte> bytes);
  ~HeapBuffer();
  HeapBuffer(const HeapBuffer&) = delete;
  HeapBuffer& operator=(const HeapBuffer&) = delete;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::shared_ptr<Attachment> attachment_;
  uint64_t offset_;
  std::span<std::byte> bytes_;
};
using HeapBufferPtr = std::shared_ptr<HeapBuffer>;

// Where bytes that a message refers to stand in memory that the daemon can read, and what keeps them there.
struct Pinned {
  abi::Segment segment;
  std::shared_ptr<const void> owner;
  const Attachment* attachment;  // whose regions `segment` names
};

// A block being written: memory of the send heap. Fill it with shm::BlockWriter, then hand it to start(), reply() or
// send_message(); dropped before that, it is free again.
class SendBlock {
 public:
  SendBlock() = default;
  SendBlock(std::shared_ptr<Attachment> attachment, uint64_t offset, std::span<std::byte> bytes)
      : attachment_(std::move(attachment)), offset_(offset), bytes_(bytes) {}
  SendBlock(SendBlock&& other) noexcept { *this = std::move(other); }
  SendBlock& operator=(SendBlock&& other) noexcept;
  ~SendBlock();

  explicit operator bool() const { return attachment_ != nullptr; }
  std::byte* data() const { return bytes_.data(); }
  uint64_t size() const { return bytes_.size(); }

  // For each Segment: keeps its memory until the daemon has read the block. When the daemon was replaced between locate() and allocate(),
  // sending fails with kUnavailable.
  void pin(Pinned pinned) {
    stale_ = stale_ || pinned.attachment != attachment_.get();
    pins_.push_back(std::move(pinned.owner));
  }

 private:
  friend class Attachment;
  friend class Client;
  friend class Server;
  std::shared_ptr<Attachment> attachment_;
  uint64_t offset_ = 0;
  std::span<std::byte> bytes_;
  std::vector<std::shared_ptr<const void>> pins_;
  bool stale_ = false;
};

// How a call ended. `text` is set when this side ended it; otherwise block says more.
struct Reply {
  StatusCode code = StatusCode::kUnknown;
  bool has_message = false;
  RecvBlockPtr block;  // trailing metadata, details, and the reply's image if has_message; may be null
  std::string text;
  bool not_delivered = false;  // no server was there to have the call

  std::string_view message() const { return block && text.empty() ? block->status_message() : std::string_view(text); }
};

// A message of a stream.
struct Message {
  RecvBlockPtr block;
  uint32_t sequence = 0;
};

enum class WaitOutcome : uint8_t {
  kReady,
  kInterrupted,  // the interrupt function asked for it; the call has been cancelled
};

}  // namespace mrpc::stub
