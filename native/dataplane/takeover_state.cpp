#include "dataplane/takeover_state.h"

#include <cstring>
#include <tuple>
#include <type_traits>

namespace mrpc::dataplane {
namespace {

constexpr uint32_t kMagic = 0x544b4f54;  // "TOKT"

// The fields of each record that came with a version, in the order of the wire: the one list that both directions use.
template <typename Record, typename Wanted>
concept Is = std::is_same_v<std::remove_cvref_t<Record>, Wanted>;

auto fields_1(Is<TakeoverAttachment> auto& r) {
  return std::tie(r.id, r.role, r.uid, r.generation, r.pid, r.app, r.principal, r.label, r.send_heap_bytes,
                  r.receive_heap_bytes);
}
auto fields_1(Is<TakeoverService> auto& r) {
  return std::tie(r.attachment, r.handle_base, r.offered, r.service, r.app_filter, r.schema);
}
auto fields_1(Is<TakeoverCall> auto& r) {
  return std::tie(r.shard, r.server_side, r.attachment, r.half_closed, r.app_call, r.link, r.link_call, r.deadline_ns,
                  r.started_ns, r.chain_epoch, r.request_sequence, r.reply_sequence, r.send_credit, r.path, r.server_app);
}
auto fields_1(Is<TakeoverReceiveBlock> auto& r) {
  return std::tie(r.attachment, r.shard, r.offset);
}
auto fields_1(Is<TakeoverEngine> auto& r) {
  return std::tie(r.client, r.path, r.chain, r.policy, r.use, r.evaluations, r.denied, r.saved);
}
auto fields_1(Is<TakeoverPolicy> auto& r) {
  return std::tie(r.name, r.use, r.config);
}
auto fields_1(Is<TakeoverChain> auto& r) {
  return std::tie(r.name, r.client, r.service, r.method, r.policies);
}
auto fields_1(Is<TakeoverPeer> auto& r) {
  return std::tie(r.shard, r.accepted, r.address, r.node);
}
auto fields_1(Is<TakeoverState> auto& r) {
  return std::tie(r.node, r.shards, r.next_attachment, r.next_handle, r.epoch, r.attachments, r.services, r.calls,
                  r.receive_blocks, r.engines, r.chains, r.peers);
}
auto fields_2(Is<TakeoverAttachment> auto& r) {
  return std::tie(r.first_fd, r.has_pidfd, r.accepted_ns, r.schema_bytes, r.handle_count, r.schemas, r.partial_kind,
                  r.partial_request, r.partial_open, r.partial_body);
}
auto fields_2(Is<TakeoverService> auto& r) {
  return std::tie(r.shard, r.schema_index, r.withdrawn);
}
auto fields_2(Is<TakeoverCall> auto& r) {
  return std::tie(r.handle, r.schema_index, r.endpoint, r.endpoint_link, r.local_link, r.counted_client, r.passed, r.tenant, r.metadata,
                  r.rows, r.cells);
}
auto fields_2(Is<TakeoverPolicyState> auto& r) {
  return std::tie(r.chain, r.policy, r.saved);
}
auto fields_2(Is<TakeoverEngine> auto& r) {
  return std::tie(r.shard, r.schema_index);
}
auto fields_2(Is<TakeoverPeer> auto& r) {
  return std::tie(r.link, r.up, r.as_protobuf, r.error, r.services, r.names_brought);
}
auto fields_2(Is<TakeoverSchemaRef> auto& r) {
  return std::tie(r.id, r.schema);
}
auto fields_2(Is<TakeoverBlob> auto& r) {
  return std::tie(r.attachment, r.region, r.offset, r.length);
}
auto fields_2(Is<TakeoverBody> auto& r) {
  return std::tie(r.head, r.blobs, r.hold_attachment, r.hold_offset);
}
auto fields_2(Is<TakeoverFrame> auto& r) {
  return std::tie(r.kind, r.flags, r.code, r.sequence, r.call_id, r.aux, r.body);
}
auto fields_2(Is<TakeoverDelivery> auto& r) {
  return std::tie(r.slot, r.has_message, r.allocated, r.blob, r.body, r.body_block_at, r.caller, r.block_at, r.block_bytes, r.inline_copied,
                  r.blob_offset, r.image_cursor, r.charged_client, r.charged_path, r.charged_bytes, r.pinned_server, r.pinned_bytes,
                  r.ranked, r.level, r.group_kind, r.weight_bits, r.rank_deadline_ns, r.group);
}
auto fields_2(Is<TakeoverSpan> auto& r) {
  return std::tie(r.first_page, r.pages, r.object_bytes, r.free_bits);
}
auto fields_2(Is<TakeoverRun> auto& r) {
  return std::tie(r.first_page, r.pages);
}
auto fields_2(Is<TakeoverPort> auto& r) {
  return std::tie(r.shard, r.attachment, r.submit_head, r.complete_tail, r.spans, r.warm, r.deliveries, r.urgent, r.shown);
}
auto fields_2(Is<TakeoverOutbox> auto& r) {
  return std::tie(r.shard, r.link, r.frames);
}
auto fields_2(Is<TakeoverEdge> auto& r) {
  return std::tie(r.server, r.calls, r.in_flight, r.denied, r.request_bytes, r.reply_bytes, r.latency_sum_ns, r.codes,
                  r.latency_counts);
}
auto fields_2(Is<TakeoverRoute> auto& r) {
  return std::tie(r.shard, r.client, r.service, r.method, r.chain_schemas, r.edges);
}
auto fields_2(Is<TakeoverRemote> auto& r) {
  return std::tie(r.shard, r.schema_index, r.link, r.service, r.app, r.node);
}
auto fields_2(Is<TakeoverTable> auto& r) {
  return std::tie(r.shard, r.server_side, r.generations);
}
auto fields_2(Is<TakeoverOutMessage> auto& r) {
  return std::tie(r.frame, r.id, r.cut_bytes);
}
auto fields_2(Is<TakeoverSegment> auto& r) {
  return std::tie(r.message, r.offset, r.bytes);
}
auto fields_2(Is<TakeoverAssembly> auto& r) {
  return std::tie(r.frame, r.id, r.single, r.head_bytes, r.filled_bytes, r.total_bytes);
}
auto fields_2(Is<TakeoverLink> auto& r) {
  return std::tie(r.id, r.dialed, r.up, r.failure_told, r.has_session, r.address, r.connections_made, r.give_up_at_ns,
                  r.session_high, r.session_low, r.peer_window_bytes, r.peer_message_bytes_max, r.send_started_bytes,
                  r.send_consumed_bytes, r.first, r.next, r.highest, r.peer_ack, r.next_message_id, r.messages, r.segments, r.waiting,
                  r.receive_next, r.receive_started_bytes, r.receive_consumed_bytes, r.assemblies, r.in_segment, r.segment,
                  r.segment_left, r.segment_start, r.fd, r.unread, r.unwritten);
}
auto fields_2(Is<TakeoverTcp> auto& r) {
  return std::tie(r.shard, r.next_id, r.listener_fds, r.links);
}
auto fields_2(Is<TakeoverJoined> auto& r) {
  return std::tie(r.id, r.links);
}
auto fields_2(Is<TakeoverState> auto& r) {
  return std::tie(r.ring_slots, r.next_schema, r.fd_count, r.listener_fd, r.payload_fd, r.layout_version, r.started_ns, r.payload_bytes,
                  r.schemas, r.ports, r.outboxes, r.routes, r.remotes, r.tables, r.tcp, r.joined, r.policy_states);
}
auto fields_3(Is<TakeoverCall> auto& r) {
  return std::tie(r.judged);
}
auto fields_3(Is<TakeoverLink> auto& r) {
  return std::tie(r.features);
}

template <typename Record>
concept In1 = requires(Record& r) { fields_1(r); };
template <typename Record>
concept In2 = requires(Record& r) { fields_2(r); };
template <typename Record>
concept In3 = requires(Record& r) { fields_3(r); };

class Encoder {
 public:
  explicit Encoder(uint32_t version) : version_(version) {}

