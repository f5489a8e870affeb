// A shard that goes on where its predecessor's stopped. Nothing here writes to shared memory or touches a socket: until begin(),
// the predecessor may go on instead.
#include <algorithm>
#include <bit>
#include <cstring>

#include "dataplane/shard.h"
#include "dataplane/takeover/reader.h"

namespace mrpc::dataplane {

class ShardImport {
 public:
  ShardImport(Shard& shard, TakeoverReader& from) : shard_(shard), from_(from), state_(from.state) {}

  // In an order in which each thing finds what it refers to.
  Status run() {
    shard_.now_ns = shard_.world.now_ns();
    each(state_.ports, [this](const TakeoverPort& saved) { import_port(saved); });
    for (const TakeoverService& saved : state_.services)
      if (!from_.failed()) import_service(saved);
    each(state_.tcp, [this](const TakeoverTcp& saved) { import_tcp(saved); });
    each(state_.peers, [this](const TakeoverPeer& saved) { import_peer(saved); });
    each(state_.remotes, [this](const TakeoverRemote& saved) { import_remote(saved); });
    each(state_.routes, [this](const TakeoverRoute& saved) { import_route(saved); });
    each(state_.engines, [this](const TakeoverEngine& saved) { import_engine(saved); });
    each(state_.tables, [this](const TakeoverTable& saved) {
      const bool first = saved.server_side != 0 ? shard_.servers_.calls().restore_generations(saved.generations)
                                                : shard_.clients_.calls().restore_generations(saved.generations);
      if (!first) from_.fail("a table twice");
    });
    each(state_.calls, [this](const TakeoverCall& saved) { saved.server_side != 0 ? import_server_call(saved) : import_client_call(saved); });
    shard_.clients_.calls().finish_restore();
    shard_.servers_.calls().finish_restore();
    each(state_.ports, [this](const TakeoverPort& saved) { import_waiting(saved); });
    each(state_.outboxes, [this](const TakeoverOutbox& saved) { import_outbox(saved); });
    return from_.status();
  }

 private:
  template <typename Record, typename Fn>
  void each(const std::vector<Record>& records, Fn&& fn) {
    for (const Record& record : records)
      if (record.shard == shard_.index && !from_.failed()) fn(record);
  }

  void import_port(const TakeoverPort& saved) {
    const auto owner = from_.attachments.find(saved.attachment);
    if (owner == from_.attachments.end() || shard_.ports_.count(saved.attachment) != 0) return from_.fail("a port of nobody");
    auto port = std::make_unique<Port>(owner->second, shard_.index, shard_.config);
    if (port->submit.head() != saved.submit_head || port->complete.tail() != saved.complete_tail) return from_.fail("a ring's index");
    shm::Heap::Saved heap;
    for (const TakeoverSpan& span : saved.spans) heap.spans.push_back({span.first_page, span.pages, span.object_bytes, span.free_bits});
    for (const TakeoverRun& run : saved.warm) heap.warm.push_back({run.first_page, run.pages});
    if (!port->restore_heap(heap)) return from_.fail("a receive heap");
    shard_.ports_.emplace(saved.attachment, std::move(port));
  }

  void import_service(const TakeoverService& saved) {
    const auto variant = from_.variant(saved.schema_index, saved.service);
    if (!variant) return;
    if (saved.offered != 0) {
      if (saved.withdrawn == 0) shard_.offer(saved.attachment, saved.handle_base, variant);
      return;
    }
    Port* port = shard_.find_port(saved.attachment);
    if (saved.shard != shard_.index || port == nullptr) return;
    std::vector<std::shared_ptr<BoundMethod>> methods;
    for (const auto& method : variant->layout->methods)
      methods.push_back(bind_method(variant->schema, *variant->layout, method, saved.app_filter, port->attachment().identity.app));
    shard_.bind(saved.attachment, saved.handle_base, std::move(methods));
  }

  void import_peer(const TakeoverPeer& saved) {
    Shard::Peer peer;
    peer.id = saved.link & ~kTcpLink;
    peer.link = saved.link;
    peer.address = saved.address;
    peer.node = saved.node;
    peer.error = saved.error;
    peer.up = saved.up != 0;
    peer.accepted = saved.accepted != 0;
    peer.services = saved.services;
    peer.names_brought = saved.names_brought;
    if (saved.as_protobuf != 0) shard_.protobuf_links.insert(saved.link);
    shard_.peers_.emplace(saved.link, std::move(peer));
  }

  void import_remote(const TakeoverRemote& saved) {
    const auto variant = from_.variant(saved.schema_index, saved.service);
    if (!variant) return;
    ServiceEntry& entry = shard_.directory.entry(saved.service);
    auto endpoint = std::make_shared<Endpoint>();
    endpoint->link = saved.link;
    endpoint->app = saved.app;
    endpoint->node = saved.node;
    endpoint->variant = shard_.variant_of(entry, variant->schema);
    entry.endpoints.push_back(std::move(endpoint));
  }

