// What of a shard survives its process (takeover_state.h), while its thread is parked.
#include <bit>

#include "dataplane/shard.h"
#include "dataplane/takeover/reader.h"
#include "dataplane/takeover/writer.h"

namespace mrpc::dataplane {

bool Shard::settle(bool pump) {
  now_ns = world.now_ns();
  bool worked = run_commands();
  worked |= clients_.cut_waits();
  worked |= servers_.cut_waits();
  while (drain_local()) worked = true;
  if (tcp_) worked |= tcp_->deliver_all([this](transport::Event&& event) { on_remote_event(std::move(event)); });
  worked |= local_.has_work();
  worked |= pump_outboxes();
  if (pump) worked |= pump_ports();
  return_released_blocks();
  flush();
  return worked;
}

class ShardExport {
 public:
  ShardExport(Shard& shard, TakeoverWriter& into) : shard_(shard), into_(into), state_(into.state) {}

  void run() {
    MRPC_ASSERT(!shard_.local_.has_work() && shard_.released_->empty() && shard_.commands_.empty());
    for (const auto& [key, route] : shard_.routes) export_route(*route);
    for (const auto& [id, port] : shard_.ports_) export_port(*port);
    for (auto& [link, outbox] : shard_.outboxes_) export_outbox(link, outbox);
    for (const auto& [link, peer] : shard_.peers_) export_peer(link, peer);
    for (const auto& [name, entry] : shard_.directory.entries())
      for (const auto& endpoint : entry->endpoints)
        if (endpoint->remote())
          state_.remotes.push_back({shard_.index, into_.add_schema(*endpoint->variant->schema), endpoint->link, name, endpoint->app, endpoint->node});
    export_calls();
    if (shard_.tcp_) export_tcp(shard_.tcp_->save());
  }

 private:
  void export_route(const Route& route) {
    TakeoverRoute& saved = state_.routes.emplace_back(TakeoverRoute{shard_.index, route.client, route.service, route.method, {}, {}});
    for (const auto& [server, stats] : route.servers) {
      counted_.emplace(stats.get(), &route);
      saved.edges.push_back({server, stats->calls, stats->in_flight, stats->denied, stats->request_bytes, stats->reply_bytes, stats->latency.sum_ns(),
                             {stats->codes.begin(), stats->codes.end()}, {stats->latency.counts().begin(), stats->latency.counts().end()}});
    }
    for (const auto& [key, chain] : route.chains) {
      const auto schema = schema_of(route, key.first);
      if (!schema) continue;  // of a server that is long gone
      saved.chain_schemas.push_back(*schema);
      for (const Stage& stage : chain->stages())
        state_.engines.push_back({route.client, route.path, stage.chain, stage.policy, stage.use, stage.evaluations, stage.denied,
                                  as_text(stage.engine->save()), shard_.index, *schema});
    }
  }

  std::optional<uint32_t> schema_of(const Route& route, uint64_t fingerprint) {
    ServiceEntry* entry = shard_.directory.find(route.service);
    if (entry == nullptr) return std::nullopt;
    for (const auto& endpoint : entry->endpoints)
      if (endpoint->variant->fingerprint() == fingerprint) return into_.add_schema(*endpoint->variant->schema);
    return std::nullopt;
  }

  void export_peer(transport::LinkId link, const Shard::Peer& peer) {
    TakeoverPeer saved;
    saved.shard = shard_.index;
    saved.accepted = peer.accepted;
    saved.address = peer.address;
    saved.node = peer.node;
    saved.link = link;
    saved.up = peer.up;
    saved.as_protobuf = shard_.protobuf_links.count(link) != 0;
    saved.error = peer.error;
    saved.services = peer.services;
    saved.names_brought = peer.names_brought;
    state_.peers.push_back(std::move(saved));
  }

  void export_port(const Port& port) {
    TakeoverPort& saved = state_.ports.emplace_back();
    saved.shard = shard_.index;
    saved.attachment = port.id();
    saved.submit_head = port.submit.head();
    saved.complete_tail = port.complete.tail();
    const auto heap = port.save_heap();
    for (const auto& span : heap.spans) saved.spans.push_back({span.first_page, span.pages, span.object_bytes, span.free_bits});
    for (const auto& run : heap.warm) saved.warm.push_back({run.first_page, run.pages});
    for (const abi::Slot& slot : port.waiting_urgent()) saved.urgent.push_back(from_slot(slot));
    port.for_each_waiting([&](const Delivery& delivery) { saved.deliveries.push_back(export_delivery(delivery)); });
    saved.shown.assign(port.shown().begin(), port.shown().end());
    for (const uint64_t offset : port.blocks_out()) state_.receive_blocks.push_back({port.id(), shard_.index, offset});
  }

