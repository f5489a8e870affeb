#include "dataplane/policy/recorder.h"

#include <algorithm>
#include <array>

#include "dataplane/message_block.h"

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
constexpr std::array<std::string_view, 6> kSecretKeys = {"authorization", "cookie",    "proxy-authorization",
                                                         "set-cookie",    "x-api-key", "x-auth-token"};

bool is_secret(std::string_view key, const Redactions& redact) {
  if (key.ends_with("-bin") || std::find(kSecretKeys.begin(), kSecretKeys.end(), key) != kSecretKeys.end()) return true;
  return !redact.empty() && redact.find("metadata." + std::string(key)) != redact.end();
}

// Keys stay: policies ask whether there is one.
void keep_metadata(std::span<const std::byte> metadata, const RecorderConfig& config, RecordedCall& call) {
  std::vector<shm::MetadataPair> kept;
  shm::MetadataReader reader(metadata);
  for (shm::MetadataPair pair; reader.next(pair);) {
    if (is_secret(pair.key, config.redact)) {
      pair.value = {};
      call.withheld.emplace_back(pair.key);
    }
    kept.push_back(pair);
  }
  call.metadata_withheld = shm::metadata_bytes(kept) > config.request_bytes_max;
  if (!call.metadata_withheld) call.metadata = pack_metadata(kept);
}

}  // namespace

void Recorder::configure(RecorderConfig config) {
  const bool kept_too_much = !std::includes(config_.redact.begin(), config_.redact.end(), config.redact.begin(), config.redact.end());
  config_ = std::move(config);
  if (kept_too_much) {
    calls_.clear();
    generation_ += 1;
  }
  while (calls_.size() > config_.calls_max) calls_.pop_front();
}

bool Recorder::spend(uint64_t now_ns) {
  if (now_ns / kSecondNs != second_) {
    second_ = now_ns / kSecondNs;
    begun_in_second_ = 0;
  }
  return ++begun_in_second_ <= config_.calls_per_s_max;
}

std::unique_ptr<RecordedCall> Recorder::begin(RecordedCall call, std::span<const std::byte> metadata, std::span<const std::byte> image) {
  open_ += 1;
  call.generation = generation_;
  if (!metadata.empty()) keep_metadata(metadata, config_, call);
  call.request = recordable_image(*call.layout->request, image, config_.redact, config_.request_bytes_max);
  return std::make_unique<RecordedCall>(std::move(call));
}

void Recorder::end(std::unique_ptr<RecordedCall> call, StatusCode status, uint64_t now_ns) {
  if (!call) return;
  MRPC_ASSERT(open_ > 0);
  open_ -= 1;
  if (call->generation != generation_ || config_.calls_max == 0) return;
  call->status = status;
  call->latency_ns = now_ns - call->at_ns;
  if (calls_.size() >= config_.calls_max) calls_.pop_front();
  calls_.push_back(std::move(call));
}

}  // namespace mrpc::dataplane
