// How connections and links come and go: dialling, accepting, hello, resuming, ending.
#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstring>

#include "transport/tcp/tcp_state.h"

namespace mrpc::transport {
namespace {

constexpr int kAcceptsPerTurn = 16;
constexpr uint64_t kAcceptPauseNs = 1'000'000'000;

}  // namespace

TcpTransport::Link* TcpTransport::find(LinkId id) {
  const auto at = links_.find(id);
  return at != links_.end() ? &at->second : nullptr;
}

const TcpTransport::Link* TcpTransport::find(LinkId id) const {
  const auto at = links_.find(id);
  return at != links_.end() ? &at->second : nullptr;
}

// ---- dialling ------------------------------------------------------------------------------------------

Result<LinkId> TcpTransport::connect(const std::string& address) {
  auto parsed = parse_address(address);
  if (!parsed) return parsed.error();
  const LinkId id = next_id_++;
  Link& link = links_[id];
  link.id = id;
  link.dialed = true;
  link.address = *parsed;
  link.backoff = Backoff(options_.backoff_first_ns, options_.backoff_max_ns);
  timer_ns_ = 0;
  return id;
}

void TcpTransport::dial(Link& link) {
  auto fd = begin_connect(link.address);
  if (!fd) return retry_later(link, fd.error());
  Connection* connection = add_connection(std::move(*fd), true);
  connection->phase = Connection::Phase::kConnecting;
  connection->link = link.id;
  link.connection = connection;
  watch(*connection, true);
}

void TcpTransport::connected(Connection& connection) {
  Link* link = find(connection.link);
  MRPC_ASSERT(link != nullptr);
  if (Status outcome = connect_outcome(connection.fd.get()); !outcome) {
    return lost(connection, unavailable("cannot connect to " + link->address.text() + ": " + outcome.error().text));
  }
  connection.phase = Connection::Phase::kHello;
  connection.since_ns = now_ns_;
  WireHello hello = hello_for(link);
  hello.version = 0;
  hello.shard = options_.peer_shard;
  connection.first_words = encode_hello(WireType::kHello, hello, options_.node_name);
  watch(connection, false);
}

WireHello TcpTransport::hello_for(const Link* link) const {
  WireHello hello;
  hello.version = kWireVersion;  // the only one there is
  hello.layout_version = options_.layout_version;
  hello.shard = options_.shard;
  hello.window_bytes = options_.receive.window_bytes;
  hello.message_bytes_max = options_.receive.message_bytes_max;
  hello.features = options_.features;
  if (link != nullptr && link->session) {
    hello.session = link->session->id();
    hello.receive_next = link->session->in.receive_next();
    hello.consumed = link->session->in.consumed();
  }
  return hello;
}

bool TcpTransport::on_hello_ack(Connection& connection, const WireHeader& header, std::span<const std::byte> payload) {
  const auto parsed = parse_hello(header, payload);
  if (!parsed) {
    violated(connection, parsed.error());
    return false;
  }
  Link* link = find(connection.link);
  MRPC_ASSERT(link != nullptr && link->connection == &connection);
  const WireHello& peer = parsed->hello;
  connection.phase = Connection::Phase::kUp;
  connection.agree(options_.features & peer.features);
  if (link->session && link->session->id() == peer.session) {
    if (resume(*link, connection, peer)) return true;
    violated(connection, invalid_argument("the peer resumes from where the session never was"));
    return false;
  }
  if (link->session) end_session(*link, unavailable("the peer was restarted and does not know this session any more"));
  start_session(*link, connection, peer.session, *parsed);
  return true;
}

// ---- accepting -----------------------------------------------------------------------------------------

Result<std::string> TcpTransport::listen(const std::string& address) {
  auto parsed = parse_address(address);
  if (!parsed) return parsed.error();
  auto fd = open_listener(*parsed);
  if (!fd) return fd.error();
  const auto bound = local_address(fd->get());
  if (!bound) return bound.error();
  if (Status watched = listen_on(std::move(*fd)); !watched) return watched.error();
  return bound->text();
}

Status TcpTransport::listen_on(Fd fd) {
  const uint64_t id = next_id_++;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) return resource_exhausted("epoll takes no more descriptors");
  listeners_.emplace(id, std::move(fd));
  return ok_status();
}

