// What a predecessor handed over, taken apart in the successor. The first thing that cannot be is kept as the error; what is
// read after that is empty, so that readers check once, at the end. Nothing here writes to what the predecessor may still own.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "dataplane/shard_core.h"
#include "dataplane/takeover_state.h"
#include "message/layout.h"

namespace mrpc::dataplane {

class TakeoverReader {
 public:
  TakeoverReader(TakeoverState state, std::vector<Fd> fds);

  const TakeoverState state;
  std::map<uint32_t, std::shared_ptr<Attachment>> attachments;

  // Each descriptor once; none for a place that is empty or taken.
  Fd take_fd(uint32_t index);
  std::shared_ptr<const message::Schema> schema(uint32_t index) const;
  // The service of a schema, as its endpoints share it. Null, and an error, when there is none.
  std::shared_ptr<const ServiceVariant> variant(uint32_t schema, std::string_view service);

  struct Body {
    std::vector<std::byte> head;
    std::vector<transport::Blob> blobs;
    std::shared_ptr<void> hold;
  };
  Body body(const TakeoverBody& saved, ShardCore& core);
  Message message(const TakeoverBody& saved, uint64_t block_at, ShardCore& core);
  transport::Frame frame(const TakeoverFrame& saved, ShardCore& core);

  void fail(std::string what);
  bool failed() const { return error_.has_value(); }
  Status status() const { return error_ ? Status(*error_) : ok_status(); }

 private:
  void map_payload();
  const std::byte* locate(const TakeoverBlob& blob) const;

  std::vector<Fd> fds_;
  std::vector<std::shared_ptr<const message::Schema>> schemas_;
  std::map<std::pair<uint32_t, std::string>, std::shared_ptr<const ServiceVariant>> variants_;
  std::shared_ptr<shm::Mapping> payload_;
  std::optional<Error> error_;
};

abi::Slot to_slot(const SlotBytes& bytes);
SlotBytes from_slot(const abi::Slot& slot);

}  // namespace mrpc::dataplane
