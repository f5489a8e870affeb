#include "transport/fake/fake.h"

#include <algorithm>
#include <cstring>

namespace mrpc::transport {

// ---- network -------------------------------------------------------------------------------------------

uint64_t FakeNetwork::random() {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return state_ * 0x2545f4914f6cdd1dull;
}

FakeNetwork::Port FakeNetwork::open_port(FakeTransport& owner) {
  owners_[next_port_] = &owner;
  return next_port_++;
}

void FakeNetwork::send(uint64_t now_ns, const Datagram& datagram) {
  const int copies = random() % 1000 < faults_.duplicate_per_mille ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const bool lost = random() % 1000 < faults_.loss_per_mille;
    const uint64_t delay_ns = faults_.delay_min_ns + random() % (faults_.delay_max_ns - faults_.delay_min_ns + 1);
    const auto owner = owners_.find(datagram.to);
    if (!lost && !cut_ && owner != owners_.end()) inboxes_[owner->second].emplace(now_ns + delay_ns, datagram);
  }
}

// ---- links ---------------------------------------------------------------------------------------------

FakeTransport::~FakeTransport() {
  std::erase_if(network_.owners_, [this](const auto& entry) { return entry.second == this; });
  std::erase_if(network_.listeners_, [this](const auto& entry) { return listening_.contains(entry.second); });
  network_.inboxes_.erase(this);
}

FakeTransport::Link* FakeTransport::find(LinkId id) {
  const auto at = links_.find(id);
  return at != links_.end() ? &at->second : nullptr;
}

FakeTransport::Link* FakeTransport::find_by_port(Port port) {
  const auto at = std::find_if(links_.begin(), links_.end(), [&](const auto& e) { return e.second.port == port && !e.second.finished; });
  return at != links_.end() ? &at->second : nullptr;
}

Result<LinkId> FakeTransport::connect(const std::string& address) {
  if (!address.starts_with("fake:")) return invalid_argument("'" + address + "' is not a fake address; write fake:NAME");
  const LinkId id = next_link_++;
  Link& link = links_[id];
  link.id = id;
  link.dialed = true;
  link.target = address;
  dirty_ = true;
  return id;
}

Result<std::string> FakeTransport::listen(const std::string& address) {
  if (!address.starts_with("fake:")) return invalid_argument("'" + address + "' is not a fake address; write fake:NAME");
  const Port port = network_.open_port(*this);
  if (!network_.listeners_.emplace(address, port).second) return Error{StatusCode::kAlreadyExists, address + " is taken"};
  listening_.insert(port);
  return address;
}

SendResult FakeTransport::send(LinkId id, Frame&& frame) {
  Link* link = find(id);
  if (link == nullptr || link->closing || link->finished) return SendResult::kClosed;
  if (!link->session) return SendResult::kBlocked;
  const SendResult result = link->session->out.push(std::move(frame));
  dirty_ = dirty_ || result == SendResult::kSent;
  return result;
}

bool FakeTransport::writable(LinkId id) const {
  const auto at = links_.find(id);
  return at != links_.end() && !at->second.closing && at->second.session && at->second.session->out.has_room();
}

void FakeTransport::close(LinkId id) {
  Link* link = find(id);
  if (link == nullptr || link->closing || link->finished) return;
  link->closing = true;
  link->up = false;
  push_event(*link, Event{.kind = Event::Kind::kDown, .link = id, .accepted = !link->dialed});
  if (!link->session) finish(*link);
  dirty_ = true;
}

void FakeTransport::finish(Link& link) {
  if (link.peer_port != 0) ended_peers_.insert(link.peer_port);
  link.session.reset();
  link.finished = true;
}

void FakeTransport::start_session(Link& link, SessionId id, const ParsedHello& peer) {
  link.session = std::make_unique<Session>(id, options_.send, options_.receive, peer.hello);
  link.up = true;
  link.failure_told = false;
  link.acknowledged = 0;
  link.heard_ns = now_ns_;
  link.retry_at_ns = now_ns_ + retransmit_ns();
  link.ping_at_ns = now_ns_ + options_.ping_idle_ns;
  Event event{.kind = Event::Kind::kUp, .link = link.id, .accepted = !link.dialed};
  event.peer = peer.node_name;
  event.peer_layout = peer.hello.layout_version;
  push_event(link, std::move(event));
}

void FakeTransport::end_session(Link& link, Error error) {
  if (link.closing) return finish(link);
  if (link.up) {
    link.up = false;
    link.failure_told = true;
    Event event{.kind = Event::Kind::kDown, .link = link.id, .accepted = !link.dialed};
    event.error = std::move(error);
    push_event(link, std::move(event));
  }
  if (!link.dialed) return finish(link);
  if (link.peer_port != 0) ended_peers_.insert(link.peer_port);
  link.session.reset();
  link.early.clear();
  link.port = link.peer_port = 0;
  link.retry_at_ns = now_ns_ + options_.retry_ns;
}

// ---- datagrams -----------------------------------------------------------------------------------------