void TcpTransport::watch_listener(uint64_t id, int listener, bool watched) {
  epoll_event event{};
  event.events = watched ? EPOLLIN : 0u;
  event.data.u64 = id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener, &event);
}

void TcpTransport::accept_from(uint64_t id, int listener) {
  const auto half_open = static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(), [](const auto& entry) {
    return !entry.second->dialed && entry.second->phase == Connection::Phase::kHello;
  }));
  for (size_t i = 0; i < kAcceptsPerTurn; ++i) {
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {  // who waits would wake us for ever
      accept_at_ns_ = now_ns_ + kAcceptPauseNs;
      return watch_listener(id, listener, false);
    }
    if (!fd) return;
    if (half_open + i >= options_.half_open_max) {
      ++stats_.refused;
      continue;
    }
    prepare_stream(fd.get());
    add_connection(std::move(fd), false);
  }
}

TcpTransport::Connection* TcpTransport::add_connection(Fd fd, bool dialed) {
  const uint64_t id = next_id_++;
  auto connection = std::make_unique<Connection>(*this, std::move(fd), id);
  connection->dialed = dialed;
  connection->since_ns = connection->last_heard_ns = now_ns_;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection->fd.get(), &event);
  return connections_.emplace(id, std::move(connection)).first->second.get();
}

void TcpTransport::adopt(int fd, std::vector<std::byte> received) {
  prepare_stream(fd);
  adopted_.push_back({Fd(fd), std::move(received)});
  dirty_ = true;
}

void TcpTransport::begin_adopted() {
  for (auto& [fd, received] : std::exchange(adopted_, {})) {
    Connection& connection = *add_connection(std::move(fd), false);
    connection.adopted = true;
    std::span<const std::byte> rest = received;
    while (!rest.empty() && connection.phase != Connection::Phase::kDropped) {
      iovec parts[2];
      connection.reader.room(parts);
      const size_t bytes = std::min(parts[0].iov_len, rest.size());
      std::memcpy(parts[0].iov_base, rest.data(), bytes);
      rest = rest.subspan(bytes);
      if (Status parsed = connection.reader.advance(bytes); !parsed) violated(connection, parsed.error());
    }
  }
}

bool TcpTransport::on_hello(Connection& connection, const WireHeader& header, std::span<const std::byte> payload) {
  const auto parsed = parse_hello(header, payload);
  if (!parsed) {
    ++stats_.garbage_closed;
    refuse(connection, parsed.error());
    return false;
  }
  // Once: a peer may have more shards than we, or name one that nobody has, and is then served where it was sent.
  if (parsed->hello.shard != options_.shard && options_.hand_over && !connection.adopted) {
    hand_over(connection, header, payload, parsed->hello.shard);
    return false;
  }
  accept_session(connection, *parsed);
  return !connection.drop_when_written;
}

void TcpTransport::hand_over(Connection& connection, const WireHeader& header, std::span<const std::byte> payload, uint32_t shard) {
  std::vector<std::byte> received(sizeof header + payload.size());
  std::memcpy(received.data(), &header, sizeof header);
  std::memcpy(received.data() + sizeof header, payload.data(), payload.size());
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
  const int fd = connection.fd.release();
  drop(connection);
  options_.hand_over(shard, fd, std::move(received));
}

void TcpTransport::accept_session(Connection& connection, const ParsedHello& peer) {
  const auto known = std::find_if(links_.begin(), links_.end(), [&](const auto& entry) {
    const Link& link = entry.second;
    return !link.dialed && !link.closing && link.session && link.session->id() == peer.hello.session;
  });
  connection.phase = Connection::Phase::kUp;
  connection.agree(options_.features & peer.hello.features);
  if (known != links_.end()) {
    Link& link = known->second;
    if (resume(link, connection, peer.hello)) {
      connection.first_words = encode_hello(WireType::kHelloAck, hello_for(&link), options_.node_name);
      return;
    }
    end_session(link, unavailable("the peer resumed from where the session never was"));
  }
  const auto accepted = std::count_if(links_.begin(), links_.end(), [](const auto& entry) { return !entry.second.dialed; });
  if (static_cast<size_t>(accepted) >= options_.links_max) {
    ++stats_.refused;
    return refuse(connection, resource_exhausted("this node has as many links as it takes"));
  }
  const LinkId id = next_id_++;
  Link& link = links_[id];
  link.id = id;
  start_session(link, connection, {options_.random(), options_.random() | 1}, peer);
  connection.first_words = encode_hello(WireType::kHelloAck, hello_for(&link), options_.node_name);
}

