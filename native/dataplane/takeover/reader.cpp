#include "dataplane/takeover/reader.h"

#include <cstring>

namespace mrpc::dataplane {

static_assert(sizeof(SlotBytes) == sizeof(abi::Slot));

abi::Slot to_slot(const SlotBytes& bytes) {
  abi::Slot slot;
  std::memcpy(&slot, bytes.data(), sizeof slot);
  return slot;
}

SlotBytes from_slot(const abi::Slot& slot) {
  SlotBytes bytes;
  std::memcpy(bytes.data(), &slot, sizeof slot);
  return bytes;
}

TakeoverReader::TakeoverReader(TakeoverState state_, std::vector<Fd> fds) : state(std::move(state_)), fds_(std::move(fds)) {
  if (fds_.size() != state.fd_count) fail("its descriptors did not all come");
  for (const std::string& bytes : state.schemas) {
    auto schema = message::Schema::parse(std::as_bytes(std::span(bytes)));
    if (!schema) fail("a schema: " + schema.error().text);
    schemas_.push_back(schema ? *schema : nullptr);
  }
  if (state.payload_bytes != 0 && !failed()) map_payload();
}

void TakeoverReader::map_payload() {
  const Fd fd = take_fd(state.payload_fd);
  if (!fd || !shm::check_region(fd.get(), state.payload_bytes)) return fail("the payload");
  auto mapped = shm::Mapping::map(fd.get(), state.payload_bytes, shm::Access::kReadWrite);
  if (!mapped) return fail(mapped.error().text);
  payload_ = std::make_shared<shm::Mapping>(std::move(*mapped));
}

void TakeoverReader::fail(std::string what) {
  if (!error_) error_ = invalid_argument("the predecessor's state cannot be: " + std::move(what));
}

Fd TakeoverReader::take_fd(uint32_t index) { return index < fds_.size() ? std::move(fds_[index]) : Fd(); }

std::shared_ptr<const message::Schema> TakeoverReader::schema(uint32_t index) const {
  return index < schemas_.size() ? schemas_[index] : nullptr;
}

std::shared_ptr<const ServiceVariant> TakeoverReader::variant(uint32_t schema_index, std::string_view service) {
  auto& known = variants_[{schema_index, std::string(service)}];
  if (known) return known;
  const auto from = schema(schema_index);
  const message::ServiceLayout* layout = from ? from->service(std::string(service)) : nullptr;
  if (layout == nullptr) return fail("a schema without service '" + std::string(service) + "'"), nullptr;
  known = std::make_shared<ServiceVariant>(ServiceVariant{from, layout});
  return known;
}

const std::byte* TakeoverReader::locate(const TakeoverBlob& blob) const {
  const std::byte* start = nullptr;
  uint64_t bytes = 0;
  const auto owner = attachments.find(blob.attachment);
  if (blob.attachment == 0 && payload_) {
    start = payload_->data();
    bytes = payload_->size();
  } else if (owner != attachments.end()) {
    const bool sent = blob.region == abi::kSendRegion;
    start = sent ? owner->second->send_heap() : owner->second->receive_heap();
    bytes = sent ? owner->second->send_heap_bytes() : owner->second->receive_heap_bytes();
  }
  return start != nullptr && blob.offset <= bytes && blob.length <= bytes - blob.offset ? start + blob.offset : nullptr;
}

TakeoverReader::Body TakeoverReader::body(const TakeoverBody& saved, ShardCore& core) {
  Body made;
  const auto head = std::as_bytes(std::span(saved.head));
  made.head.assign(head.begin(), head.end());
  for (const TakeoverBlob& blob : saved.blobs) {
    const std::byte* at = locate(blob);
    if (at == nullptr) return fail("bytes outside their memory"), Body{};
    made.blobs.push_back({at, blob.length});
  }
  Port* holder = saved.hold_attachment == 0 ? nullptr : core.find_port(saved.hold_attachment);
  if (saved.hold_attachment != 0 && holder == nullptr) return fail("a held block of nobody"), Body{};
  if (holder != nullptr) made.hold = core.hold_block(*holder, saved.hold_offset);
  else if (!saved.blobs.empty() && saved.blobs.front().attachment == 0) made.hold = payload_;
  return made;
}

Message TakeoverReader::message(const TakeoverBody& saved, uint64_t block_at, ShardCore& core) {
  Body parts = body(saved, core);
  if (failed() || block_at > parts.head.size()) return fail("a message shorter than its prefix"), Message{};
  auto message = parse_block(std::move(parts.head), block_at, {UINT64_MAX, UINT32_MAX});
  if (!message) return fail("a message: " + message.error().text), Message{};
  message->blobs = std::move(parts.blobs);
  message->hold = std::move(parts.hold);
  return std::move(*message);
}

transport::Frame TakeoverReader::frame(const TakeoverFrame& saved, ShardCore& core) {
  transport::Frame made;
  made.kind = static_cast<transport::FrameKind>(saved.kind);
  made.flags = static_cast<uint8_t>(saved.flags);
  made.code = static_cast<uint8_t>(saved.code);
  made.sequence = saved.sequence;
  made.call_id = saved.call_id;
  made.aux = saved.aux;
  Body parts = body(saved.body, core);
  made.head = std::move(parts.head);
  made.blobs = std::move(parts.blobs);
  made.hold = std::move(parts.hold);
  return made;
}

}  // namespace mrpc::dataplane
