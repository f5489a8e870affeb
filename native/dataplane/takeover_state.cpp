#include "dataplane/takeover_state.h"

#include <cstring>
#include <tuple>
#include <type_traits>

namespace mrpc::dataplane {
namespace {

constexpr uint32_t kMagic = 0x544b4f54;  // "TOKT"

// The fields of each record, in the order of the wire: the one list that both directions use.
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverAttachment> {
  return std::tie(r.id, r.role, r.uid, r.generation, r.pid, r.app, r.principal, r.label, r.send_heap_bytes, r.receive_heap_bytes);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverService> {
  return std::tie(r.attachment, r.handle_base, r.offered, r.service, r.app_filter, r.schema);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverCall> {
  return std::tie(r.shard, r.server_side, r.attachment, r.half_closed, r.app_call, r.link, r.link_call, r.deadline_ns, r.started_ns,
                  r.chain_epoch, r.request_sequence, r.reply_sequence, r.send_credit, r.path, r.server_app);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverReceiveBlock> {
  return std::tie(r.attachment, r.shard, r.offset);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverEngine> {
  return std::tie(r.client, r.path, r.chain, r.policy, r.use, r.evaluations, r.denied, r.saved);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverPolicy> {
  return std::tie(r.name, r.use, r.config);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverChain> {
  return std::tie(r.name, r.client, r.service, r.method, r.policies);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverPeer> {
  return std::tie(r.shard, r.accepted, r.address, r.node);
}
auto fields(auto& r) requires std::is_same_v<std::remove_cvref_t<decltype(r)>, TakeoverState> {
  return std::tie(r.node, r.shards, r.next_attachment, r.next_handle, r.epoch, r.attachments, r.services, r.calls, r.receive_blocks,
                  r.engines, r.chains, r.peers);
}

class Encoder {
 public:
  template <typename T>
  void put(const T& value) {
    if constexpr (std::is_integral_v<T>) append(&value, sizeof value);
    else std::apply([this](const auto&... field) { (this->put(field), ...); }, fields(value));
  }
  void put(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    append(text.data(), text.size());
  }
  void put(const std::pair<std::string, std::string>& pair) {
    put(pair.first);
    put(pair.second);
  }
  template <typename T>
  void put(const std::vector<T>& items) {
    put(static_cast<uint32_t>(items.size()));
    for (const T& item : items) put(item);
  }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  void append(const void* data, size_t bytes) {
    const auto* at = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), at, at + bytes);
  }
  std::vector<std::byte> out_;
};

// Stops at the first thing that cannot be; what was read up to there is thrown away by the caller.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  void get(T& value) {
    if constexpr (std::is_integral_v<T>) copy(&value, sizeof value);
    else std::apply([this](auto&... field) { (this->get(field), ...); }, fields(value));
  }
  void get(std::string& text) {
    uint32_t bytes = 0;
    get(bytes);
    if (!check(bytes)) return;
    text.assign(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
  }
  void get(std::pair<std::string, std::string>& pair) {
    get(pair.first);
    get(pair.second);
  }
  template <typename T>
  void get(std::vector<T>& items) {
    uint32_t count = 0;
    get(count);
    if (!check(count)) return;  // every item takes a byte at least, so a short input cannot ask for much memory
    for (uint32_t i = 0; i < count && good_; ++i) get(items.emplace_back());
  }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  bool check(size_t bytes) { return good_ = good_ && bytes <= rest_.size(); }
  void copy(void* into, size_t bytes) {
    if (!check(bytes)) return;
    std::memcpy(into, rest_.data(), bytes);
    rest_ = rest_.subspan(bytes);
  }
  std::span<const std::byte> rest_;
  bool good_ = true;
};

}  // namespace

std::vector<std::byte> encode_takeover(const TakeoverState& state) {
  Encoder encoder;
  encoder.put(kMagic);
  encoder.put(kTakeoverVersion);
  encoder.put(state);
  return encoder.take();
}

Result<TakeoverState> decode_takeover(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  uint32_t magic = 0, version = 0;
  decoder.get(magic);
  decoder.get(version);
  if (magic != kMagic) return invalid_argument("not the state of a data plane");
  if (version != kTakeoverVersion)
    return invalid_argument("state of version " + std::to_string(version) + "; this build reads version " + std::to_string(kTakeoverVersion));
  TakeoverState state;
  decoder.get(state);
  if (!decoder.finished()) return invalid_argument("truncated or overlong state of a data plane");
  return state;
}

}  // namespace mrpc::dataplane