  TakeoverDelivery export_delivery(const Delivery& delivery) {
    TakeoverDelivery saved;
    saved.slot = from_slot(delivery.slot);
    saved.has_message = delivery.message.has_value();
    if (delivery.message) {
      saved.body = into_.body(delivery.message->bytes, delivery.message->blobs, delivery.message->hold);
      saved.body_block_at = delivery.message->block_at;
    }
    if (delivery.caller) saved.caller = as_text(*delivery.caller);
    saved.allocated = delivery.allocated;
    saved.block_at = delivery.block_at;
    saved.block_bytes = delivery.block_bytes;
    saved.inline_copied = delivery.inline_copied;
    saved.blob = delivery.blob;
    saved.blob_offset = delivery.blob_offset;
    saved.image_cursor = delivery.image_cursor;
    if (delivery.rank) {
      saved.ranked = 1;
      saved.level = static_cast<uint32_t>(delivery.rank->qos.level);
      saved.group_kind = static_cast<uint32_t>(delivery.rank->qos.group);
      saved.weight_bits = std::bit_cast<uint64_t>(delivery.rank->qos.weight);
      saved.rank_deadline_ns = delivery.rank->deadline_ns;
      saved.group = delivery.rank->group;
    }
    if (const auto* parking = std::get_deleter<ParkingCharge>(delivery.charge)) {
      saved.charged_client = parking->route->client;
      saved.charged_path = parking->route->path;
      saved.charged_bytes = parking->bytes;
    }
    if (const auto* pinned = std::get_deleter<PinnedCharge>(delivery.charge)) {
      saved.pinned_server = pinned->server;
      saved.pinned_bytes = pinned->bytes;
    }
    return saved;
  }

  void export_outbox(transport::LinkId link, const Shard::Outbox& outbox) {
    TakeoverOutbox& saved = state_.outboxes.emplace_back(TakeoverOutbox{shard_.index, link, {}});
    for (const auto& outgoing : outbox.frames) saved.frames.push_back(into_.frame(outgoing->frame));
  }

  void export_calls() {
    state_.tables.push_back({shard_.index, 0, shard_.clients_.calls().generations()});
    state_.tables.push_back({shard_.index, 1, shard_.servers_.calls().generations()});
    shard_.clients_.calls().for_each([this](uint64_t id, const ClientCall& call) { export_call(id, call); });
    std::unordered_map<uint64_t, uint64_t> deadlines;
    for (auto timers = shard_.timers_; !timers.empty(); timers.pop())
      if (timers.top().side == Side::kServer) deadlines.emplace(timers.top().call, timers.top().at_ns);
    shard_.servers_.calls().for_each([&](uint64_t id, const ServerCall& call) {
      const auto deadline = deadlines.find(id);
      export_call(id, call, deadline == deadlines.end() ? 0 : deadline->second);
    });
  }

  template <typename Call>
  TakeoverCall common(const Call& call) {
    TakeoverCall saved;
    saved.shard = shard_.index;
    saved.attachment = call.port->id();
    saved.started_ns = call.started_ns;
    saved.request_sequence = call.request_sequence;
    saved.reply_sequence = call.reply_sequence;
    saved.send_credit = call.send_credit;
    saved.server_app = call.endpoint->app;
    saved.schema_index = into_.add_schema(*call.variant->schema);
    saved.endpoint = call.endpoint->id;
    return saved;
  }

  // Rows and cells by which policies know a call.
  void export_policies(const CallState& state, TakeoverCall& saved) {
    const bool told = state.judged.empty() || into_.version >= 3;  // else policies that were left out would hear of its end
    if (state.passed == 0 || !told) return;
    saved.judged = state.judged;
    saved.passed = state.passed;
    saved.tenant = state.tenant;
    saved.metadata = as_text(state.metadata);
    for (const RowPin& row : state.rows) saved.rows.push_back(row.get() == nullptr ? std::string() : row.get()->key);
    saved.cells.assign(state.cells.get(), state.cells.get() + state.chain->cells());
  }

