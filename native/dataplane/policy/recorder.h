// The last calls that a shard has seen, for dry runs: descriptors and the requests' fields without blobs and without what is to be redacted.
// Bounded by calls and bytes; owned by its shard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dataplane/directory.h"
#include "message/image.h"

namespace mrpc::dataplane {

struct RecordedCall {
  std::string client, tenant, server, service, method;
  std::shared_ptr<const ServiceVariant> variant;  // by whose schema the request is laid out
  std::vector<std::byte> metadata;                // packed; values of `authorization`, `cookie` and "*-bin" keys are left out
  std::vector<std::byte> request;                 // a whole image: bytes fields and what is redacted are empty in it
  uint64_t at_ns = 0, latency_ns = 0, request_bytes = 0;
  uint8_t status = 0;
  bool denied = false;
  std::string denied_by;  // "chain/policy"
};

struct RecorderConfig {
  uint32_t calls_max = 256;
  double sample = 1.0;
  uint32_t request_bytes_max = 4096;  // of a request's image as recorded; longer ones are recorded without it
  std::set<std::string> redact;       // "package.Message.field", besides fields marked debug_redact
};

class Recorder {
 public:
  void configure(RecorderConfig config) { config_ = std::move(config); trim(); }
  // Whether to record this call; `random` is one draw.
  bool wants(uint64_t random) const;
  // `request`: a verified image of `layout` whose segments may be missing.
  void record(RecordedCall call, const message::MessageLayout& layout, message::MessageView request);
  const std::deque<RecordedCall>& calls() const { return calls_; }

 private:
  void trim();
  RecorderConfig config_;
  std::deque<RecordedCall> calls_;
};

}  // namespace mrpc::dataplane