  // ---- routes ----

  void import_route(const TakeoverRoute& saved) {
    Route& route = shard_.route(saved.client, saved.service, saved.method);
    for (const TakeoverEdge& edge : saved.edges) {
      EdgeStats& stats = route.edge(edge.server);
      stats.calls = edge.calls;
      stats.in_flight = edge.in_flight;
      stats.denied = edge.denied;
      stats.request_bytes = edge.request_bytes;
      stats.reply_bytes = edge.reply_bytes;
      std::copy_n(edge.codes.begin(), std::min(edge.codes.size(), stats.codes.size()), stats.codes.begin());
      (void)stats.latency.restore(edge.latency_counts, edge.latency_sum_ns);  // other buckets begin anew
    }
    for (const uint32_t schema : saved.chain_schemas) (void)chain(route, schema);
  }

  // Callers of other daemons have an '@' in their names; a local one's endpoint is here, if one of that schema is.
  Place place_of(const Route& route, const ServiceVariant& variant) const {
    if (route.client.find('@') != std::string::npos) return Place::kEndpoint;
    for (const auto& endpoint : shard_.directory.entry(route.service).endpoints)
      if (endpoint->variant.get() == &variant && !endpoint->remote()) return Place::kBothEnds;
    return Place::kCaller;
  }

  // The chain of a route for one server's schema; null when that has no such method.
  std::shared_ptr<Chain> chain(Route& route, uint32_t schema) {
    const auto variant = variant_of(schema, route.service);
    const int index = variant ? variant->method_index(route.method) : -1;
    if (index < 0) return from_.fail("a route to no method"), nullptr;
    return shard_.chain_for(route, *variant, variant->layout->methods[static_cast<size_t>(index)], place_of(route, *variant));
  }

  // As the endpoints of that schema have it.
  std::shared_ptr<const ServiceVariant> variant_of(uint32_t schema, const std::string& service) {
    const auto variant = from_.variant(schema, service);
    return variant ? shard_.variant_of(shard_.directory.entry(service), variant->schema) : nullptr;
  }

  void import_engine(const TakeoverEngine& saved) {
    const auto known = shard_.routes.find({saved.client, saved.path});
    if (known == shard_.routes.end()) return from_.fail("a policy on no route");
    const auto made = chain(*known->second, saved.schema_index);
    if (!made) return;
    for (Stage& stage : made->stages()) {
      if (stage.chain != saved.chain || stage.policy != saved.policy || stage.use != saved.use) continue;
      stage.evaluations = saved.evaluations;
      stage.denied = saved.denied;
      if (Status restored = stage.engine->restore(std::as_bytes(std::span(saved.saved))); !restored)
        shard_.observer_.on_event("log", "", saved.path, "policy '" + saved.policy + "' starts anew: " + restored.error().text);
    }
  }

  // ---- calls ----

  std::shared_ptr<Endpoint> endpoint_of(const TakeoverCall& saved, const std::shared_ptr<const ServiceVariant>& variant) {
    ServiceEntry& entry = shard_.directory.entry(variant->layout->full_name);
    for (const auto& endpoint : entry.endpoints) {
      const bool same = saved.endpoint != 0 ? endpoint->id == saved.endpoint : endpoint->remote() && endpoint->link == saved.endpoint_link;
      if (same && endpoint->app == saved.server_app) return endpoint;
    }
    // It is offered no more; the call goes on.
    auto gone = std::make_shared<Endpoint>();
    gone->id = saved.endpoint;
    gone->port = saved.endpoint != 0 ? shard_.find_port(static_cast<uint32_t>(saved.endpoint)) : nullptr;
    gone->link = saved.endpoint_link;
    gone->app = saved.server_app;
    gone->variant = variant;
    if (saved.endpoint != 0 && gone->port == nullptr) from_.fail("a call to nobody");
    return gone;
  }

  // By the chain in force, when it is the one that the call entered by; else nobody judges what is left of the call.
  void import_policies(const TakeoverCall& saved, Route& route, CallState& state) {
    state.tenant = saved.tenant;
    state.judged = saved.judged;
    const auto metadata = std::as_bytes(std::span(saved.metadata));
    state.metadata.assign(metadata.begin(), metadata.end());
    if (saved.passed > 0 && saved.chain_epoch == shard_.chains->epoch) state.chain = chain(route, saved.schema_index);
    if (!state.chain || !state.chain->carry(state, saved.passed, saved.rows, saved.cells)) state.chain = std::make_shared<Chain>();
  }

