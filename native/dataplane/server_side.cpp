#include "dataplane/server_side.h"

#include <array>
#include <cstring>

#include "base/text.h"
#include "dataplane/tenant.h"

namespace mrpc::dataplane {
namespace {

constexpr size_t kCallersMax = 16384;

abi::Slot slot_of(abi::SlotKind kind, uint64_t call) {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(kind);
  slot.call_id = call;
  return slot;
}

}  // namespace

void ServerSide::on_frame(transport::LinkId link, const std::string& peer, transport::Frame&& frame) {
  if (frame.kind == transport::FrameKind::kOpen) return on_open(link, peer, std::move(frame));
  const auto known = by_link_.find({link, frame.call_id});
  if (known == by_link_.end()) return;  // it has ended here already
  ServerCall& call = *calls_.find(known->second);
  if (frame.kind == transport::FrameKind::kCancel) return cancel(known->second, call);
  if (queue_behind(known->second, call, frame)) return;
  on_more(known->second, call, std::move(frame), !peer.empty());
}

Result<ServerSide::Opened> ServerSide::take_apart(transport::Frame&& frame) {
  Opened opened;
  opened.flags = frame.flags;
  opened.deadline_ns = frame.aux == 0 ? 0 : core_.now_ns + frame.aux;
  if (frame.head.size() < sizeof opened.prefix) return invalid_argument("a call opens without a path");
  std::memcpy(&opened.prefix, frame.head.data(), sizeof opened.prefix);
  const uint64_t text_bytes = uint64_t{opened.prefix.path_bytes} + opened.prefix.client_bytes;
  const uint64_t block_at = abi::align_up(sizeof opened.prefix + text_bytes, 8);
  if (block_at > frame.head.size()) return invalid_argument("a call opens with a path longer than its frame");
  const char* text = reinterpret_cast<const char*>(frame.head.data()) + sizeof opened.prefix;
  opened.path.assign(text, opened.prefix.path_bytes);
  opened.client = printable({text + opened.prefix.path_bytes, opened.prefix.client_bytes});
  shm::BlockLimits limits = core_.config.block_limits();
  limits.metadata_bytes_max += kJudgedBytesMax;
  auto message = from_frame(std::move(frame), block_at, limits);
  if (!message) return message.error();
  opened.message = std::move(*message);
  return opened;
}

void ServerSide::on_open(transport::LinkId link, const std::string& peer, transport::Frame&& frame) {
  const uint64_t link_call = frame.call_id;
  if (by_link_.count({link, link_call}) != 0) return answer(link, link_call, internal_error("two open calls of one link have one id"));
  auto opened = take_apart(std::move(frame));
  if (!opened) return answer(link, link_call, opened.error());
  const SplitPath path = split_path(opened->path);
  ServiceEntry* entry = core_.directory.find(path.service);
  ServerCall call;
  call.link = link;
  call.link_call = link_call;
  call.started_ns = core_.now_ns;
  if (entry != nullptr && opened->prefix.endpoint != 0) {
    for (const auto& endpoint : entry->endpoints)
      if (endpoint->id == opened->prefix.endpoint) call.endpoint = endpoint;
  } else if (entry != nullptr) {
    call.endpoint = entry->pick(Balancing::kLeastRequest, "", true, core_.world.random());
  }
  if (!call.endpoint)
    return answer(link, link_call, unavailable("no server offers '" + std::string(path.service) + "' here; call again"), transport::kNotDelivered);
  call.variant = call.endpoint->variant;
  call.port = call.endpoint->port;
  const int index = call.variant->method_index(path.method);
  if (index < 0) return answer(link, link_call, {StatusCode::kUnimplemented, "no method '" + opened->path + "'"});
  call.layout = &call.variant->layout->methods[static_cast<size_t>(index)];
  if (peer.empty()) {
    const uint64_t id = enter(std::move(call));
    return offer_call(id, *calls_.find(id), std::move(*opened));
  }
  check_remote({std::move(*opened), std::move(call), peer});
}

// What another daemon sends is checked like an application's message, and judged by this daemon's own policies.
void ServerSide::check_remote(Arriving&& arriving) {
  const ServerCall& call = arriving.call;
  const bool protobuf = (arriving.opened.flags & transport::kProtobuf) != 0;
  if (Status fits = core_.check_payload(call.link, arriving.opened.flags); !fits) return answer(call.link, call.link_call, fits.error());
  if (!protobuf && arriving.opened.prefix.fingerprint != call.variant->fingerprint())
    return answer(call.link, call.link_call, unavailable("the service's schema has just changed; call again"));
  const LinkCall key{call.link, call.link_call};
  const bool elsewhere = is_long(arriving.opened.message, false);
  const uint64_t bytes = arriving.opened.message.header.image_bytes;
  auto shared = std::make_shared<Arriving>(std::move(arriving));
  const auto check = [shared, protobuf, limits = core_.config.message_limits()] {
    shared->usable = check_arrived(shared->opened.message, *shared->call.layout->request, protobuf, limits);
  };
  if (elsewhere) return core_.run_long(key, bytes, check, [this, shared] { admit(std::move(*shared)); });
  check();
  admit(std::move(*shared));
}

void ServerSide::admit(Arriving&& arriving) {
  ServerCall& call = arriving.call;
  if (arriving.usable && core_.find_port(call.endpoint->id) != call.port) arriving.usable = unavailable("the server has just gone; call again");
  if (arriving.usable) arriving.usable = find_chain(arriving.opened, arriving.peer, call);
  if (!arriving.usable) return answer(call.link, call.link_call, arriving.usable.error());
  if (!call.policies.chain->reads_bytes() || arriving.opened.message.blobs.empty()) return judge_arrived(std::move(arriving));
  auto shared = std::make_shared<Arriving>(std::move(arriving));
  Message& message = shared->opened.message;
  const auto copy = [shared, limits = core_.config.message_limits()] {
    const message::MessageLayout& layout = *shared->call.layout->request;
    shared->usable = relay(shared->opened.message, layout, layout, limits);
  };
  if (!is_long(message, true)) return copy(), judge_arrived(std::move(*shared));
  const LinkCall key{shared->call.link, shared->call.link_call};
  core_.run_long(key, message.header.image_bytes, copy, [this, shared] { judge_arrived(std::move(*shared)); });
}

// Whole, where its chain reads what it carries.
void ServerSide::judge_arrived(Arriving&& arriving) {
  ServerCall& call = arriving.call;
  if (arriving.usable && core_.find_port(call.endpoint->id) != call.port) arriving.usable = unavailable("the server has just gone; call again");
  if (!arriving.usable) return answer(call.link, call.link_call, arriving.usable.error());
  call.recorded = core_.record(*call.route, call.policies.tenant.empty() ? call.route->client : call.policies.tenant, *call.endpoint,
                               Place::kEndpoint, *call.layout, arriving.opened.message);
  const uint64_t id = enter(std::move(call));
  judge_open(id, *calls_.find(id), std::move(arriving.opened), 0);
}

Status ServerSide::find_chain(Opened& opened, const std::string& peer, ServerCall& call) {
  std::string judged;
  if (opened.message.header.metadata_bytes > 0) {
    auto reserved = strip_reserved_metadata(opened.message, {});
    if (!reserved) return reserved.error();
    if (!reserved->tenant.empty() && !is_tenant_name(reserved->tenant)) return invalid_argument("the peer daemon names a tenant that is no name");
    call.policies.tenant = std::move(reserved->tenant);
    judged = std::move(reserved->judged);
  }
  const SplitPath path = split_path(opened.path);
  // A peer may name any client; beyond a bound they share one route.
  opened.client += "@" + peer;
  if (core_.routes.size() >= core_.config.routes_max && core_.routes.count({opened.client, opened.path}) == 0) opened.client = "other";
  Route& route = core_.route(opened.client, std::string(path.service), std::string(path.method));
  call.policies.chain = core_.chain_for(route, *call.variant, *call.layout, Place::kEndpoint);
  call.policies.chain->leave_out(call.policies, peer, judged);
  call.route = &route;
  call.stats = &route.edge(call.endpoint->app);
  call.deadline_ns = opened.deadline_ns;
  return ok_status();
}

// Puts a call into the table. A local call's deadline is kept by its client half.
uint64_t ServerSide::enter(ServerCall&& call) {
  const LinkCall key{call.link, call.link_call};
  const uint64_t deadline_ns = call.deadline_ns;
  Port& port = *call.port;
  const uint64_t id = calls_.insert(std::move(call));
  by_link_.emplace(key, id);
  port.server_calls.insert(id);
  if (deadline_ns != 0) core_.set_timer(deadline_ns, Side::kServer, id);
  return id;
}

void ServerSide::offer_call(uint64_t id, ServerCall& call, Opened&& opened) {
  Port& port = *call.port;
  const auto method = static_cast<uint32_t>(call.layout - call.variant->layout->methods.data());
  Route* parked_by = nullptr;
  if (port.parked() > 0) {
    const SplitPath path = split_path(opened.path);
    parked_by = &core_.route(opened.client, std::string(path.service), std::string(path.method));
    if (parked_by->parked_calls >= core_.config.parked_calls_max ||
        parked_by->parked_bytes + opened.message.private_bytes() > core_.config.parked_bytes_max) {
      answer(call.link, call.link_call,
             resource_exhausted("'" + call.endpoint->app + "' takes no more calls at present and too many wait; retry later"));
      return end(id, call, StatusCode::kResourceExhausted);
    }
  }
  abi::Slot slot = slot_of(abi::SlotKind::kOpen, id);
  slot.flags = static_cast<uint8_t>((opened.flags & transport::kEnd ? abi::kEnd : 0) | abi::kHasMessage);
  slot.handle = call.endpoint->handle_base + method;
  slot.aux = opened.deadline_ns;
  call.offered = true;
  if (call.stats != nullptr) {
    call.stats->calls += 1;
    call.stats->in_flight += 1;
    call.stats->request_bytes += opened.message.header.image_bytes;
    call.endpoint->open_calls += 1;
  }
  std::optional<QosRank> rank = core_.orders_calls ? rank_of(opened, call, slot.aux) : std::nullopt;
  Delivery delivery{slot, std::move(opened.message)};
  delivery.caller = caller_metadata(opened.client, tenant_of(*delivery.message).empty());
  delivery.rank = std::move(rank);
  if (parked_by != nullptr) delivery.charge = charge(*parked_by, delivery.message->private_bytes());
  port.deliver(std::move(delivery));
  core_.touch(port);
}

// The verified name of the calling app, and its tenant where that is its own, as the metadata that the serving application reads.
std::shared_ptr<const std::vector<std::byte>> ServerSide::caller_metadata(const std::string& client, bool own_tenant) {
  if (callers_.size() >= kCallersMax) callers_.clear();
  auto& known = callers_[{client, own_tenant}];
  if (known) return known;
  const std::array<shm::MetadataPair, 2> pairs{{{"mrpc-app", client}, {kTenantKey, client}}};
  known = std::make_shared<const std::vector<std::byte>>(pack_metadata(std::span(pairs.data(), own_tenant ? 2 : 1)));
  return known;
}

// By the chain that judged the call: here, or in its client half on this shard.
std::optional<QosRank> ServerSide::rank_of(const Opened& opened, const ServerCall& call, uint64_t deadline_ns) {
  const Chain* chain = call.policies.chain.get();
  if (chain == nullptr) {
    const SplitPath path = split_path(opened.path);
    const Route& route = core_.route(opened.client, std::string(path.service), std::string(path.method));
    const auto judged = route.chains.find({call.variant->fingerprint(), Place::kBothEnds});
    if (judged != route.chains.end()) chain = judged->second.get();
  }
  if (chain == nullptr || !chain->qos()) return std::nullopt;
  const std::string_view tenant = tenant_of(opened.message);
  const bool by_tenant = chain->qos()->group == QosGroup::kTenant && !tenant.empty();
  return QosRank{*chain->qos(), by_tenant ? std::string(tenant) : opened.client, deadline_ns};
}

void ServerSide::on_more(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote) {
  if (frame.kind == transport::FrameKind::kMessage) return on_more_message(id, call, std::move(frame), remote);
  abi::Slot slot = slot_of(abi::SlotKind::kHalfClose, id);
  if (frame.kind == transport::FrameKind::kCredit) {
    if (call.port->parked() >= core_.config.parked_calls_max) {
      answer(call.link, call.link_call, resource_exhausted("too much credit waits for '" + call.endpoint->app + "'"));
      return cancel(id, call);
    }
    slot.kind = static_cast<uint8_t>(abi::SlotKind::kCredit);
    slot.aux = frame.aux;
    call.send_credit = static_cast<uint32_t>(std::min<uint64_t>(1u << 20, call.send_credit + frame.aux));
  }
  deliver_more(id, call, {slot});
}

void ServerSide::on_more_message(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote) {
  const LinkCall key{call.link, call.link_call};
  const uint8_t frame_flags = frame.flags;
  const bool protobuf = (frame_flags & transport::kProtobuf) != 0;
  auto more = std::make_shared<More>(More{slot_of(abi::SlotKind::kMessage, id)});
  more->slot.flags = static_cast<uint8_t>((frame.flags & transport::kEnd ? abi::kEnd : 0) | abi::kHasMessage);
  more->slot.sequence = call.request_sequence++;
  auto parsed = from_frame(std::move(frame), 0, core_.config.block_limits());
  if (parsed) more->usable = core_.check_payload(key.link, frame_flags);
  else more->usable = parsed.error();
  if (parsed) more->message = std::move(*parsed);
  if (!more->usable || !remote) return deliver_more(id, call, std::move(*more));
  const bool whole = call.policies.chain && call.policies.chain->reads_bytes() && !more->message->blobs.empty();
  const auto check = [more, protobuf, whole, variant = call.variant, layout = call.layout, limits = core_.config.message_limits()] {
    more->usable = check_arrived(*more->message, *layout->request, protobuf, limits);
    if (more->usable && whole) more->usable = relay(*more->message, *layout->request, *layout->request, limits);
  };
  if (!is_long(*more->message, whole)) return check(), deliver_more(id, call, std::move(*more));
  core_.run_long(key, more->message->header.image_bytes, check, [this, id, more] {
    if (ServerCall* still = calls_.find(id)) deliver_more(id, *still, std::move(*more));
  });
}

void ServerSide::deliver_more(uint64_t id, ServerCall& call, More&& more) {
  if (!more.usable) {
    answer(call.link, call.link_call, more.usable.error());
    return cancel(id, call);
  }
  judge_more(id, call, std::move(more), 0);
}

void ServerSide::tell_cancelled(uint64_t id, ServerCall& call) {
  if (!call.port->drop_waiting(id)) call.port->deliver_urgent(slot_of(abi::SlotKind::kCancel, id));
  core_.touch(*call.port);
}

void ServerSide::cancel(uint64_t id, ServerCall& call) {
  if (call.offered) tell_cancelled(id, call);
  end(id, call, StatusCode::kCancelled);
}

bool ServerSide::on_slot(Port& port, const abi::Slot& slot, std::string& why) {
  switch (static_cast<abi::SlotKind>(slot.kind)) {
    case abi::SlotKind::kStatus:
    case abi::SlotKind::kMessage:
    case abi::SlotKind::kInitialMetadata:
    case abi::SlotKind::kCredit: return on_reply(port, slot, why);
    default: return why = "a slot that no server may send", false;
  }
}

bool ServerSide::on_reply(Port& port, const abi::Slot& slot, std::string& why) {
  Message message;
  if (slot.length != 0) {
    auto taken = core_.take_block(port, slot, 0);
    if (!taken && taken.error().code == StatusCode::kInternal) return why = taken.error().text, false;
    // Over a limit: the caller hears of it, the server's other calls go on.
    message = taken ? std::move(*taken) : make_error_message(taken.error().text);
    if (!taken && calls_.find(slot.call_id) != nullptr && calls_.find(slot.call_id)->port == &port) {
      ServerCall& call = *calls_.find(slot.call_id);
      answer(call.link, call.link_call, taken.error());
      return end(slot.call_id, call, taken.error().code), true;
    }
  } else if ((slot.flags & abi::kHasMessage) != 0) {
    return why = "a reply with a message but no block", false;
  }
  ServerCall* call = calls_.find(slot.call_id);
  if (call == nullptr || call->port != &port) return true;  // cancelled or expired meanwhile
  if ((slot.flags & abi::kHasMessage) == 0) return pass_on(port, slot, std::move(message), std::nullopt), true;
  const Chain* chain = call->policies.chain.get();
  const bool whole = chain != nullptr && chain->judges_replies() && chain->reads_bytes() && !message.blobs.empty();
  if (is_long(message, whole)) return check_elsewhere(port, slot, *call, std::move(message), whole), true;
  auto error = check_reply(*call->layout, message, whole);
  pass_on(port, slot, std::move(message), std::move(error));
  return true;
}

// As ClientSide::check_and_relay.
std::optional<Error> ServerSide::check_reply(const message::MethodLayout& layout, Message& message, bool whole) const {
  const auto limits = core_.config.message_limits();
  const auto verified = check_image(message, *layout.reply, limits);
  if (!verified) return Error{StatusCode::kInternal, "the server sent a malformed reply: " + verified.error().text};
  if (!verified->has_unknown && !whole) return std::nullopt;
  const Status relaid = relay(message, *layout.reply, *layout.reply, limits);
  if (!relaid) return relaid.error();
  return std::nullopt;
}

void ServerSide::check_elsewhere(Port& port, const abi::Slot& slot, const ServerCall& call, Message&& message, bool whole) {
  struct Checked { Message message; std::optional<Error> error; };
  auto shared = std::make_shared<Checked>(Checked{std::move(message), std::nullopt});
  const auto check = [this, shared, variant = call.variant, layout = call.layout, whole, hold = shared->message.hold] {
    shared->error = check_reply(*layout, shared->message, whole);
  };
  core_.run_long(port, check, [this, shared, slot](Port& still) { pass_on(still, slot, std::move(shared->message), std::move(shared->error)); });
}

// Sends on what the server said, or why it cannot be.
void ServerSide::pass_on(Port& port, const abi::Slot& slot, Message&& message, std::optional<Error> error) {
  ServerCall* call = calls_.find(slot.call_id);
  if (call == nullptr || call->port != &port) return;
  const bool ends = slot.kind == static_cast<uint8_t>(abi::SlotKind::kStatus);
  const bool streams = slot.kind == static_cast<uint8_t>(abi::SlotKind::kMessage);
  if (!error && streams && call->send_credit == 0) error = resource_exhausted("the server overran its stream's credit");
  if (error) {
    answer(call->link, call->link_call, *error);
    if (!ends) port.deliver_urgent(slot_of(abi::SlotKind::kCancel, slot.call_id));
    core_.touch(port);
    return end(slot.call_id, *call, error->code);
  }
  Answer said{slot, std::move(message)};
  if (judge_answer(slot.call_id, *call, said)) send_answer(slot.call_id, *call, std::move(said));
}

void ServerSide::send_answer(uint64_t id, ServerCall& call, Answer&& said) {
  const abi::Slot& slot = said.slot;
  const bool ends = slot.kind == static_cast<uint8_t>(abi::SlotKind::kStatus);
  transport::Frame frame;
  frame.kind = static_cast<transport::FrameKind>(slot.kind);  // the two enumerations share their numbers
  frame.code = std::min(slot.code, kStatusCodeMax);
  frame.flags = slot.flags & abi::kHasMessage ? transport::kHasMessage : 0;
  frame.aux = slot.aux;
  frame.call_id = call.link_call;
  if (slot.kind == static_cast<uint8_t>(abi::SlotKind::kMessage)) {
    call.send_credit -= std::min(call.send_credit, 1u);
    frame.sequence = call.reply_sequence++;
  }
  if (call.stats != nullptr) call.stats->reply_bytes += said.message.header.image_bytes;
  if (call.policies.chain) frame.compression = call.policies.chain->compression_level(said.message.header.image_bytes);
  const bool has_message = (slot.flags & abi::kHasMessage) != 0;
  if (!has_message && !said.message.bytes.empty()) into_frame(std::move(said.message), frame);
  const Status sent = has_message ? core_.send(call.link, std::move(frame), std::move(said.message), call.variant, *call.layout->reply)
                                  : core_.send(call.link, std::move(frame));
  if (!sent && sent.error().code == StatusCode::kResourceExhausted) {  // over the peer's limit: the caller still hears why
    answer(call.link, call.link_call, sent.error());
    if (!ends) tell_cancelled(id, call);
    return end(id, call, sent.error().code);
  }
  if (ends) end(id, call, static_cast<StatusCode>(std::min(slot.code, kStatusCodeMax)));
}

void ServerSide::answer(transport::LinkId link, uint64_t link_call, const Error& error, uint32_t delivered) {
  transport::Frame frame;
  frame.kind = transport::FrameKind::kStatus;
  frame.call_id = link_call;
  frame.code = static_cast<uint8_t>(error.code);
  frame.sequence = delivered;
  into_frame(make_error_message(error.text), frame);
  (void)core_.send(link, std::move(frame));  // a link that is gone has ended the call at its other end
}

// Its server may have said its last.
void ServerSide::on_unsent(transport::LinkId link, uint64_t link_call) {
  answer(link, link_call, over_peer_limit());
  const auto known = by_link_.find({link, link_call});
  if (known == by_link_.end()) return;
  const uint64_t id = known->second;
  tell_cancelled(id, *calls_.find(id));
  end(id, *calls_.find(id), StatusCode::kResourceExhausted);
}

void ServerSide::end(uint64_t id, ServerCall& call, StatusCode code, uint32_t denier) {
  if (call.stats != nullptr) {
    call.stats->codes[static_cast<uint8_t>(code)] += 1;
    if (call.offered) {
      call.stats->in_flight -= 1;
      call.stats->latency.record(core_.now_ns - call.started_ns);
      call.endpoint->open_calls -= 1;
    } else {
      call.stats->calls += 1;
    }
  }
  if (call.policies.passed != 0 || !call.policies.claims.empty()) {
    JudgedCall ended = judged_call(id, call);
    ended.facts.status = static_cast<int32_t>(code);
    core_.end_policies(ended, denier);
  }
  core_.end_record(std::move(call.recorded), call.policies.chain.get(), code, denier);
  by_link_.erase({call.link, call.link_call});
  call.port->server_calls.erase(id);
  calls_.erase(id);
}

bool ServerSide::restore(uint64_t id, ServerCall&& call) {
  if (!by_link_.emplace(LinkCall{call.link, call.link_call}, id).second) return false;
  call.port->server_calls.insert(id);
  return calls_.restore(id, std::move(call));
}

void ServerSide::on_deadline(uint64_t id) {
  ServerCall* call = calls_.find(id);
  if (call == nullptr) return;
  answer(call->link, call->link_call, {StatusCode::kDeadlineExceeded, "deadline exceeded"});
  cancel(id, *call);
}

void ServerSide::on_port_gone(Port& port, const std::string& reason) {
  const auto open = port.server_calls;  // end() changes it
  for (const uint64_t id : open) {
    ServerCall& call = *calls_.find(id);
    answer(call.link, call.link_call, unavailable("the server '" + call.endpoint->app + "' is gone: " + reason));
    end(id, call, StatusCode::kUnavailable);
  }
}

void ServerSide::on_link_down(transport::LinkId link) {
  std::vector<uint64_t> lost;
  calls_.for_each([&](uint64_t id, ServerCall& call) {
    if (call.link == link) lost.push_back(id);
  });
  for (const uint64_t id : lost) cancel(id, *calls_.find(id));
  waiting_bytes_.erase(link);
}

}  // namespace mrpc::dataplane
