// The last calls that a shard has seen, for dry runs: who called what, how it ended, and the request without what is not to be kept.
//
// Left out, and never in the recorder's memory: fields marked debug_redact or named by operators, content of `bytes` fields and of
// segments, fields unknown to the schema, and metadata values that are secrets by their names. A call is begun when it is about to
// be judged, and kept when it has ended. Bounded in calls, in bytes of each, and in calls begun a second; owned by its shard.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status_code.h"
#include "dataplane/directory.h"
#include "message/image.h"

namespace mrpc::dataplane {

// "package.Message.field", and "metadata.key".
using Redactions = std::set<std::string, std::less<>>;

struct RecordedCall {
  std::string client, tenant, server, service, method;
  std::shared_ptr<const ServiceVariant> variant;  // by whose schema the request is laid out
  const message::MethodLayout* layout = nullptr;  // of the variant
  Place place = Place::kBothEnds;
  std::vector<std::byte> metadata;                // packed as in a block; values that are left out are empty
  std::vector<std::string> withheld;              // keys of values that are left out
  bool metadata_withheld = false;                 // all of it: it was too long
  std::vector<std::byte> request;                 // a whole image; empty: it was too long
  uint64_t at_ns = 0, latency_ns = 0, request_bytes = 0;
  StatusCode status = StatusCode::kOk;
  bool denied = false;
  std::string denied_by;  // "chain/policy"
  uint32_t generation = 0;  // of the recorder's configuration by which it was begun
};

struct RecorderConfig {
  uint32_t calls_max = 256;
  double sample = 1.0;
  uint32_t calls_per_s_max = 1000;    // begun; more would cost a shard more than 0.1% of its time
  uint32_t request_bytes_max = 4096;  // of a request's image as recorded, and of its metadata; what is longer is left out
  Redactions redact = {};
};

class Recorder {
 public:
  // Forgets what was recorded if more is to be left out now.
  void configure(RecorderConfig config);
  const RecorderConfig& config() const { return config_; }

  // Whether to begin a record now. `random`: a function that draws 64 bits.
  template <typename Random>
  bool wants(uint64_t now_ns, Random random) {
    if (config_.sample <= 0 || open_ >= config_.calls_max || !spend(now_ns)) return false;
    return config_.sample >= 1 || static_cast<double>(random() >> 11) * 0x1p-53 < config_.sample;
  }
  // Fills in the rest of `call` and counts it as open. `image`: the inline part of a verified image of the request's layout.
  std::unique_ptr<RecordedCall> begin(RecordedCall call, std::span<const std::byte> metadata, std::span<const std::byte> image);
  // It has ended with `status`. Null is allowed: the call was not wanted.
  void end(std::unique_ptr<RecordedCall> call, StatusCode status, uint64_t now_ns);

  using Calls = std::deque<std::shared_ptr<const RecordedCall>>;
  const Calls& calls() const { return calls_; }  // the oldest first

 private:
  bool spend(uint64_t now_ns);

  RecorderConfig config_;
  Calls calls_;
  uint32_t open_ = 0;       // begun and not ended
  uint32_t generation_ = 0;
  uint64_t second_ = 0, begun_in_second_ = 0;
};

// The part of an image that may be recorded, as a whole image. Empty when that is longer than `bytes_max`.
std::vector<std::byte> recordable_image(const message::MessageLayout& layout, std::span<const std::byte> inline_image,
                                        const Redactions& redact, uint64_t bytes_max);

}  // namespace mrpc::dataplane