  void import_client_call(const TakeoverCall& saved) {
    Port* port = shard_.find_port(saved.attachment);
    if (port == nullptr) return from_.fail("a call of nobody");
    const auto method = port->methods.find(saved.handle);
    if (method == port->methods.end()) return from_.fail("a call of a method that was not bound");
    BoundMethod& bound = *method->second;
    const auto variant = variant_of(saved.schema_index, bound.service);
    const int index = variant ? variant->method_index(bound.method) : -1;
    if (index < 0) return from_.fail("a call of a method that its server has not");
    bound.entry = &shard_.directory.entry(bound.service);
    bound.route = &shard_.route(port->attachment().identity.app, bound.service, bound.method);
    ClientCall call;
    call.port = port;
    call.app_call = saved.app_call;
    call.method = method->second;
    call.variant = variant;
    call.server_layout = &variant->layout->methods[static_cast<size_t>(index)];
    call.same_schema = variant->fingerprint() == bound.fingerprint;
    import_policies(saved, *bound.route, call.policies);
    call.sent = true;
    call.endpoint = endpoint_of(saved, variant);
    call.stats = &bound.route->edge(saved.server_app);
    call.started_ns = saved.started_ns;
    call.deadline_ns = saved.deadline_ns;
    call.request_sequence = saved.request_sequence;
    call.reply_sequence = saved.reply_sequence;
    call.send_credit = saved.send_credit;
    call.half_closed = saved.half_closed != 0;
    call.endpoint->open_calls += 1;
    const uint64_t id = saved.link_call;
    if (!port->client_calls.emplace(saved.app_call, id).second || !shard_.clients_.calls().restore(id, std::move(call)))
      return from_.fail("two calls of one name");
    if (saved.deadline_ns != 0) shard_.set_timer(saved.deadline_ns, Side::kClient, id);
  }

  void import_server_call(const TakeoverCall& saved) {
    const SplitPath path = split_path(saved.path);
    const auto variant = variant_of(saved.schema_index, std::string(path.service));
    const int index = variant ? variant->method_index(path.method) : -1;
    ServerCall call;
    call.port = shard_.find_port(saved.attachment);
    if (call.port == nullptr || index < 0) return from_.fail("a call to nobody");
    call.link = saved.local_link != 0 ? shard_.local_server_end : saved.link;
    call.link_call = saved.link_call;
    call.variant = variant;
    call.layout = &variant->layout->methods[static_cast<size_t>(index)];
    call.endpoint = endpoint_of(saved, variant);
    call.started_ns = saved.started_ns;
    call.offered = true;
    call.request_sequence = saved.request_sequence;
    call.reply_sequence = saved.reply_sequence;
    call.send_credit = saved.send_credit;
    if (!saved.counted_client.empty()) {
      Route& route = shard_.route(saved.counted_client, std::string(path.service), std::string(path.method));
      call.stats = &route.edge(saved.server_app);
      call.route = &route;
      import_policies(saved, route, call.policies);
      call.endpoint->open_calls += 1;
    }
    if (!shard_.servers_.restore(saved.app_call, std::move(call))) return from_.fail("two calls of one name");
    if (saved.deadline_ns != 0) shard_.set_timer(saved.deadline_ns, Side::kServer, saved.app_call);
  }

  // ---- what waits ----

  void import_waiting(const TakeoverPort& saved) {
    Port& port = *shard_.find_port(saved.attachment);
    for (const SlotBytes& slot : saved.urgent) port.restore_urgent(to_slot(slot));
    for (const uint32_t index : saved.shown) port.restore_shown(index);
    for (const TakeoverDelivery& delivery : saved.deliveries)
      if (!from_.failed()) import_delivery(port, delivery);
  }

  void import_delivery(Port& port, const TakeoverDelivery& saved) {
    Delivery delivery{to_slot(saved.slot)};
    if (saved.has_message != 0) delivery.message = from_.message(saved.body, saved.body_block_at, shard_);
    if (from_.failed()) return;
    if (!saved.caller.empty()) {
      const auto caller = std::as_bytes(std::span(saved.caller));
      delivery.caller = std::make_shared<const std::vector<std::byte>>(caller.begin(), caller.end());
    }
    delivery.allocated = saved.allocated != 0;
    delivery.block_at = saved.block_at;
    delivery.block_bytes = saved.block_bytes;
    delivery.inline_copied = saved.inline_copied;
    delivery.blob = saved.blob;
    delivery.blob_offset = saved.blob_offset;
    delivery.image_cursor = saved.image_cursor;
    if (saved.ranked != 0) {
      const double weight = std::bit_cast<double>(saved.weight_bits);
      if (saved.level >= kQosLevels || !(weight >= 0.001 && weight <= 1000)) return from_.fail("a call's rank");
      const QosClass qos{static_cast<QosLevel>(saved.level), weight, static_cast<QosGroup>(saved.group_kind)};
      delivery.rank = QosRank{qos, saved.group, saved.rank_deadline_ns};
    }
    if (!saved.charged_path.empty()) {
      const SplitPath path = split_path(saved.charged_path);
      Route& route = shard_.route(saved.charged_client, std::string(path.service), std::string(path.method));
      delivery.charge = charge(route, saved.charged_bytes);
    }
    if (saved.pinned_bytes != 0) delivery.charge = port.pin(saved.pinned_server, saved.pinned_bytes);
    if (!port.restore(std::move(delivery))) from_.fail("a message half delivered");
  }