void FakeTransport::send_bytes(const Link& link, std::vector<std::byte> bytes) {
  network_.send(now_ns_, {.from = link.port, .to = link.peer_port, .bytes = std::move(bytes)});
}

void FakeTransport::send_header(Link& link, WireType type) {
  const WireHeader header = link.session->plain(type);
  std::vector<std::byte> bytes(sizeof header);
  std::memcpy(bytes.data(), &header, sizeof header);
  send_bytes(link, std::move(bytes));
}

WireHello FakeTransport::own_hello(SessionId id) const {
  WireHello hello;
  hello.version = kWireVersion;
  hello.layout_version = options_.layout_version;
  hello.session = id;
  hello.window_bytes = options_.receive.window_bytes;
  hello.message_bytes_max = options_.receive.message_bytes_max;
  return hello;
}

void FakeTransport::say_hello(Link& link) {
  link.retry_at_ns = now_ns_ + options_.retry_ns;
  const auto listener = network_.listeners_.find(link.target);
  if (listener == network_.listeners_.end()) {
    if (std::exchange(link.failure_told, true)) return;
    Event event{.kind = Event::Kind::kDown, .link = link.id};
    event.error = unavailable("nobody listens at " + link.target);
    return push_event(link, std::move(event));
  }
  if (link.port == 0) link.port = network_.open_port(*this);
  network_.send(now_ns_, {link.port, listener->second, encode_hello(WireType::kHello, own_hello({}), options_.node_name)});
}

void FakeTransport::receive(const FakeNetwork::Datagram& datagram) {
  const std::span<const std::byte> bytes = datagram.bytes;
  const auto parsed = parse_header(bytes);
  MRPC_ASSERT(parsed.ok() && bytes.size() == sizeof(WireHeader) + parsed->payload_bytes);  // only this class writes them
  const auto payload = bytes.subspan(sizeof(WireHeader));
  const auto type = static_cast<WireType>(parsed->type);
  if (type == WireType::kHello) return receive_hello(datagram, *parsed, payload);
  Link* link = find_by_port(datagram.to);
  if (link == nullptr) {
    if (type != WireType::kGoaway) network_.send(now_ns_, {datagram.to, datagram.from, encode_goaway(unavailable("no such link"))});
    return;
  }
  if (type == WireType::kHelloAck) return receive_hello_ack(*link, datagram, *parsed, payload);
  if (link->session && datagram.from == link->peer_port) receive_in_session(*link, *parsed, payload);
}

void FakeTransport::receive_hello(const FakeNetwork::Datagram& datagram, const WireHeader& header, std::span<const std::byte> payload) {
  if (!listening_.contains(datagram.to) || ended_peers_.contains(datagram.from)) return;
  auto at = std::find_if(links_.begin(), links_.end(), [&](const auto& e) { return e.second.peer_port == datagram.from && !e.second.dialed; });
  if (at == links_.end()) {
    const auto peer = parse_hello(header, payload);
    MRPC_ASSERT(peer.ok());
    const LinkId id = next_link_++;
    at = links_.emplace(id, Link{}).first;
    at->second.id = id;
    at->second.port = network_.open_port(*this);
    at->second.peer_port = datagram.from;
    start_session(at->second, {network_.random(), network_.random() | 1}, *peer);
  }
  const Link& link = at->second;
  if (link.session) send_bytes(link, encode_hello(WireType::kHelloAck, own_hello(link.session->id()), options_.node_name));
}

void FakeTransport::receive_hello_ack(Link& link, const FakeNetwork::Datagram& datagram, const WireHeader& header,
                                      std::span<const std::byte> payload) {
  if (!link.dialed || link.session) return;
  const auto peer = parse_hello(header, payload);
  MRPC_ASSERT(peer.ok());
  link.peer_port = datagram.from;
  start_session(link, peer->hello.session, *peer);
}

void FakeTransport::receive_in_session(Link& link, const WireHeader& header, std::span<const std::byte> payload) {
  link.heard_ns = now_ns_;
  Session& session = *link.session;
  if (!session.out.acknowledge(header.ack, header.consumed)) return end_session(link, internal_error("watermark of what was never sent"));
  switch (static_cast<WireType>(header.type)) {
    case WireType::kPing: return send_header(link, WireType::kPong);
    case WireType::kGoaway: return end_session(link, unavailable("the peer closed the link: " + parse_goaway(payload).text));
    case WireType::kData: break;
    default: return;
  }
  if (!receive_data(link, header, payload)) return;
  while (!link.early.empty() && link.early.begin()->first <= session.in.receive_next()) {
    const auto early = link.early.extract(link.early.begin());
    const std::span<const std::byte> bytes = early.mapped();
    if (!receive_data(link, *parse_header(bytes), bytes.subspan(sizeof(WireHeader)))) return;
  }
}

