#include "dataplane/client_side.h"

#include <cstring>

#include "base/text.h"

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kPinnedShare = 2, kPinnedShareStuck = 8;

abi::Slot status_slot(uint64_t app_call, StatusCode code, uint8_t flags) {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(abi::SlotKind::kStatus);
  slot.code = static_cast<uint8_t>(code);
  slot.flags = flags;
  slot.call_id = app_call;
  return slot;
}

transport::Frame frame_of(transport::FrameKind kind, uint64_t call) {
  transport::Frame frame;
  frame.kind = kind;
  frame.call_id = call;
  return frame;
}

std::vector<std::byte> make_prefix(const std::string& path, const std::string& client) {
  const OpenPrefix head{static_cast<uint32_t>(path.size()), static_cast<uint32_t>(client.size()), 0, 0};
  std::vector<std::byte> prefix(abi::align_up(sizeof head + path.size() + client.size(), 8));
  std::memcpy(prefix.data(), &head, sizeof head);
  std::memcpy(prefix.data() + sizeof head, path.data(), path.size());
  std::memcpy(prefix.data() + sizeof head + path.size(), client.data(), client.size());
  return prefix;
}

Error nobody_offers(const BoundMethod& method) {
  return unavailable("no server offers '" + method.service + (method.app.empty() ? "" : "' in app '" + method.app) +
                     "'; start one, then look at 'mrpc services'");
}

Error not_granted(const std::string& client, const std::string& tenant) {
  return {StatusCode::kPermissionDenied, "app '" + client + "' may not call for tenant '" + printable(tenant.substr(0, 63)) +
                                             "'; an operator grants it with 'mrpc app register NAME --uid UID --act-as TENANT'"};
}

Error expired() { return {StatusCode::kDeadlineExceeded, "deadline exceeded"}; }

}  // namespace

std::shared_ptr<BoundMethod> bind_method(std::shared_ptr<const message::Schema> schema, const message::ServiceLayout& service,
                                         const message::MethodLayout& method, std::string target, const std::string& client) {
  auto bound = std::make_shared<BoundMethod>();
  bound->service = service.full_name;
  bound->method = method.name;
  bound->app = std::move(target);
  bound->schema = std::move(schema);
  bound->layout = &method;
  bound->fingerprint = service.fingerprint;
  bound->prefix = make_prefix(method.path, client);
  return bound;
}

bool ClientSide::on_slot(Port& port, const abi::Slot& slot, std::string& why) {
  why = "a slot that no client may send";
  switch (static_cast<abi::SlotKind>(slot.kind)) {
    case abi::SlotKind::kOpen: return on_open(port, slot, why);
    case abi::SlotKind::kMessage: return on_message(port, slot, why);
    case abi::SlotKind::kHalfClose: return on_half_close(port, slot);
    case abi::SlotKind::kCancel: return on_cancel(port, slot);
    case abi::SlotKind::kCredit: return on_credit(port, slot);
    default: return false;
  }
}

bool ClientSide::on_open(Port& port, const abi::Slot& slot, std::string& why) {
  const auto bound = port.methods.find(slot.handle);
  if (bound == port.methods.end()) return why = "a call names a method that was not bound", false;
  if (port.client_calls.count(slot.call_id) != 0) return why = "two open calls have one id", false;
  if ((slot.flags & abi::kHasMessage) == 0) return why = "a call opens without a message", false;
  BoundMethod& method = *bound->second;
  if (method.route == nullptr && core_.directory.find(method.service) == nullptr) return refuse_unknown(port, slot, method, why);
  if (method.route == nullptr) {
    method.entry = &core_.directory.entry(method.service);
    method.route = &core_.route(port.attachment().identity.app, method.service, method.method);
  }
  auto taken = core_.take_block(port, slot, method.prefix.size());
  if (!taken && taken.error().code == StatusCode::kInternal) return why = taken.error().text, false;
  if (!taken) return refuse(port, slot, method, taken.error()), true;
  if (core_.draining) return refuse(port, slot, method, unavailable("mrpcd is draining; call again")), true;
  if (port.client_calls.size() >= core_.config.open_calls_max)
    return refuse(port, slot, method, resource_exhausted("too many open calls of this application")), true;
  Opening opening{port.id(), slot, bound->second, std::move(*taken), nullptr};
  judge_and_send(port, std::move(opening));
  return true;
}

