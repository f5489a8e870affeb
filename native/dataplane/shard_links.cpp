// A shard's links to other daemons. Each of a daemon's shards has a link of its own to each peer that it was told to join.
//
// ANNOUNCEMENTS: the accepting side tells the connecting side which services its applications offer, one kAnnounce frame each:
//   u8 op (1 offers, 2 no longer), u8[3] zero, u32 service_bytes, u32 app_bytes, u32 schema_bytes, service, app, schema
// where schema is a serialised FileDescriptorSet, empty for op 2. Calls run from the connecting side only, so a daemon
// that is to be called and to call joins, and is joined.
#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "dataplane/shard.h"

namespace mrpc::dataplane {
namespace {

struct AnnounceHead {
  uint8_t op;
  uint8_t zero[3];
  uint32_t service_bytes, app_bytes, schema_bytes;
};
static_assert(sizeof(AnnounceHead) == 16);

void append(std::vector<std::byte>& out, std::span<const std::byte> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

}  // namespace

transport::Transport& Shard::transport_of(transport::LinkId link) {
  if ((link & kTcpLink) != 0) {
    MRPC_ASSERT(remote_ != nullptr);
    return *remote_;
  }
  return local_;
}

Status Shard::ensure_remote() {
  if (remote_) return ok_status();
  transport::TcpOptions options;
  options.node_name = config.node;
  options.layout_version = config.layout_version;
  options.shard = index;
  options.peer_shard = index;
  options.receive.message_bytes_max = config.message_bytes_max + abi::kDetailsBytesMax + (1u << 20);
  options.resume_timeout_ns = 3'000'000'000;  // a daemon that restarts is back sooner; callers of one that died should not wait longer
  options.hand_over = hand_over_;
  auto made = transport::TcpTransport::create(std::move(options));
  if (!made) return made.error();
  tcp_ = made->get();
  remote_ = std::move(*made);
  return ok_status();
}

Result<std::string> Shard::listen(const std::string& address) {
  if (Status ready = ensure_remote(); !ready) return ready.error();
  return remote_->listen(address);
}

Result<uint64_t> Shard::connect_peer(const std::string& address) {
  if (Status ready = ensure_remote(); !ready) return ready.error();
  const auto link = remote_->connect(address);
  if (!link) return link.error();
  Peer peer;
  peer.id = *link;
  peer.address = address;
  peer.link = *link | kTcpLink;
  peer.error = "connecting";
  const auto key = peer.link;
  peers_.emplace(key, std::move(peer));
  return *link;
}

void Shard::remove_peer(uint64_t id) {
  const auto link = id | kTcpLink;
  if (peers_.count(link) == 0) return;
  on_link_down(link, "removed by the operator");
  remote_->close(id);
  peers_.erase(link);
}

void Shard::adopt(int fd, std::vector<std::byte> received) {
  if (!ensure_remote() || tcp_ == nullptr) {
    ::close(fd);
    return;
  }
  tcp_->adopt(fd, std::move(received));
}

std::vector<PeerView> Shard::peers() const {
  std::vector<PeerView> views;
  for (const auto& [link, peer] : peers_) views.push_back(peer);
  return views;
}

void Shard::on_remote_event(transport::Event&& event) {
  const auto link = event.link | kTcpLink;
  switch (event.kind) {
    case transport::Event::Kind::kUp: return on_link_up(link, event);
    case transport::Event::Kind::kFrame: return on_frame(link, std::move(event.frame));
    case transport::Event::Kind::kDown: {
      if (event.error) on_link_down(link, event.error->text);  // else it was closed here, and that has been dealt with
      if (const auto peer = peers_.find(link); peer != peers_.end() && peer->second.accepted) peers_.erase(peer);
      return;
    }
  }
}

void Shard::on_link_up(transport::LinkId link, const transport::Event& event) {
  Peer& peer = peers_[link];
  peer.id = event.link;
  peer.link = link;
  peer.up = true;
  peer.accepted = event.accepted;
  peer.node = event.peer;
  peer.error.clear();
  if (event.peer_layout == config.layout_version) protobuf_links.erase(link);
  else protobuf_links.insert(link);
  observer_.on_event("peer_up", peer.node, "", peer.accepted ? "joined us" : "joined " + peer.address);
  if (!peer.accepted) return;
  for (const auto& [name, entry] : directory.entries())
    for (const auto& endpoint : entry->endpoints)
      if (!endpoint->remote() && !endpoint->hidden) announce(link, true, endpoint->app, *endpoint->variant->layout, *endpoint->variant->schema);
}

void Shard::on_link_down(transport::LinkId link, const std::string& reason) {
  const auto known = peers_.find(link);
  if (known == peers_.end()) return;
  Peer& peer = known->second;
  outboxes_.erase(link);
  forget_held(link);
  protobuf_links.erase(link);
  directory.remove_link(link);
  if (peer.accepted) servers_.on_link_down(link);
  else clients_.on_link_down(link, reason);
  if (std::exchange(peer.up, false)) observer_.on_event("peer_down", peer.node, "", reason);
  peer.services.clear();
  peer.error = reason;
}

void Shard::announce(transport::LinkId link, bool offered, const std::string& app, const message::ServiceLayout& service,
                     const message::Schema& schema) {
  const auto schema_bytes = offered ? schema.serialized() : std::span<const std::byte>{};
  const AnnounceHead head{static_cast<uint8_t>(offered ? 1 : 2), {}, static_cast<uint32_t>(service.full_name.size()),
                          static_cast<uint32_t>(app.size()), static_cast<uint32_t>(schema_bytes.size())};
  transport::Frame frame;
  frame.kind = transport::FrameKind::kAnnounce;
  append(frame.head, std::as_bytes(std::span(&head, 1)));
  append(frame.head, std::as_bytes(std::span(service.full_name)));
  append(frame.head, std::as_bytes(std::span(app)));
  append(frame.head, schema_bytes);
  (void)send(link, std::move(frame));  // a link that is gone is told everything anew when it is back
}

void Shard::announce_everywhere(bool offered, const Endpoint& endpoint) {
  // Peers know apps, not attachments: a service is gone when the last process of its app is.
  const auto& siblings = directory.entry(endpoint.variant->layout->full_name).endpoints;
  const auto same_app = [&](const auto& other) { return other.get() != &endpoint && !other->remote() && !other->hidden && other->app == endpoint.app; };
  if (!offered && std::any_of(siblings.begin(), siblings.end(), same_app)) return;
  for (const auto& [link, peer] : peers_)
    if (peer.up && peer.accepted) announce(link, offered, endpoint.app, *endpoint.variant->layout, *endpoint.variant->schema);
}

void Shard::on_announcement(transport::LinkId link, std::span<const std::byte> bytes) {
  Peer& peer = peers_.at(link);
  AnnounceHead head;
  if (peer.accepted || bytes.size() < sizeof head) return;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (uint64_t{head.service_bytes} + head.app_bytes + head.schema_bytes != bytes.size() - sizeof head) return;
  const char* text = reinterpret_cast<const char*>(bytes.data()) + sizeof head;
  const std::string service = printable({text, head.service_bytes}), app = printable({text + head.service_bytes, head.app_bytes});
  ServiceEntry* known = directory.find(service);
  if (known != nullptr) {
    std::erase_if(known->endpoints, [&](const auto& endpoint) { return endpoint->remote() && endpoint->link == link && endpoint->app == app; });
    std::erase(peer.services, service);
  }
  if (head.op != 1) return;
  peer.names_brought += known == nullptr;
  if (!has_room_for(peer, head.schema_bytes)) return refuse_peer(peer, "it announces more services than a peer may");
  auto schema = message::Schema::parse(bytes.last(head.schema_bytes));
  if (!schema || (*schema)->service(service) == nullptr)
    return observer_.on_event("refused", peer.node, service, "announced with a schema that cannot be used");
  auto endpoint = std::make_shared<Endpoint>();
  endpoint->link = link;
  endpoint->app = app;
  endpoint->node = peer.node;
  ServiceEntry& entry = directory.entry(service);
  endpoint->variant = variant_of(entry, *schema);
  hide_uncovered(*endpoint);
  entry.endpoints.push_back(std::move(endpoint));
  peer.services.push_back(service);
}

bool Shard::has_room_for(const Peer& peer, uint64_t schema_bytes) {
  if (peer.names_brought > config.peer_services_max || peer.services.size() >= config.peer_services_max) return false;
  for (const std::string& service : peer.services)
    for (const auto& endpoint : directory.entry(service).endpoints)
      if (endpoint->link == peer.link) schema_bytes += endpoint->variant->schema->serialized().size();
  return schema_bytes <= config.peer_schema_bytes_max;
}

// Not joined again until an operator says so.
void Shard::refuse_peer(Peer& peer, const std::string& text) {
  observer_.on_event("refused", peer.node, "", text);
  remote_->close(peer.id);
  on_link_down(peer.link, "refused: " + text);
}

std::shared_ptr<const message::Schema> Shard::schema_of(const std::string& service) {
  const ServiceEntry* entry = directory.find(service);
  return entry == nullptr || entry->endpoints.empty() ? nullptr : entry->endpoints.back()->variant->schema;
}

}  // namespace mrpc::dataplane