  void import_outbox(const TakeoverOutbox& saved) {
    Shard::Outbox& outbox = shard_.outboxes_[saved.link];
    if (shard_.peers_.count(saved.link) == 0) return from_.fail("frames for no peer");
    for (const TakeoverFrame& frame : saved.frames)
      outbox.push(std::make_shared<Shard::Outgoing>(Shard::Outgoing{from_.frame(frame, shard_), frame.body.head.size()}));
  }

  // ---- TCP ----

  void import_tcp(const TakeoverTcp& saved) {
    if (shard_.tcp_) return from_.fail("a transport twice");
    if (Status made = shard_.ensure_remote(); !made) return from_.fail(made.error().text);
    transport::TcpState tcp;
    tcp.next_id = saved.next_id;
    for (const uint32_t fd : saved.listener_fds) tcp.listeners.push_back(from_.take_fd(fd).release());
    for (const TakeoverLink& link : saved.links) tcp.links.push_back(import_link(link));
    if (Status restored = shard_.tcp_->restore(std::move(tcp)); !restored) from_.fail(restored.error().text);
  }

  transport::TcpLinkState import_link(const TakeoverLink& saved) {
    transport::TcpLinkState link;
    link.id = saved.id;
    link.dialed = saved.dialed != 0;
    link.up = saved.up != 0;
    link.failure_told = saved.failure_told != 0;
    link.address = saved.address;
    link.connections_made = saved.connections_made;
    link.give_up_at_ns = saved.give_up_at_ns;
    link.has_session = saved.has_session != 0;
    link.session = {saved.session_high, saved.session_low};
    import_sending(saved, link.send);
    import_receiving(saved, link.receive);
    if (saved.fd == kNoFd) return link;
    link.connection.fd = from_.take_fd(saved.fd).release();
    if (link.connection.fd < 0) from_.fail("a connection without its socket");
    const auto unread = std::as_bytes(std::span(saved.unread)), unwritten = std::as_bytes(std::span(saved.unwritten));
    link.connection.features = saved.features;
    link.connection.unread.assign(unread.begin(), unread.end());
    link.connection.unwritten.assign(unwritten.begin(), unwritten.end());
    return link;
  }

  void import_sending(const TakeoverLink& saved, transport::SendState& send) {
    send.peer_window_bytes = saved.peer_window_bytes;
    send.peer_message_bytes_max = saved.peer_message_bytes_max;
    send.started_bytes = saved.send_started_bytes;
    send.consumed_bytes = saved.send_consumed_bytes;
    send.first = saved.first;
    send.next = saved.next;
    send.highest = saved.highest;
    send.peer_ack = saved.peer_ack;
    send.next_message_id = saved.next_message_id;
    for (const auto& message : saved.messages) send.messages.push_back({from_.frame(message.frame, shard_), message.id, message.cut_bytes});
    for (const auto& segment : saved.segments) send.segments.push_back({segment.message, segment.offset, segment.bytes});
    send.waiting = saved.waiting;
  }

  void import_receiving(const TakeoverLink& saved, transport::ReceiveState& receive) {
    receive.receive_next = saved.receive_next;
    receive.started_bytes = saved.receive_started_bytes;
    receive.consumed_bytes = saved.receive_consumed_bytes;
    for (const auto& assembly : saved.assemblies)
      receive.assemblies.push_back({from_.frame(assembly.frame, shard_), assembly.id, assembly.head_bytes, assembly.filled_bytes,
                                    assembly.total_bytes, assembly.single != 0});
    receive.in_segment = saved.in_segment != 0;
    if (saved.segment.size() == sizeof receive.segment) std::memcpy(&receive.segment, saved.segment.data(), sizeof receive.segment);
    receive.segment_left = saved.segment_left;
    receive.segment_start = saved.segment_start;
  }

  Shard& shard_;
  TakeoverReader& from_;
  const TakeoverState& state_;
};

Status Shard::import_state(TakeoverReader& from) { return ShardImport(*this, from).run(); }

void Shard::begin() {
  for (const auto& [id, port] : ports_) {
    observer_.on_port(index, id, port->attachment().doorbell(index), true);
    ring(id);
    if (port->has_deliveries()) touch(*port);
  }
  trim_at_ns_ = world.now_ns() + Port::kIdleNs;
}

}  // namespace mrpc::dataplane