// A service that nobody ever offered here leaves no route behind: applications could name them without end.
bool ClientSide::refuse_unknown(Port& port, const abi::Slot& slot, const BoundMethod& method, std::string& why) {
  const auto taken = core_.take_block(port, slot, method.prefix.size());
  if (!taken && taken.error().code == StatusCode::kInternal) return why = taken.error().text, false;
  port.deliver({status_slot(slot.call_id, StatusCode::kUnavailable, abi::kNotDelivered), make_error_message(nobody_offers(method).text)});
  core_.touch(port);
  return true;
}

// Finds out what the variant of the server means for this method; remembered for the next call.
void ClientSide::resolve(BoundMethod& method, const std::shared_ptr<const ServiceVariant>& variant) {
  if (method.variant == variant) return;
  method.variant = variant;
  const int index = variant->method_index(method.method);
  method.server_layout = index < 0 ? nullptr : &variant->layout->methods[static_cast<size_t>(index)];
  method.same_schema = variant->fingerprint() == method.fingerprint;
}

std::optional<Error> ClientSide::choose(Opening& opening) {
  BoundMethod& method = *opening.method;
  Balancing balancing = Balancing::kRoundRobin;
  if (method.variant != nullptr)
    if (const auto at = method.route->chains.find({method.variant->fingerprint(), Place::kBothEnds}); at != method.route->chains.end())
      balancing = at->second->balancing();
  opening.endpoint = method.entry->pick(balancing, method.app, false, core_.world.random());
  if (!opening.endpoint) {
    for (const auto& endpoint : method.entry->endpoints)
      if (endpoint->hidden) return unavailable("'" + method.service + "' has just come on offer, and its policies are being compiled; call again");
    return nobody_offers(method);
  }
  resolve(method, opening.endpoint->variant);
  if (method.server_layout == nullptr)
    return Error{StatusCode::kUnimplemented, "the server of '" + method.service + "' has no method '" + method.method + "'"};
  return std::nullopt;
}

// Brings the image into the server's schema, whatever the client's was, and blobs into private memory if it is wanted `whole`. It touches no
// shard state and so may run elsewhere.
std::optional<Error> ClientSide::check_and_relay(Message& message, const message::MethodLayout& from, const message::MethodLayout& to,
                                                 bool same_schema, bool whole) const {
  const auto limits = core_.config.message_limits();
  const auto verified = check_image(message, *from.request, limits);
  if (!verified) return verified.error();
  if (same_schema && !verified->has_unknown && !whole) return std::nullopt;
  const Status relaid = relay(message, *from.request, *to.request, limits);
  if (!relaid) return relaid.error();
  return std::nullopt;
}

void ClientSide::judge_and_send(Port& port, Opening&& opening) {
  BoundMethod& method = *opening.method;
  if (auto error = choose(opening))
    return refuse(port, opening.slot, method, *error, error->code == StatusCode::kUnavailable ? Refusal::kNotDelivered : Refusal::kFailed);
  auto chain = core_.chain_for(*method.route, *opening.endpoint->variant, *method.server_layout, opening.endpoint->place());
  // What is judged is what goes on: the sender can no longer change it.
  const bool whole = chain->reads_bytes() && !opening.message.blobs.empty();
  if (is_long(opening.message, whole || !method.same_schema)) {
    auto shared = std::make_shared<Opening>(std::move(opening));
    const auto check = [this, shared, whole, hold = shared->message.hold] {
      const BoundMethod& bound = *shared->method;
      shared->error = check_and_relay(shared->message, *bound.layout, *bound.server_layout, bound.same_schema, whole);
    };
    return core_.run_long(port, check, [this, shared, chain](Port& still) {
      if (shared->error) return refuse(still, shared->slot, *shared->method, *shared->error);
      dispatch(still, std::move(*shared), chain);
    });
  }
  if (auto error = check_and_relay(opening.message, *method.layout, *method.server_layout, method.same_schema, whole))
    return refuse(port, opening.slot, method, *error);
  dispatch(port, std::move(opening), std::move(chain));
}