void TcpTransport::refuse(Connection& connection, const Error& error) {
  connection.phase = Connection::Phase::kHello;
  connection.since_ns = now_ns_;
  connection.first_words = encode_goaway(error);
  connection.drop_when_written = true;
}

// ---- sessions ------------------------------------------------------------------------------------------

void TcpTransport::start_session(Link& link, Connection& connection, SessionId id, const ParsedHello& peer) {
  link.session = std::make_unique<Session>(id, options_.send, options_.receive, peer.hello);
  link.session_serial = next_id_++;
  link.connection = &connection;
  link.up = true;
  link.failure_told = false;
  link.give_up_at_ns = UINT64_MAX;
  link.backoff.reset();
  if (link.connections_made++ > 0) ++stats_.reconnects;
  connection.link = link.id;
  connection.reader.attach(link.session.get());
  Event event{.kind = Event::Kind::kUp, .link = link.id, .accepted = !link.dialed};
  event.peer = peer.node_name;
  event.peer_layout = peer.hello.layout_version;
  push_event(std::move(event));
}

bool TcpTransport::resume(Link& link, Connection& connection, const WireHello& peer) {
  if (link.connection != nullptr && link.connection != &connection) drop(*link.connection);
  if (!link.session->out.rewind(peer.receive_next, peer.consumed)) return false;
  link.connection = &connection;
  link.give_up_at_ns = UINT64_MAX;
  link.backoff.reset();
  ++link.connections_made;
  ++stats_.reconnects;
  ++stats_.resumed;
  connection.link = link.id;
  connection.reader.attach(link.session.get());
  return true;
}

// The session is over; a dialed link goes on to a new one. The caller sees to the connection.
void TcpTransport::end_session(Link& link, Error error) {
  if (link.connection != nullptr) link.connection->reader.attach(nullptr);
  if (link.connection != nullptr) link.connection->batch.clear();
  link.session.reset();
  link.give_up_at_ns = UINT64_MAX;
  link.finished = !link.dialed;
  if (!link.up) return;
  link.up = false;
  link.failure_told = true;
  Event event{.kind = Event::Kind::kDown, .link = link.id, .accepted = !link.dialed};
  event.error = std::move(error);
  push_event(std::move(event));
}

void TcpTransport::close(LinkId id) {
  Link* link = find(id);
  if (link == nullptr || link->closing || link->finished) return;
  link->closing = true;
  link->up = false;
  push_event(Event{.kind = Event::Kind::kDown, .link = id, .accepted = !link->dialed});
  const bool can_flush = link->session && link->connection != nullptr && link->connection->phase == Connection::Phase::kUp;
  if (!can_flush) return finish(*link);
  link->give_up_at_ns = now_ns_ + options_.linger_ns;
  dirty_ = true;
}

void TcpTransport::finish(Link& link) {
  if (link.connection != nullptr) drop(*link.connection);
  link.session.reset();
  link.finished = true;
}

// ---- connections that end ------------------------------------------------------------------------------

void TcpTransport::drop(Connection& connection) {
  if (connection.phase == Connection::Phase::kDropped) return;
  connection.reader.attach(nullptr);
  connection.batch.clear();
  connection.fd.reset();
  connection.phase = Connection::Phase::kDropped;
  if (Link* link = find(connection.link); link != nullptr && link->connection == &connection) link->connection = nullptr;
  dropped_.push_back(connection.id);
  dirty_ = true;
}