  void export_call(uint64_t id, const ClientCall& call) {
    TakeoverCall saved = common(call);
    saved.half_closed = call.half_closed;
    saved.app_call = call.app_call;
    saved.link = call.endpoint->link;
    saved.link_call = id;
    saved.deadline_ns = call.deadline_ns;
    saved.chain_epoch = call.policies.chain->epoch();
    export_policies(call.policies, saved);
    saved.path = call.method->route->path;
    for (const auto& [handle, method] : call.port->methods)
      if (method == call.method) saved.handle = handle;
    saved.endpoint_link = call.endpoint->link;
    state_.calls.push_back(std::move(saved));
  }

  void export_call(uint64_t id, const ServerCall& call, uint64_t deadline_ns) {
    TakeoverCall saved = common(call);
    saved.server_side = 1;
    saved.app_call = id;
    saved.link = call.link;
    saved.link_call = call.link_call;
    saved.deadline_ns = deadline_ns;
    saved.chain_epoch = call.policies.chain ? call.policies.chain->epoch() : shard_.chains->epoch;
    export_policies(call.policies, saved);
    saved.path = call.layout->path;
    saved.local_link = call.link == shard_.local_server_end;
    if (call.stats != nullptr) saved.counted_client = counted_.at(call.stats)->client;
    state_.calls.push_back(std::move(saved));
  }

  void export_tcp(transport::TcpState&& tcp) {
    TakeoverTcp& saved = state_.tcp.emplace_back(TakeoverTcp{shard_.index, tcp.next_id, {}, {}});
    for (const int listener : tcp.listeners) saved.listener_fds.push_back(into_.add_fd(listener));
    for (const transport::TcpLinkState& link : tcp.links) saved.links.push_back(export_link(link));
  }

  TakeoverLink export_link(const transport::TcpLinkState& link) {
    TakeoverLink saved;
    saved.id = link.id;
    saved.dialed = link.dialed;
    saved.up = link.up;
    saved.failure_told = link.failure_told;
    saved.address = link.address;
    saved.connections_made = link.connections_made;
    saved.give_up_at_ns = link.give_up_at_ns;
    saved.has_session = link.has_session;
    if (!link.has_session) return saved;
    saved.session_high = link.session.high;
    saved.session_low = link.session.low;
    export_sending(link.send, saved);
    export_receiving(link.receive, saved);
    const bool speaks_it = link.connection.features == 0 || into_.version >= 3;  // else the session is resumed over a new connection
    if (link.connection.fd < 0 || !speaks_it) return saved;
    saved.features = link.connection.features;
    saved.fd = into_.add_fd(link.connection.fd);
    saved.unread = as_text(link.connection.unread);
    saved.unwritten = as_text(link.connection.unwritten);
    return saved;
  }

  void export_sending(const transport::SendState& from, TakeoverLink& saved) {
    saved.peer_window_bytes = from.peer_window_bytes;
    saved.peer_message_bytes_max = from.peer_message_bytes_max;
    saved.send_started_bytes = from.started_bytes;
    saved.send_consumed_bytes = from.consumed_bytes;
    saved.first = from.first;
    saved.next = from.next;
    saved.highest = from.highest;
    saved.peer_ack = from.peer_ack;
    saved.next_message_id = from.next_message_id;
    for (const auto& message : from.messages) saved.messages.push_back({into_.frame(message.frame), message.id, message.cut_bytes});
    for (const auto& segment : from.segments) saved.segments.push_back({segment.message, segment.offset, segment.bytes});
    saved.waiting = from.waiting;
  }

  void export_receiving(const transport::ReceiveState& from, TakeoverLink& saved) {
    saved.receive_next = from.receive_next;
    saved.receive_started_bytes = from.started_bytes;
    saved.receive_consumed_bytes = from.consumed_bytes;
    for (const auto& assembly : from.assemblies) {
      const uint64_t blobs_filled = assembly.filled_bytes - std::min(assembly.filled_bytes, assembly.head_bytes);
      saved.assemblies.push_back({into_.frame(assembly.frame, blobs_filled), assembly.id, assembly.single, assembly.head_bytes,
                                  assembly.filled_bytes, assembly.total_bytes});
    }
    saved.in_segment = from.in_segment;
    saved.segment = as_text(std::as_bytes(std::span(&from.segment, 1)));
    saved.segment_left = from.segment_left;
    saved.segment_start = from.segment_start;
  }

  Shard& shard_;
  TakeoverWriter& into_;
  TakeoverState& state_;
  std::unordered_map<const EdgeStats*, const Route*> counted_;
};

void Shard::export_state(TakeoverWriter& into) { ShardExport(*this, into).run(); }

}  // namespace mrpc::dataplane