// Puts the call into the table, so that it can be cancelled and expire whatever a policy makes it wait for, and judges it.
void ClientSide::dispatch(Port& port, Opening&& opening, std::shared_ptr<Chain> chain) {
  BoundMethod& method = *opening.method;
  if (chain->qos()) port.door.set(*chain->qos());
  std::string named_tenant;
  if (opening.message.header.metadata_bytes > 0) {
    auto reserved = strip_reserved_metadata(opening.message, method.route->client);
    if (!reserved) return refuse(port, opening.slot, method, reserved.error());
    named_tenant = std::move(reserved->tenant);
    if (!named_tenant.empty() && !port.attachment().identity.may_act_for(named_tenant))
      return refuse(port, opening.slot, method, not_granted(method.route->client, named_tenant), Refusal::kDenied);
  }
  const uint64_t deadline_ns = opening.slot.aux;
  if (deadline_ns != 0 && deadline_ns <= core_.now_ns) return refuse(port, opening.slot, method, expired());
  if (core_.link_congested(opening.endpoint->remote() ? opening.endpoint->link : core_.local_client_end))
    return refuse(port, opening.slot, method, resource_exhausted("too much is waiting for '" + method.route->service + "'; retry later"));

  ClientCall call;
  call.port = &port;
  call.app_call = opening.slot.call_id;
  call.method = std::move(opening.method);
  call.variant = opening.endpoint->variant;
  call.server_layout = method.server_layout;
  call.same_schema = method.same_schema;
  call.policies.chain = std::move(chain);
  call.policies.tenant = std::move(named_tenant);
  call.endpoint = std::move(opening.endpoint);
  call.started_ns = core_.now_ns;
  call.deadline_ns = deadline_ns;
  call.half_closed = (opening.slot.flags & abi::kEnd) != 0;
  call.recorded = core_.record(*method.route, call.policies.tenant.empty() ? method.route->client : call.policies.tenant, *call.endpoint,
                               call.endpoint->place(), *call.server_layout, opening.message);
  const uint64_t id = calls_.insert(std::move(call));
  port.client_calls.emplace(opening.slot.call_id, id);
  if (deadline_ns != 0) core_.set_timer(deadline_ns, Side::kClient, id);
  say(id, *calls_.find(id), {opening.slot, std::move(opening.message)});
}

void ClientSide::send_open(uint64_t id, ClientCall& call, Said&& said) {
  call.sent = true;
  call.stats = &call.method->route->edge(call.endpoint->app);
  call.stats->calls += 1;
  call.stats->in_flight += 1;
  call.stats->request_bytes += said.message.header.image_bytes;
  call.endpoint->open_calls += 1;
  core_.counters.calls += 1;
  auto frame = frame_of(transport::FrameKind::kOpen, id);
  frame.flags = static_cast<uint8_t>((said.slot.flags & abi::kEnd ? transport::kEnd : 0) | transport::kHasMessage);
  frame.aux = call.deadline_ns == 0 ? 0 : call.deadline_ns - core_.now_ns;
  frame.compression = call.policies.chain->compression_level(said.message.header.image_bytes);
  const auto& head = call.method->prefix;
  OpenPrefix prefix;
  std::memcpy(&prefix, head.data(), sizeof prefix);
  prefix.fingerprint = call.variant->fingerprint();
  prefix.endpoint = call.endpoint->id;
  std::memcpy(said.message.bytes.data(), head.data(), head.size());
  std::memcpy(said.message.bytes.data(), &prefix, sizeof prefix);
  forward(id, call, std::move(frame), std::move(said.message), call.endpoint->remote() ? call.policies.chain->judges() : std::string());
}

bool ClientSide::on_message(Port& port, const abi::Slot& slot, std::string& why) {
  const auto known = port.client_calls.find(slot.call_id);
  auto taken = core_.take_block(port, slot, 0);
  if (!taken && taken.error().code == StatusCode::kInternal) return why = taken.error().text, false;
  if (known == port.client_calls.end()) return true;  // the call has just ended
  const uint64_t id = known->second;
  ClientCall& call = *calls_.find(id);
  if (slot.sequence != call.request_sequence) return why = "messages of a stream out of sequence", false;
  if (call.half_closed) return why = "a message after the end of its stream", false;
  std::optional<Error> error;
  if (!taken) error = taken.error();
  else if (call.send_credit == 0) error = resource_exhausted("stream overran its credit");
  if (error) return on_checked_message(id, call, slot, {{}, std::move(error)}), true;
  auto shared = std::make_shared<Checked>(Checked{std::move(*taken), std::nullopt});
  const bool whole = call.policies.chain->reads_bytes() && !shared->message.blobs.empty();
  const auto check = [this, shared, method = call.method, variant = call.variant, to = call.server_layout, same = call.same_schema, whole,
                      hold = shared->message.hold] {
    shared->error = check_and_relay(shared->message, *method->layout, *to, same, whole);
  };
  if (is_long(shared->message, whole || !call.same_schema)) {
    core_.run_long(port, check, [this, id, slot, shared](Port&) {
      if (ClientCall* still = calls_.find(id)) on_checked_message(id, *still, slot, std::move(*shared));
    });
    return true;
  }
  check();
  return on_checked_message(id, call, slot, std::move(*shared)), true;
}