  template <typename T>
    requires std::is_integral_v<T>
  void put(T value) {
    append(&value, sizeof value);
  }
  template <typename T>
    requires In1<const T> || In2<const T>
  void put(const T& record) {
    const auto each = [this](const auto&... field) { (this->put(field), ...); };
    if constexpr (In1<const T>) std::apply(each, fields_1(record));
    if constexpr (In2<const T>)
      if (version_ >= 2) std::apply(each, fields_2(record));
    if constexpr (In3<const T>)
      if (version_ >= 3) std::apply(each, fields_3(record));
  }
  void put(const SlotBytes& slot) { append(slot.data(), sizeof slot); }
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
  const uint32_t version_;
  std::vector<std::byte> out_;
};

// Stops at the first thing that cannot be; what was read up to there is thrown away by the caller.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : rest_(bytes) {}

  void set_version(uint32_t version) { version_ = version; }
  template <typename T>
    requires std::is_integral_v<T>
  void get(T& value) {
    copy(&value, sizeof value);
  }
  template <typename T>
    requires In1<T> || In2<T>
  void get(T& record) {
    const auto each = [this](auto&... field) { (this->get(field), ...); };
    if constexpr (In1<T>) std::apply(each, fields_1(record));
    if constexpr (In2<T>)
      if (version_ >= 2) std::apply(each, fields_2(record));
    if constexpr (In3<T>)
      if (version_ >= 3) std::apply(each, fields_3(record));
  }
  void get(SlotBytes& slot) { copy(slot.data(), sizeof slot); }
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
  uint32_t version_ = 0;
  bool good_ = true;
};

}  // namespace

std::vector<std::byte> encode_takeover(const TakeoverState& state, uint32_t version) {
  MRPC_ASSERT(version >= 1 && version <= kTakeoverVersion);
  Encoder encoder(version);
  encoder.put(kMagic);
  encoder.put(version);
  encoder.put(state);
  return encoder.take();
}

Result<TakeoverState> decode_takeover(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  uint32_t magic = 0, version = 0;
  decoder.get(magic);
  decoder.get(version);
  if (magic != kMagic) return invalid_argument("not the state of a data plane");
  if (version == 0 || version > kTakeoverVersion)
    return invalid_argument("state of version " + std::to_string(version) + "; this build reads versions 1 to " + std::to_string(kTakeoverVersion));
  decoder.set_version(version);
  TakeoverState state;
  decoder.get(state);
  if (!decoder.finished()) return invalid_argument("truncated or overlong state of a data plane");
  return state;
}

}  // namespace mrpc::dataplane
