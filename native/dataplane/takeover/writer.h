// Collects what a predecessor hands over: the state, the descriptors beside it, and the private memory that frames refer to.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "dataplane/attachment.h"
#include "dataplane/takeover_state.h"
#include "message/layout.h"
#include "transport/transport.h"

namespace mrpc::dataplane {

std::string as_text(std::span<const std::byte> bytes);

class TakeoverWriter {
 public:
  TakeoverState state;
  uint32_t version = kTakeoverVersion;  // that the state is to be written in

  // The descriptor's place in the list. It is borrowed: its owner keeps it until the list was sent.
  uint32_t add_fd(int fd);
  const std::vector<int>& fds() const { return fds_; }
  uint32_t add_schema(const message::Schema& schema);
  // From here on, what points into its heaps goes over as a reference, not as a copy.
  void add_memory(const std::shared_ptr<Attachment>& attachment);

  TakeoverBody body(std::span<const std::byte> head, const std::vector<transport::Blob>& blobs, const std::shared_ptr<void>& hold) {
    return body(head, blobs, hold, UINT64_MAX);
  }
  TakeoverFrame frame(const transport::Frame& frame, uint64_t blob_bytes = UINT64_MAX);  // of whose blobs so much has come

  // Makes the payload and puts it into the state. Errors: kResourceExhausted.
  Status write_payload();

 private:
  struct Memory {
    const std::byte* end = nullptr;
    uint32_t attachment = 0, region = 0;
  };
  struct Piece {
    std::span<const std::byte> from;
    uint64_t at = 0;
  };
  TakeoverBody body(std::span<const std::byte> head, const std::vector<transport::Blob>& blobs, const std::shared_ptr<void>& hold,
                    uint64_t blob_bytes);
  bool refers(const std::vector<transport::Blob>& blobs, TakeoverBody& into) const;
  void copy(const std::vector<transport::Blob>& blobs, uint64_t blob_bytes, TakeoverBody& into);

  std::vector<int> fds_;
  std::unordered_map<const message::Schema*, uint32_t> schemas_;
  std::map<std::string, uint32_t, std::less<>> schema_bytes_;
  std::map<const std::byte*, Memory> memory_;  // by its start
  std::map<uint32_t, bool> attachments_;
  std::vector<Piece> payload_;
  uint64_t payload_end_ = 0;
  Fd payload_fd_;
};

}  // namespace mrpc::dataplane