void ClientSide::on_checked_message(uint64_t id, ClientCall& call, const abi::Slot& slot, Checked&& checked) {
  if (checked.error) return cancel_downstream(id, call), finish_with_error(id, call, *checked.error);
  call.request_sequence += 1;
  call.half_closed = (slot.flags & abi::kEnd) != 0;
  call.send_credit -= 1;
  say(id, call, {slot, std::move(checked.message)});
}

transport::LinkId ClientSide::link_of(const ClientCall& call) const {
  return call.endpoint->remote() ? call.endpoint->link : core_.local_client_end;
}

// One more frame of an open call, which ends when the frame cannot go.
void ClientSide::forward(uint64_t id, ClientCall& call, transport::Frame&& frame) {
  if (Status sent = core_.send(link_of(call), std::move(frame)); !sent) cannot_go(id, call, sent.error());
}

void ClientSide::forward(uint64_t id, ClientCall& call, transport::Frame&& frame, Message&& message, const std::string& judged) {
  const Status sent = core_.send(link_of(call), std::move(frame), std::move(message), call.variant, *call.server_layout->request, judged);
  if (!sent) cannot_go(id, call, sent.error());
}

// The link goes on without it; the server may know of the call already.
void ClientSide::cannot_go(uint64_t id, ClientCall& call, const Error& error) {
  cancel_downstream(id, call);
  finish_with_error(id, call, error);
}

void ClientSide::on_unsent(transport::LinkId link, uint64_t id) {
  ClientCall* call = calls_.find(id);
  if (call != nullptr && call->sent && link_of(*call) == link) cannot_go(id, *call, over_peer_limit());
}

bool ClientSide::on_half_close(Port& port, const abi::Slot& slot) {
  const auto known = port.client_calls.find(slot.call_id);
  if (known == port.client_calls.end()) return true;
  ClientCall& call = *calls_.find(known->second);
  if (!std::exchange(call.half_closed, true)) say(known->second, call, {slot, {}});
  return true;
}

bool ClientSide::on_cancel(Port& port, const abi::Slot& slot) {
  const auto known = port.client_calls.find(slot.call_id);
  if (known == port.client_calls.end()) return true;
  const uint64_t id = known->second;
  ClientCall& call = *calls_.find(id);
  cancel_downstream(id, call);
  finish_with_error(id, call, {StatusCode::kCancelled, "cancelled by the caller"});
  return true;
}

bool ClientSide::on_credit(Port& port, const abi::Slot& slot) {
  const auto known = port.client_calls.find(slot.call_id);
  if (known == port.client_calls.end()) return true;
  return say(known->second, *calls_.find(known->second), {slot, {}}), true;
}

void ClientSide::on_frame(transport::LinkId link, transport::Frame&& frame) {
  ClientCall* call = calls_.find(frame.call_id);
  if (call == nullptr) return;  // it has ended here already
  if (!call->sent || link_of(*call) != link) return;  // not this peer's call
  const uint64_t id = frame.call_id;
  switch (frame.kind) {
    case transport::FrameKind::kStatus:
    case transport::FrameKind::kMessage:
    case transport::FrameKind::kInitialMetadata: return deliver_reply(id, *call, std::move(frame));
    case transport::FrameKind::kCredit: {
      if (call->port->parked() >= core_.config.parked_calls_max) {
        cancel_downstream(id, *call);
        return finish_with_error(id, *call, resource_exhausted("the server gives more credit than is taken"));
      }
      call->send_credit = static_cast<uint32_t>(std::min<uint64_t>(1u << 20, call->send_credit + frame.aux));
      abi::Slot slot{};
      slot.kind = static_cast<uint8_t>(abi::SlotKind::kCredit);
      slot.call_id = call->app_call;
      slot.aux = frame.aux;
      call->port->deliver({slot, std::nullopt});
      return core_.touch(*call->port);
    }
    default: return;
  }
}