void TcpTransport::violated(Connection& connection, const Error& error) {
  ++stats_.garbage_closed;
  Link* link = find(connection.link);
  if (link != nullptr && link->session && !link->closing) {
    end_session(*link, unavailable("the peer broke the wire protocol: " + error.text));
  }
  lost(connection, error);
}

void TcpTransport::lost(Connection& connection, const Error& error) {
  Link* link = find(connection.link);
  drop(connection);
  if (link == nullptr || link->finished) return;
  if (link->closing) return finish(*link);
  if (link->session && link->give_up_at_ns == UINT64_MAX) link->give_up_at_ns = now_ns_ + options_.resume_timeout_ns;
  if (link->dialed) retry_later(*link, error);
}

void TcpTransport::retry_later(Link& link, const Error& error) {
  link.retry_at_ns = now_ns_ + link.backoff.next_delay_ns(options_.random);
  if (link.up || link.failure_told) return;
  link.failure_told = true;
  Event event{.kind = Event::Kind::kDown, .link = link.id};
  event.error = Error{StatusCode::kUnavailable, error.text};
  push_event(std::move(event));
}

// ---- timers --------------------------------------------------------------------------------------------

void TcpTransport::run_timers() {
  if (now_ns_ >= accept_at_ns_) {
    for (const auto& [id, listener] : listeners_) watch_listener(id, listener.get(), true);
    accept_at_ns_ = UINT64_MAX;
  }
  for (auto& [id, link] : links_) run_timers(link);
  for (const auto& [id, connection] : connections_) run_timers(*connection);
}

void TcpTransport::run_timers(Link& link) {
  if (link.finished) return;
  if (now_ns_ >= link.give_up_at_ns) {
    if (link.closing) return finish(link);
    if (link.connection != nullptr) drop(*link.connection);  // its hello asked for this session
    end_session(link, unavailable("no connection to the peer for too long"));
    if (link.finished) return;
  }
  if (link.dialed && !link.closing && link.connection == nullptr && now_ns_ >= link.retry_at_ns) dial(link);
}

void TcpTransport::run_timers(Connection& connection) {
  if (connection.phase == Connection::Phase::kDropped) return;
  if (connection.phase != Connection::Phase::kUp) {
    if (now_ns_ - connection.since_ns < options_.hello_timeout_ns) return;
    if (!connection.dialed && !connection.drop_when_written) ++stats_.garbage_closed;
    return lost(connection, unavailable("the peer did not answer in time"));
  }
  const uint64_t silent_ns = now_ns_ - connection.last_heard_ns;
  const Link* link = find(connection.link);
  const bool reading = link == nullptr || link->events_queued == 0;  // else the silence may be ours
  if (reading && silent_ns >= options_.keepalive_timeout_ns) return lost(connection, unavailable("the peer has fallen silent"));
  if (silent_ns >= options_.ping_idle_ns && now_ns_ - connection.last_ping_ns >= options_.ping_idle_ns) {
    connection.ping_due = true;
    connection.last_ping_ns = now_ns_;
  }
}

uint64_t TcpTransport::earliest_timer() const {
  uint64_t earliest_ns = accept_at_ns_;
  for (const auto& [id, link] : links_) {
    if (link.finished) continue;
    earliest_ns = std::min(earliest_ns, link.give_up_at_ns);
    if (link.dialed && !link.closing && link.connection == nullptr) earliest_ns = std::min(earliest_ns, link.retry_at_ns);
    if (link.session && link.connection != nullptr) earliest_ns = std::min(earliest_ns, link.session->ack_due_ns());
  }
  for (const auto& [id, connection] : connections_) {
    if (connection->phase != Connection::Phase::kUp) {
      earliest_ns = std::min(earliest_ns, connection->since_ns + options_.hello_timeout_ns);
      continue;
    }
    const uint64_t ping_ns = std::max(connection->last_heard_ns, connection->last_ping_ns) + options_.ping_idle_ns;
    earliest_ns = std::min({earliest_ns, ping_ns, connection->last_heard_ns + options_.keepalive_timeout_ns});
  }
  return earliest_ns;
}

}  // namespace mrpc::transport
