// Bytes and events: what happens on every poll().
#include <sys/epoll.h>
#include <sys/random.h>

#include "transport/tcp/tcp_state.h"

namespace mrpc::transport {
namespace {

constexpr size_t kEpollEventsMax = 64;
constexpr int kBatchesPerTurn = 2;

uint64_t system_random() {
  uint64_t value = 0;
  MRPC_ASSERT(getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

}  // namespace

Result<std::unique_ptr<TcpTransport>> TcpTransport::create(TcpOptions options) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return resource_exhausted("no epoll descriptor can be had; raise the limit on open files");
  if (!options.random) options.random = system_random;
  return std::unique_ptr<TcpTransport>(new TcpTransport(std::move(options), std::move(epoll)));
}

TcpTransport::TcpTransport(TcpOptions options, Fd epoll) : options_(std::move(options)), epoll_(std::move(epoll)) {}

// Connections refer to sessions: they go first.
TcpTransport::~TcpTransport() {
  for (const auto& [id, connection] : connections_) drop(*connection);
  connections_.clear();
}

SendResult TcpTransport::send(LinkId id, Frame&& frame) {
  Link* link = find(id);
  if (link == nullptr || link->closing || link->finished) return SendResult::kClosed;
  if (!link->session) return SendResult::kBlocked;
  const SendResult result = link->session->out.push(std::move(frame));
  if (result == SendResult::kSent) {
    ++stats_.frames_out;
    dirty_ = true;
  }
  return result;
}

bool TcpTransport::writable(LinkId id) const {
  const Link* link = find(id);
  return link != nullptr && !link->closing && link->session && link->session->out.has_room();
}

bool TcpTransport::compresses(LinkId id) const {
  const Link* link = find(id);
  return link != nullptr && link->connection != nullptr && (link->connection->features & kFeatureZstd) != 0;
}

size_t TcpTransport::poll(uint64_t now_ns, size_t events_max, const std::function<void(Event&&)>& sink) {
  now_ns_ = now_ns;
  dirty_ = false;
  if (!adopted_.empty()) begin_adopted();
  epoll_event ready[kEpollEventsMax];
  const int count = epoll_wait(epoll_.get(), ready, kEpollEventsMax, 0);
  for (int i = 0; i < count; ++i) service(ready[i].data.u64, ready[i].events);
  for (const auto& [id, connection] : connections_)
    if (connection->reader.paused()) read(*connection);
  if (now_ns_ >= timer_ns_) run_timers();  // after reading: what has come is no silence

  const size_t delivered = deliver(events_max, sink);
  for (const auto& [id, connection] : connections_) flush(*connection);
  for (const uint64_t id : dropped_) connections_.erase(id);
  dropped_.clear();
  std::erase_if(links_, [](const auto& entry) { return entry.second.finished && entry.second.events_queued == 0; });
  timer_ns_ = earliest_timer();
  for (const auto& [id, connection] : connections_) dirty_ |= connection->reader.paused();
  return delivered;
}

uint64_t TcpTransport::next_timer_ns() const { return dirty_ || !events_.empty() ? 0 : timer_ns_; }

void TcpTransport::service(uint64_t id, uint32_t epoll_events) {
  if (const auto listener = listeners_.find(id); listener != listeners_.end()) return accept_from(id, listener->second.get());
  const auto at = connections_.find(id);
  if (at == connections_.end() || at->second->phase == Connection::Phase::kDropped) return;
  Connection& connection = *at->second;
  if (connection.phase == Connection::Phase::kConnecting) return connected(connection);
  if ((epoll_events & EPOLLOUT) != 0) watch(connection, false);
  if ((epoll_events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) read(connection);
}

// A link whose events the shard has not taken is not read from: its peer runs out of window, and so do we not of memory.
void TcpTransport::read(Connection& connection) {
  const Link* link = find(connection.link);
  if (link != nullptr && link->events_queued > 0) return;
  if (connection.reader.paused()) {
    const Status parsed = connection.reader.advance(0);
    if (!parsed) return violated(connection, parsed.error());
  }
  uint64_t bytes = 0;
  while (!connection.reader.paused() && bytes < kChunkBytes && connection.phase != Connection::Phase::kDropped && !connection.drop_when_written) {
    const auto io = read_once(connection.fd.get(), connection.reader, bytes);
    connection.last_heard_ns = now_ns_;
    if (!io) {
      violated(connection, io.error());
    } else if (*io == Io::kLost) {
      lost(connection, unavailable("the connection was lost"));
    } else if (*io == Io::kBlocked) {
      break;
    }
  }
  stats_.bytes_in += bytes;
}

bool TcpTransport::on_control(Connection& connection, const WireHeader& header, std::span<const std::byte> payload) {
  const auto type = static_cast<WireType>(header.type);
  const bool up = connection.phase == Connection::Phase::kUp;
  if (type == WireType::kGoaway && (connection.dialed || up)) {
    const Error told = parse_goaway(payload);
    Link* link = find(connection.link);
    if (up && link != nullptr && !link->closing) end_session(*link, unavailable("the peer closed the link: " + told.text));
    lost(connection, told);
    return false;
  }
  if (type == WireType::kHello && !connection.dialed && !up) return on_hello(connection, header, payload);
  if (type == WireType::kHelloAck && connection.dialed && !up) return on_hello_ack(connection, header, payload);
  if (!up || type == WireType::kHello || type == WireType::kHelloAck || type == WireType::kGoaway) {
    violated(connection, invalid_argument("a frame out of turn"));
    return false;
  }
  if (type == WireType::kPing) connection.pong_due = true;
  return true;
}

void TcpTransport::on_message(Connection& connection, Frame&& frame) {
  Link* link = find(connection.link);
  MRPC_ASSERT(link != nullptr && link->session);
  ++stats_.frames_in;
  if (link->closing) return link->session->in.release(frame);
  Event event{.kind = Event::Kind::kFrame, .link = link->id, .accepted = !link->dialed};
  event.frame = std::move(frame);
  push_event(std::move(event), link->session_serial);
}

void TcpTransport::push_event(Event&& event, uint64_t session_serial) {
  if (Link* link = find(event.link)) ++link->events_queued;
  events_.push({.event = std::move(event), .session_serial = session_serial});
}

size_t TcpTransport::deliver(size_t events_max, const std::function<void(Event&&)>& sink) {
  size_t delivered = 0;
  while (delivered < events_max && !events_.empty()) {
    Queued queued = events_.pop();
    if (!prepare_delivery(queued)) continue;
    ++delivered;
    sink(std::move(queued.event));
  }
  return delivered;
}

// Counts the event as taken. False: its link was closed on this side, so that only kDown is still of interest.
bool TcpTransport::prepare_delivery(Queued& queued) {
  Link* link = find(queued.event.link);
  MRPC_ASSERT(link != nullptr && link->events_queued > 0);
  --link->events_queued;
  if (queued.event.kind == Event::Kind::kFrame && link->session && link->session_serial == queued.session_serial) {
    link->session->in.release(queued.event.frame);
  }
  return !link->closing || queued.event.kind == Event::Kind::kDown;
}

void TcpTransport::fill_batch(Connection& connection) {
  OutBatch& batch = connection.batch;
  if (!connection.first_words.empty()) batch.add_bytes(std::exchange(connection.first_words, {}));
  Link* link = find(connection.link);
  if (connection.phase != Connection::Phase::kUp || link == nullptr || connection.goaway_sent) return;
  Session& session = *link->session;
  if (std::exchange(connection.pong_due, false)) batch.add_header(session.plain(WireType::kPong));
  if (std::exchange(connection.ping_due, false)) batch.add_header(session.plain(WireType::kPing));
  Compressor* compressor = (connection.features & kFeatureZstd) != 0 ? &compressor_ : nullptr;
  while (!batch.full() && batch.add_segment(session, compressor)) {}
  stats_.bytes_saved += batch.take_saved_bytes();
  if (batch.empty() && session.ack_due(now_ns_)) batch.add_header(session.plain(WireType::kAck));
  if (link->closing && session.out.all_given() && !batch.full()) {
    batch.add_bytes(encode_goaway({StatusCode::kOk, "closed in good order"}));
    connection.goaway_sent = true;
  }
}

void TcpTransport::flush(Connection& connection) {
  if (connection.phase == Connection::Phase::kConnecting || connection.phase == Connection::Phase::kDropped || connection.waits_to_write) return;
  for (int i = 0; i < kBatchesPerTurn; ++i) {
    if (connection.batch.empty()) fill_batch(connection);
    if (connection.batch.empty()) return;
    const Io io = connection.batch.write(connection.fd.get(), stats_.bytes_out, options_.write_fault);
    if (io == Io::kBlocked) return watch(connection, true);
    if (io == Io::kLost) return lost(connection, unavailable("the connection was lost"));
    if (Link* link = find(connection.link); link != nullptr && link->session) link->session->out.written();
    if (connection.drop_when_written) return drop(connection);
  }
  dirty_ = true;  // there may be more; others' turn now
}

void TcpTransport::watch(Connection& connection, bool for_writing) {
  connection.waits_to_write = for_writing;
  epoll_event event{};
  event.events = EPOLLIN | (for_writing ? EPOLLOUT : 0u);
  event.data.u64 = connection.id;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
}

}  // namespace mrpc::transport