// Replies come laid out by the server's schema; those from another host have yet to be checked.
void ClientSide::deliver_reply(uint64_t id, ClientCall& call, transport::Frame&& frame) {
  // An application that does not take its replies may not hold its servers' memory.
  if (call.port->parked_bytes() + call.port->checking_bytes > core_.config.receive_quota_bytes) {
    if (frame.kind != transport::FrameKind::kStatus) cancel_downstream(id, call);
    return finish_with_error(id, call, resource_exhausted("replies are not taken: too many wait for this application"));
  }
  Reply reply{frame.kind, frame.flags, std::min(frame.code, kStatusCodeMax), std::nullopt};
  reply.not_delivered = frame.kind == transport::FrameKind::kStatus && frame.sequence == transport::kNotDelivered;
  if (frame.head.empty()) return deliver_checked(id, call, std::move(reply));
  auto parsed = from_frame(std::move(frame), 0, core_.config.block_limits());
  if (parsed) reply.usable = core_.check_payload(link_of(call), reply.flags);
  else reply.usable = parsed.error();
  if (parsed) reply.message = std::move(*parsed);
  // A chain that judges replies does so in the server's schema, before they are laid out for the caller.
  const Chain& chain = *call.policies.chain;
  const bool remote = call.endpoint->remote(), relays = !call.same_schema && !chain.judges_replies();
  const bool whole = chain.judges_replies() && chain.reads_bytes() && reply.message && !reply.message->blobs.empty();
  if (!reply.usable || (reply.flags & transport::kHasMessage) == 0 || !(remote || relays || whole)) return deliver_checked(id, call, std::move(reply));
  auto shared = std::make_shared<Reply>(std::move(reply));
  const auto check = [shared, remote, relays, whole, limits = core_.config.message_limits(), method = call.method, variant = call.variant,
                      from = call.server_layout, hold = shared->message->hold] {
    if (remote) shared->usable = check_arrived(*shared->message, *from->reply, (shared->flags & transport::kProtobuf) != 0, limits);
    if (whole && shared->usable) shared->usable = relay(*shared->message, *from->reply, *from->reply, limits);
    if (relays && shared->usable) shared->usable = relay(*shared->message, *from->reply, *method->layout->reply, limits);
  };
  if (!is_long(*shared->message, relays || whole)) return check(), deliver_checked(id, call, std::move(*shared));
  const uint64_t bytes = shared->message->header.image_bytes;
  call.port->checking_bytes += bytes;
  auto charge = std::shared_ptr<void>(nullptr, [this, bytes, port = call.port->id()](void*) {
    if (Port* still = core_.find_port(port)) still->checking_bytes -= bytes;
  });
  core_.run_long({link_of(call), id}, bytes, check, [this, id, shared, charge = std::move(charge)] {
    if (ClientCall* still = calls_.find(id)) deliver_checked(id, *still, std::move(*shared));
  });
}

// What waits here holds memory of the server's send heap. One application may hold half of it while its replies are copied, and an eighth,
// or one reply, once it has no room for more: the server's other callers go on. Nothing when that is over.
std::optional<std::shared_ptr<void>> ClientSide::charge_pinned(const ClientCall& call, const std::optional<Message>& message) {
  uint64_t bytes = 0;
  if (message && !call.endpoint->remote())
    for (const transport::Blob& blob : message->blobs) bytes += blob.length;
  if (bytes == 0) return nullptr;
  const auto known = call.port->pinned_bytes.find(call.endpoint->id);
  const uint64_t held = known == call.port->pinned_bytes.end() ? 0 : known->second;
  if (held > 0 && held + bytes > core_.config.send_quota_bytes / (call.port->stuck() ? kPinnedShareStuck : kPinnedShare)) return std::nullopt;
  return call.port->pin(call.endpoint->id, bytes);
}