bool FakeTransport::receive_data(Link& link, const WireHeader& header, std::span<const std::byte> payload) {
  Session& session = *link.session;
  auto received = session.in.receive(header, payload);
  if (!received) {
    end_session(link, received.error());
    return false;
  }
  if (received->verdict == Assembler::Verdict::kDuplicate) session.owe_ack();
  if (received->verdict == Assembler::Verdict::kGap) {
    std::vector<std::byte> bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    link.early.emplace(header.sequence, std::move(bytes));
  }
  if (!received->frame) return true;
  if (link.closing) {
    session.in.release(*received->frame);
    return true;
  }
  Event event{.kind = Event::Kind::kFrame, .link = link.id, .accepted = !link.dialed};
  event.frame = std::move(*received->frame);
  push_event(link, std::move(event));
  return true;
}

// ---- events and timers ---------------------------------------------------------------------------------

void FakeTransport::push_event(Link& link, Event&& event) {
  ++link.events_queued;
  events_.push({.event = std::move(event), .port = link.port});
}

size_t FakeTransport::deliver(size_t events_max, const std::function<void(Event&&)>& sink) {
  size_t delivered = 0;
  while (delivered < events_max && !events_.empty()) {
    Queued queued = events_.pop();
    Link* link = find(queued.event.link);
    MRPC_ASSERT(link != nullptr);
    --link->events_queued;
    const bool is_frame = queued.event.kind == Event::Kind::kFrame;
    if (is_frame && link->session && link->port == queued.port) link->session->in.release(queued.event.frame);
    if (link->closing && queued.event.kind != Event::Kind::kDown) continue;
    ++delivered;
    sink(std::move(queued.event));
  }
  return delivered;
}

size_t FakeTransport::poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) {
  now_ns_ = now_ns;
  dirty_ = false;
  auto& inbox = network_.inboxes_[this];
  // As with a socket: nothing more is taken from the network while the shard has not taken what came.
  for (uint64_t bytes = 0; events_.empty() || bytes > 0;) {
    if (inbox.empty() || inbox.begin()->first > now_ns_ || bytes > kChunkBytes) break;
    const auto datagram = inbox.extract(inbox.begin());
    bytes += datagram.mapped().bytes.size();
    receive(datagram.mapped());
  }
  for (auto& [id, link] : links_) run_timers(link);
  const size_t delivered = deliver(events_max, sink);
  for (auto& [id, link] : links_) flush(link);
  std::erase_if(links_, [](const auto& entry) { return entry.second.finished && entry.second.events_queued == 0; });
  return delivered;
}

void FakeTransport::run_timers(Link& link) {
  if (link.finished) return;
  if (!link.session) {
    if (link.dialed && now_ns_ >= link.retry_at_ns) say_hello(link);
    return;
  }
  if (now_ns_ - link.heard_ns >= options_.give_up_ns) return end_session(link, unavailable("the peer has fallen silent"));
  SendQueue& out = link.session->out;
  if (std::exchange(link.acknowledged, out.acknowledged()) != out.acknowledged() || out.empty()) {
    link.retry_at_ns = now_ns_ + retransmit_ns();
  } else if (now_ns_ >= link.retry_at_ns) {
    link.retry_at_ns = now_ns_ + retransmit_ns();
    MRPC_ASSERT(out.rewind(out.acknowledged(), 0));
    send_header(link, WireType::kPing);  // what is missing may be the news of a wider window
  }
  if (now_ns_ >= link.ping_at_ns) {
    link.ping_at_ns = now_ns_ + options_.ping_idle_ns;
    send_header(link, WireType::kPing);
  }
}

void FakeTransport::flush(Link& link) {
  if (link.finished || !link.session) return;
  Session& session = *link.session;
  WireHeader header;
  std::vector<iovec> pieces;
  while (session.out.in_flight_segments() < options_.in_flight_segments_max && session.out.next(header, pieces)) {
    session.stamp(header);
    std::vector<std::byte> bytes(sizeof header);
    std::memcpy(bytes.data(), &header, sizeof header);
    for (const iovec& piece : pieces) {
      const auto* from = static_cast<const std::byte*>(piece.iov_base);
      bytes.insert(bytes.end(), from, from + piece.iov_len);
    }
    send_bytes(link, std::move(bytes));
    session.out.written();
    pieces.clear();
  }
  if (session.ack_due(now_ns_)) send_header(link, WireType::kAck);
  if (link.closing && session.out.empty()) {
    send_bytes(link, encode_goaway({StatusCode::kOk, "closed in good order"}));
    finish(link);
  }
}

uint64_t FakeTransport::next_timer_ns() const {
  if (dirty_ || !events_.empty()) return 0;
  uint64_t earliest_ns = UINT64_MAX;
  const auto& inbox = network_.inboxes_.at(const_cast<FakeTransport*>(this));
  if (!inbox.empty()) earliest_ns = inbox.begin()->first;
  for (const auto& [id, link] : links_) {
    if (link.finished) continue;
    if (!link.session) {
      if (link.dialed) earliest_ns = std::min(earliest_ns, link.retry_at_ns);
      continue;
    }
    if (!link.session->out.empty()) earliest_ns = std::min(earliest_ns, link.retry_at_ns);
    earliest_ns = std::min({earliest_ns, link.ping_at_ns, link.heard_ns + options_.give_up_ns, link.session->ack_due_ns()});
  }
  return earliest_ns;
}

}  // namespace mrpc::transport
