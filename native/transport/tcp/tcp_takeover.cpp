#include "transport/tcp/tcp_takeover.h"

#include <algorithm>

#include "base/clock.h"
#include "transport/tcp/tcp_state.h"

namespace mrpc::transport {

bool TcpTransport::deliver_all(const std::function<void(Event&&)>& sink) { return deliver(SIZE_MAX, sink) != 0; }

TcpConnectionState TcpTransport::save(const Connection* connection) const {
  TcpConnectionState state;
  if (connection == nullptr || connection->phase != Connection::Phase::kUp || connection->drop_when_written) return state;
  state.fd = connection->fd.get();
  state.features = connection->features;
  const auto unread = connection->reader.unread();
  state.unread.assign(unread.begin(), unread.end());
  // Nobody has written a hello's answer that is still in first_words: it goes before everything else.
  state.unwritten = connection->batch.empty() ? connection->first_words : connection->batch.unwritten();
  return state;
}

TcpState TcpTransport::save() const {
  MRPC_ASSERT(events_.empty());
  TcpState state{.next_id = next_id_, .listeners = {}, .links = {}};
  for (const auto& [id, listener] : listeners_) state.listeners.push_back(listener.get());
  for (const auto& [id, link] : links_) {
    if (link.closing || link.finished) continue;
    TcpLinkState& saved = state.links.emplace_back();
    saved.id = id;
    saved.dialed = link.dialed;
    saved.up = link.up;
    saved.failure_told = link.failure_told;
    if (link.dialed) saved.address = link.address.text();
    saved.connections_made = link.connections_made;
    saved.give_up_at_ns = link.give_up_at_ns;
    saved.has_session = link.session != nullptr;
    if (!link.session) continue;
    saved.session = link.session->id();
    saved.send = link.session->out.save();
    saved.receive = link.session->in.save();
    saved.connection = save(link.connection);
  }
  return state;
}

Status TcpTransport::restore(TcpState&& state) {
  MRPC_ASSERT(links_.empty() && listeners_.empty());
  Status status = ok_status();
  const auto note = [&status](Status next) {
    if (status && !next) status = std::move(next);
  };
  next_id_ = state.next_id;
  for (const int listener : state.listeners) note(listen_on(Fd(listener)));
  for (TcpLinkState& link : state.links) note(restore(std::move(link)));
  timer_ns_ = 0;  // whatever is due is found at the first poll
  dirty_ = true;
  return status;
}

Status TcpTransport::restore(TcpLinkState&& state) {
  Fd socket(state.connection.fd);
  if (state.id == 0 || state.id >= next_id_ || links_.count(state.id) != 0) return invalid_argument("a link's id cannot be");
  Link& link = links_[state.id];
  link.id = state.id;
  link.dialed = state.dialed;
  link.up = state.up;
  link.failure_told = state.failure_told;
  link.connections_made = state.connections_made;
  link.give_up_at_ns = state.give_up_at_ns;
  link.backoff = Backoff(options_.backoff_first_ns, options_.backoff_max_ns);
  if (link.dialed) {
    auto address = parse_address(state.address);
    if (!address) return address.error();
    link.address = *address;
  }
  if (!state.has_session) return link.dialed ? ok_status() : invalid_argument("an accepted link without a session");
  const WireHello peer{.window_bytes = state.send.peer_window_bytes, .message_bytes_max = state.send.peer_message_bytes_max};
  link.session = std::make_unique<Session>(state.session, options_.send, options_.receive, peer);
  link.session_serial = next_id_++;
  if (Status sending = link.session->out.restore(std::move(state.send)); !sending) return sending;
  if (Status receiving = link.session->in.restore(std::move(state.receive)); !receiving) return receiving;
  if (!socket) {
    link.session->in.abort_segment();
    if (link.give_up_at_ns == UINT64_MAX) link.give_up_at_ns = monotonic_ns() + options_.resume_timeout_ns;
    return ok_status();
  }
  link.session->owe_ack();
  now_ns_ = monotonic_ns();
  Connection& connection = *add_connection(std::move(socket), link.dialed);
  connection.phase = Connection::Phase::kUp;
  connection.link = link.id;
  connection.agree(state.connection.features & options_.features);
  connection.reader.attach(link.session.get());
  link.connection = &connection;
  if (!connection.reader.restore(state.connection.unread)) return invalid_argument("more was read ahead than a reader holds");
  if (!state.connection.unwritten.empty()) connection.batch.add_bytes(std::move(state.connection.unwritten));
  return ok_status();
}

}  // namespace mrpc::transport