void ClientSide::deliver_checked(uint64_t id, ClientCall& call, Reply&& reply) {
  const bool ends = reply.kind == transport::FrameKind::kStatus;
  if (!reply.usable) {
    reply.usable = internal_error("unusable reply: " + reply.usable.error().text);
  } else if (!reply.charge && !(reply.charge = charge_pinned(call, reply.message))) {
    reply.usable = resource_exhausted("replies are not taken: those that wait for this application hold too much of its server's memory");
  } else {
    switch (judge_reply(id, call, reply)) {
      case Progress::kGoes: break;
      case Progress::kWaits: return wait_with(id, call, std::move(reply));
      case Progress::kEnded: return;
    }
  }
  if (!reply.usable) {
    if (!ends) cancel_downstream(id, call);
    return finish_with_error(id, call, reply.usable.error());
  }
  if (reply.message && call.sent) call.stats->reply_bytes += reply.message->header.image_bytes;
  abi::Slot slot = status_slot(call.app_call, static_cast<StatusCode>(reply.code), reply.flags & transport::kHasMessage);
  Delivery delivery{slot, std::move(reply.message)};
  delivery.charge = std::move(*reply.charge);
  if (reply.not_delivered) delivery.slot.flags |= abi::kNotDelivered;
  if (ends) return finish(id, call, std::move(delivery));
  delivery.slot.kind = static_cast<uint8_t>(reply.kind == transport::FrameKind::kMessage ? abi::SlotKind::kMessage : abi::SlotKind::kInitialMetadata);
  delivery.slot.code = 0;
  delivery.slot.sequence = reply.kind == transport::FrameKind::kMessage ? call.reply_sequence++ : 0;
  call.port->deliver(std::move(delivery));
  core_.touch(*call.port);
}

void ClientSide::finish(uint64_t id, ClientCall& call, Delivery&& status, uint32_t denier) {
  const auto code = static_cast<StatusCode>(status.slot.code);
  call.port->deliver(std::move(status));
  conclude(id, call, code, denier);
}

void ClientSide::finish_with_error(uint64_t id, ClientCall& call, const Error& error, uint32_t denier) {
  finish(id, call, {status_slot(call.app_call, error.code, 0), make_error_message(error.text)}, denier);
}

void ClientSide::conclude(uint64_t id, ClientCall& call, StatusCode code, uint32_t denier) {
  core_.touch(*call.port);
  if (call.sent) call.stats->latency.record(core_.now_ns - call.started_ns);
  forget(id, call, code, denier);
}

void ClientSide::forget(uint64_t id, ClientCall& call, StatusCode code, uint32_t denier) {
  EdgeStats& stats = call.sent ? *call.stats : call.method->route->edge("");
  stats.codes[static_cast<uint8_t>(code)] += 1;
  if (call.sent) {
    stats.in_flight -= 1;
    call.endpoint->open_calls -= 1;
  } else {
    stats.calls += 1;
  }
  if (call.policies.passed != 0 || !call.policies.claims.empty()) {
    JudgedCall ended = judged_call(id, call);
    ended.facts.status = static_cast<int32_t>(code);
    core_.end_policies(ended, denier);
  }
  core_.end_record(std::move(call.recorded), call.policies.chain.get(), code, denier);
  call.port->client_calls.erase(call.app_call);
  calls_.erase(id);
}

void ClientSide::refuse(Port& port, const abi::Slot& slot, BoundMethod& method, const Error& error, Refusal why) {
  EdgeStats& stats = method.route->edge("");
  stats.calls += 1;
  stats.denied += why == Refusal::kDenied;
  stats.codes[static_cast<uint8_t>(error.code)] += 1;
  port.deliver({status_slot(slot.call_id, error.code, why == Refusal::kNotDelivered ? abi::kNotDelivered : 0), make_error_message(error.text)});
  core_.touch(port);
}

void ClientSide::cancel_downstream(uint64_t id, ClientCall& call) {
  // A link that is gone has told its other end already.
  if (call.sent) (void)core_.send(link_of(call), frame_of(transport::FrameKind::kCancel, id));
}

void ClientSide::on_deadline(uint64_t id) {
  ClientCall* call = calls_.find(id);
  if (call == nullptr) return;
  cancel_downstream(id, *call);
  call->port->deliver_last({status_slot(call->app_call, StatusCode::kDeadlineExceeded, 0), make_error_message(expired().text)});
  conclude(id, *call, StatusCode::kDeadlineExceeded);
}

void ClientSide::on_port_gone(Port& port) {
  const auto open = port.client_calls;  // forget() changes it
  for (const auto& [app_call, id] : open) {
    ClientCall& call = *calls_.find(id);
    cancel_downstream(id, call);
    forget(id, call, StatusCode::kCancelled);
  }
}

void ClientSide::on_link_down(transport::LinkId link, const std::string& reason) {
  std::vector<uint64_t> lost;
  calls_.for_each([&](uint64_t id, ClientCall& call) {
    if (call.sent && call.endpoint->remote() && call.endpoint->link == link) lost.push_back(id);
  });
  for (const uint64_t id : lost) finish_with_error(id, *calls_.find(id), unavailable("the peer daemon is gone: " + reason));
}

}  // namespace mrpc::dataplane
