#include "dataplane/shard_core.h"

#include <cstring>

#include "transport/session/packer.h"

namespace mrpc::dataplane {
namespace {

Error breach(const std::string& text) { return {StatusCode::kInternal, text}; }

}  // namespace

ShardCore::ShardCore(uint32_t index_, const Config& config_, World& world_, const EngineCatalog& catalog_)
    : index(index_), config(config_), world(world_), catalog(catalog_), local_({config_.node}) {
  const auto link = local_.connect("local:");
  MRPC_ASSERT(link.ok());
  local_client_end = *link;
  local_server_end = transport::LocalTransport::other_end(*link);
}

Port* ShardCore::find_port(uint32_t id) {
  const auto at = ports_.find(id);
  return at == ports_.end() ? nullptr : at->second.get();
}

Route& ShardCore::route(const std::string& client, const std::string& service, const std::string& method) {
  const std::string path = "/" + service + "/" + method;
  auto& slot = routes[{client, path}];
  if (!slot) {
    slot = std::make_unique<Route>();
    slot->client = client;
    slot->service = service;
    slot->method = method;
    slot->path = path;
  }
  return *slot;
}

std::shared_ptr<Chain> ShardCore::chain_for(Route& route, const ServiceVariant& variant, const message::MethodLayout& method, Place place) {
  auto& chain = route.chains[{variant.fingerprint(), place}];
  if (chain && chain->revision() == chains->revision) return chain;
  const RouteInfo info{route.client, route.service, route.method};
  auto compiled = Chain::compile(*chains, catalog, info, place, {variant.schema, &method, variant.fingerprint()}, index);
  // What does not fit a schema that came after the policy was applied fails closed.
  auto made = compiled ? *compiled : Chain::refusing(chains->revision, compiled.error());
  if (chain) made->adopt(*chain);
  chain = made;
  return chain;
}

void ShardCore::end_policies(JudgedCall& ended, uint32_t denier) {
  CallState& state = ended.state;
  for (const ReplyClaim& claim : state.claims) {
    if (claim.leads) try_again(claim.store->abandon(claim.key, ended.key));
    else claim.store->stop_waiting(claim.key, ended.key);
  }
  state.claims.clear();
  if (state.passed != 0 && state.chain->wants_end()) state.chain->end(ended, denier);
}

uint64_t ShardCore::unix_ns() {
  if (unix_at_ns_ != now_ns || unix_ns_ == 0) {
    unix_ns_ = world.unix_ns();
    unix_at_ns_ = now_ns;
  }
  return unix_ns_;
}

std::unique_ptr<RecordedCall> ShardCore::record(const Route& route, std::string_view tenant, const Endpoint& endpoint, Place place,
                                                const message::MethodLayout& method, const Message& request) {
  if (!recorder.wants(now_ns, [this] { return world.random(); })) return nullptr;
  RecordedCall call;
  call.client = route.client;
  call.tenant = tenant;
  call.server = endpoint.app;
  call.service = route.service;
  call.method = route.method;
  call.variant = endpoint.variant;
  call.layout = &method;
  call.place = place;
  call.at_ns = now_ns;
  call.request_bytes = request.header.image_bytes;
  return recorder.begin(std::move(call), request.metadata(), request.inline_image());
}

void ShardCore::end_record(std::unique_ptr<RecordedCall> record, const Chain* chain, StatusCode code, uint32_t denier) {
  if (!record) return;
  record->denied = denier != Chain::kNobody;
  if (record->denied && chain != nullptr && denier < chain->stages().size())
    record->denied_by = chain->stages()[denier].chain + "/" + chain->stages()[denier].policy;
  recorder.end(std::move(record), code, now_ns);
}

Result<Message> ShardCore::take_block(Port& port, const abi::Slot& slot, size_t prefix_bytes) {
  const bool held = (slot.flags & abi::kHold) != 0;
  std::shared_ptr<void> hold;
  if (held) hold = hold_block(port, slot.offset);
  const std::byte* at = port.send_bytes(slot.offset, slot.length);
  if (at == nullptr || slot.region != abi::kSendRegion) return breach("a descriptor points outside the send heap");
  if (slot.offset % abi::kBlobAlign != 0 || slot.length < sizeof(abi::BlockHeader)) return breach("a descriptor names no block");
  if (slot.length > abi::kIntakeBytesMax && !held) return breach("a large block was sent without kHold");
  if (slot.length > block_bytes_max())
    return resource_exhausted("message of " + std::to_string(slot.length) + " bytes is over the limit of " +
                              std::to_string(config.message_bytes_max) + "; raise mrpcd's limit or send less");
  std::vector<std::byte> bytes = std::move(port.fetched);
  if (bytes.empty()) {
    bytes.resize(prefix_bytes + slot.length);
    std::memcpy(bytes.data() + prefix_bytes, at, slot.length);
  }
  MRPC_ASSERT(bytes.size() == prefix_bytes + slot.length);
  auto message = parse_block(std::move(bytes), prefix_bytes, config.block_limits());
  if (!message) return message.error().code == StatusCode::kResourceExhausted ? message.error() : breach(message.error().text);
  if (!message->segments.empty() && !held) return breach("segments were sent without kHold");
  for (const abi::Segment& segment : message->segments) {
    const std::byte* data = port.segment_bytes(segment);
    if (data == nullptr) return breach("a segment points outside the memory that its sender may name");
    message->blobs.push_back({data, segment.length});
  }
  if (!message->segments.empty()) message->hold = std::move(hold);  // else the last byte has been read
  return message;
}

Status ShardCore::send(transport::LinkId link, transport::Frame&& frame) {
  const auto outbox = outboxes_.find(link);
  const uint64_t bytes = frame.head.size();
  if (outbox != outboxes_.end() && frame.kind != transport::FrameKind::kAnnounce) {
    if (const auto before = outbox->second.preparing.find(frame.call_id); before != outbox->second.preparing.end()) {
      before->second.push_back(std::make_shared<Outgoing>(Outgoing{std::move(frame), bytes}));
      outbox->second.bytes += bytes;
      return ok_status();
    }
  }
  if (outbox == outboxes_.end() || outbox->second.frames.empty()) {
    switch (transport_of(link).send(link & ~kTcpLink, std::move(frame))) {
      case transport::SendResult::kSent: return ok_status();
      case transport::SendResult::kClosed: return unavailable("the link to the peer daemon is down; call again");
      case transport::SendResult::kTooLarge: return over_peer_limit();
      case transport::SendResult::kBlocked: break;
    }
  }
  outboxes_[link].push(std::make_shared<Outgoing>(Outgoing{std::move(frame), bytes}));
  return ok_status();
}

Status ShardCore::send(transport::LinkId link, transport::Frame&& frame, Message&& message, const std::shared_ptr<const ServiceVariant>& variant,
                       const message::MessageLayout& layout, const std::string& judged) {
  const bool protobuf = !protobuf_links.empty() && protobuf_links.count(link) != 0;
  const auto reword = [protobuf, judged, &layout](Message& prepared) {
    if (!judged.empty()) say_judged(prepared, judged);
    if (protobuf) into_protobuf(prepared, layout);
  };
  if (protobuf) frame.flags |= transport::kProtobuf;
  const bool changes = protobuf || !judged.empty();
  const bool packs = frame.compression != 0 && message.header.image_bytes > transport::kChunkBytes &&
                     transport_of(link).compresses(link & ~kTcpLink);
  if (!packs && (!changes || !is_long(message, protobuf))) {
    if (changes) reword(message);
    into_frame(std::move(message), frame);
    return send(link, std::move(frame));
  }
  auto outgoing = std::make_shared<Outgoing>(Outgoing{std::move(frame), message.header.image_bytes, std::move(message)});
  // What holds the message's blobs is let go of here, whatever becomes of the message there.
  auto packer = std::make_shared<std::optional<transport::Packer>>();
  prepare(link, outgoing, [reword, changes, packs, outgoing, variant, packer, hold = outgoing->message->hold] {
    if (!*packer) {
      if (changes) reword(*outgoing->message);
      into_frame(std::move(*outgoing->message), outgoing->frame);
      if (!packs) return true;
      packer->emplace(std::move(outgoing->frame));
    }
    if (!(*packer)->work()) return false;
    outgoing->frame = (*packer)->take();
    return true;
  });
  return ok_status();
}

void ShardCore::prepare(transport::LinkId link, std::shared_ptr<Outgoing> outgoing, std::function<bool()> piece) {
  const uint64_t call = outgoing->frame.call_id;
  Outbox& outbox = outboxes_[link];
  outbox.bytes += outgoing->bytes;
  outbox.preparing[call].push_back(outgoing);
  run_long_by_pieces(std::move(piece), [this, link, call, outgoing] {
    outgoing->message.reset();
    if (const auto known = outboxes_.find(link); known != outboxes_.end()) known->second.settle(call);
  });
}

Status ShardCore::check_payload(transport::LinkId link, uint8_t frame_flags) const {
  const bool image = (frame_flags & (transport::kHasMessage | transport::kProtobuf)) == transport::kHasMessage;
  if (image && protobuf_links.count(link) != 0) return invalid_argument("an image of another layout version; protobuf bytes were due");
  return ok_status();
}

bool ShardCore::link_congested(transport::LinkId link) const {
  const auto outbox = outboxes_.find(link);
  if (outbox == outboxes_.end()) return false;
  return outbox->second.bytes > config.parked_bytes_max || outbox->second.frames.size() > config.parked_calls_max;
}

bool ShardCore::pump_outboxes() {
  bool moved = false;
  std::vector<LinkCall> unsent;
  for (auto at = outboxes_.begin(); at != outboxes_.end();) {
    auto& [link, outbox] = *at;
    while (!outbox.frames.empty()) {
      transport::Frame& frame = outbox.frames.front()->frame;
      const transport::SendResult sent = transport_of(link).send(link & ~kTcpLink, std::move(frame));
      if (sent == transport::SendResult::kBlocked) break;
      // The peer's limit was not looked at when the frame came to wait: its session may have begun since.
      const bool lost = sent == transport::SendResult::kTooLarge && (frame.flags & transport::kHasMessage) != 0;
      if (lost) unsent.push_back({link, frame.call_id});
      outbox.pop();
      if (lost) outbox.drop(unsent.back().call);
      moved = true;
    }
    at = outbox.empty() ? outboxes_.erase(at) : std::next(at);
  }
  for (const LinkCall& call : unsent) on_unsent(call.link, call.call);
  return moved;
}

void ShardCore::Outbox::settle(uint64_t call) {
  const auto known = preparing.find(call);
  if (known == preparing.end()) return;
  auto& queue = known->second;
  for (; !queue.empty() && !queue.front()->message; queue.pop_front()) frames.push_back(std::move(queue.front()));
  if (queue.empty()) preparing.erase(known);
}

// What `call` still has to say, but that it is cancelled: its other end may know of it.
void ShardCore::Outbox::drop(uint64_t call) {
  const auto drops = [&](const auto& outgoing) {
    const transport::Frame& frame = outgoing->frame;  // which the other thread writes while there is a message
    const bool stays = !outgoing->message && (frame.call_id != call || frame.kind == transport::FrameKind::kCancel || frame.kind == transport::FrameKind::kAnnounce);
    if (!stays) bytes -= outgoing->bytes;
    return !stays;
  };
  std::erase_if(frames, drops);
  if (const auto known = preparing.find(call); known != preparing.end()) {
    std::erase_if(known->second, drops);
    settle(call);
  }
}

void ShardCore::run_long(std::function<void()> work, std::function<void()> done) {
  run_long_by_pieces([work = std::move(work)] { return work(), true; }, std::move(done));
}

void ShardCore::run_long_by_pieces(std::function<bool()> piece, std::function<void()> done) {
  counters.long_jobs += 1;
  long_running_ += 1;
  run_piece(std::make_shared<LongJob>(LongJob{std::move(piece), std::move(done)}));
}

void ShardCore::run_piece(std::shared_ptr<LongJob> job) {
  // The job moves on with the command: the last hold of a message must not be dropped on the other thread.
  world.run_long([this, job = std::move(job)]() mutable {
    if (!job->piece()) return run_piece(std::move(job));
    post([this, job = std::move(job)] {
      long_running_ -= 1;
      job->done();
    });
  });
}

void ShardCore::run_long(Port& port, std::function<void()> work, std::function<void(Port&)> done) {
  port.long_jobs += 1;
  run_long([work = std::move(work), keep = port.shared_attachment()] { work(); }, [this, id = port.id(), done = std::move(done)] {
    Port* still = find_port(id);
    if (still == nullptr) return;
    still->long_jobs -= 1;
    ring(id);
    done(*still);
  });
}

void ShardCore::run_long(LinkCall key, uint64_t bytes, std::function<void()> work, std::function<void()> done) {
  const uint64_t ticket = ++checking_ticket_;
  checking_.insert_or_assign(key, Checking{ticket, {}});
  checking_bytes_ += bytes;
  run_long(std::move(work), [this, key, ticket, bytes, done = std::move(done)] {
    checking_bytes_ -= bytes;
    const auto known = checking_.find(key);
    if (known == checking_.end() || known->second.ticket != ticket) return;
    auto later = std::move(known->second.later);
    checking_.erase(known);
    done();
    for (transport::Frame& frame : later) {
      checking_bytes_ -= frame.head.size();
      on_frame(key.link, std::move(frame));
    }
  });
}

bool ShardCore::hold_back(transport::LinkId link, transport::Frame& frame) {
  if (checking_.empty()) return false;
  const auto known = checking_.find({link, frame.call_id});
  if (known == checking_.end()) return false;
  checking_bytes_ += frame.head.size();
  known->second.later.push_back(std::move(frame));
  return true;
}

void ShardCore::forget_held(transport::LinkId link) {
  std::erase_if(checking_, [&](const auto& entry) {
    if (entry.first.link != link) return false;
    for (const transport::Frame& frame : entry.second.later) checking_bytes_ -= frame.head.size();
    return true;
  });
}

// Tells senders which of their held blocks have been read to the end.
void ShardCore::return_released_blocks() {
  for (const Released& block : *released_) {
    Port* port = find_port(block.port);
    if (port == nullptr) continue;
    abi::Slot slot{};
    slot.kind = static_cast<uint8_t>(abi::SlotKind::kReclaim);
    slot.region = abi::kSendRegion;
    slot.offset = block.offset;
    slot.aux = 1;
    port->deliver_urgent(slot);
    touch(*port);
  }
  released_->clear();
}

}  // namespace mrpc::dataplane
