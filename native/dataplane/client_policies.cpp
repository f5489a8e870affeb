// Policies on the client half of a call: its messages and replies through the chain that it entered by, and what a policy makes wait.
//
// WAITING. A policy may delay a message, or hold it until another call has fetched a reply. The call is in the table then, like any other:
// it can be cancelled, expires, and ends with its application. What the application says about it meanwhile queues behind that
// message, and what the server says behind a reply that waits, so that order is kept within the call; other calls overtake.
#include <algorithm>

#include "dataplane/client_side.h"

namespace mrpc::dataplane {
namespace {

bool has_message(const abi::Slot& slot) {
  return slot.kind == static_cast<uint8_t>(abi::SlotKind::kOpen) || slot.kind == static_cast<uint8_t>(abi::SlotKind::kMessage);
}

uint64_t mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ value >> 27) * 0x94d049bb133111ebull;
  return value ^ value >> 31;
}

// What an endpoint is to rendezvous hashing: the same on every shard, and for a remote one on every daemon.
uint64_t weight(const Endpoint& endpoint, uint64_t hash) {
  uint64_t name = endpoint.id;
  for (const std::string* text : {&endpoint.app, &endpoint.node})
    for (const char c : *text) name = (name ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
  return mix(hash ^ mix(name));
}

}  // namespace

JudgedCall ClientSide::judged_call(uint64_t id, ClientCall& call) {
  const Route& route = *call.method->route;
  JudgedCall judged(core_, call.policies);
  judged.key = {core_.index, id};
  judged.fingerprint = call.variant->fingerprint();
  judged.limits = core_.config.message_limits();
  judged.facts.now_ns = core_.now_ns;
  judged.facts.unix_ns = core_.unix_ns();
  judged.facts.started_ns = call.started_ns;
  judged.facts.deadline_ns = call.deadline_ns;
  judged.facts.client = to_text(route.client);
  judged.facts.server = to_text(call.endpoint->app);
  judged.facts.service = to_text(route.service);
  judged.facts.method = to_text(route.method);
  judged.facts.tenant = call.policies.tenant.empty() ? judged.facts.client : to_text(call.policies.tenant);
  return judged;
}

// One more thing that the application says about its call: judged and sent on, or queued behind what waits.
void ClientSide::say(uint64_t id, ClientCall& call, Said&& said) {
  if (call.waiting && !call.waiting->requests.empty()) {
    call.waiting->bytes += said.message.header.image_bytes;
    if (call.waiting->bytes > core_.config.parked_bytes_max || call.waiting->requests.size() >= core_.config.parked_calls_max) {
      cancel_downstream(id, call);
      return finish_with_error(id, call, resource_exhausted("too much waits behind a message that a policy delays"));
    }
    call.waiting->requests.push_back(std::move(said));
    return;
  }
  switch (judge(id, call, said)) {
    case Progress::kGoes: return send_on(id, call, std::move(said));
    case Progress::kWaits: return call.waiting->requests.push_back(std::move(said));
    case Progress::kEnded: return;
  }
}

void ClientSide::send_on(uint64_t id, ClientCall& call, Said&& said) {
  transport::Frame frame;
  frame.call_id = id;
  switch (static_cast<abi::SlotKind>(said.slot.kind)) {
    case abi::SlotKind::kOpen: return send_open(id, call, std::move(said));
    case abi::SlotKind::kHalfClose: frame.kind = transport::FrameKind::kHalfClose; break;
    case abi::SlotKind::kCredit:
      frame.kind = transport::FrameKind::kCredit;
      frame.aux = said.slot.aux;
      break;
    default:
      frame.kind = transport::FrameKind::kMessage;
      frame.sequence = said.slot.sequence;
      frame.flags = static_cast<uint8_t>((said.slot.flags & abi::kEnd ? transport::kEnd : 0) | transport::kHasMessage);
      call.stats->request_bytes += said.message.header.image_bytes;
      frame.compression = call.policies.chain->compression_level(said.message.header.image_bytes);
      return forward(id, call, std::move(frame), std::move(said.message), {});
  }
  forward(id, call, std::move(frame));
}

ClientSide::Progress ClientSide::judge(uint64_t id, ClientCall& call, Said& said) {
  Chain& chain = *call.policies.chain;
  if (chain.empty() || !has_message(said.slot)) return Progress::kGoes;
  JudgedCall judged = judged_call(id, call);
  judged.message = &said.message;
  judged.layout = call.server_layout->request;
  judged.facts.message_bytes = said.message.header.image_bytes;
  judged.facts.first = !call.sent;
  judged.facts.last = (said.slot.flags & abi::kEnd) != 0;
  const Action action = chain.judge(judged, said.stage);
  if (judged.verdict.choice && !call.sent && action != Action::kDeny && !choose_again(call, *judged.verdict.choice)) {
    const std::string& app = judged.verdict.choice->app;
    finish_with_error(id, call, unavailable("no server of app '" + app + "', which a policy chose, offers '" + call.method->service + "'"));
    return Progress::kEnded;
  }
  if (action == Action::kForward) return Progress::kGoes;
  if (action == Action::kDeny) return deny(id, call, *judged.verdict.denial, judged.stage), Progress::kEnded;
  if (action == Action::kReply) {
    const StoredReply& stored = *judged.verdict.reply;
    Reply reply{transport::FrameKind::kStatus, transport::kHasMessage, 0, make_message(0, stored.metadata, {}, stored.image)};
    return deliver_checked(id, call, std::move(reply)), Progress::kEnded;
  }
  if (!call.waiting) call.waiting = std::make_unique<ClientCall::Waiting>();
  const bool delays = action == Action::kDelay;
  said.stage = delays ? judged.stage + 1 : judged.stage;
  call.waiting->request_at_ns = delays ? core_.now_ns + std::min(judged.verdict.delay_ns, UINT64_MAX / 2) : 0;
  if (delays) core_.set_timer(call.waiting->request_at_ns, Side::kClientWaiting, id);
  return Progress::kWaits;
}

ClientSide::Progress ClientSide::judge_reply(uint64_t id, ClientCall& call, Reply& reply) {
  if (call.waiting && !call.waiting->replies.empty() && reply.stage == UINT32_MAX) return Progress::kWaits;  // behind what waits
  Chain& chain = *call.policies.chain;
  if (!chain.judges_replies() || !reply.message || (reply.flags & transport::kHasMessage) == 0) return Progress::kGoes;
  const bool ends = reply.kind == transport::FrameKind::kStatus;
  JudgedCall judged = judged_call(id, call);
  judged.message = &*reply.message;
  judged.layout = call.server_layout->reply;
  judged.facts.message_bytes = reply.message->header.image_bytes;
  judged.facts.first = call.reply_sequence == 0;
  judged.facts.last = ends;
  judged.facts.status = reply.code;
  const Action action = chain.judge_reply(judged, reply.stage);
  if (action == Action::kDeny) return deny(id, call, *judged.verdict.denial, judged.stage), Progress::kEnded;
  if (action == Action::kDelay) {
    if (!call.waiting) call.waiting = std::make_unique<ClientCall::Waiting>();
    reply.stage = judged.stage;
    call.waiting->reply_at_ns = core_.now_ns + std::min(judged.verdict.delay_ns, UINT64_MAX / 2);
    core_.set_timer(call.waiting->reply_at_ns, Side::kClientWaiting, id);
    return Progress::kWaits;
  }
  if (call.same_schema) return Progress::kGoes;
  const Status relaid = relay(*reply.message, *call.server_layout->reply, *call.method->layout->reply, core_.config.message_limits());
  if (relaid) return Progress::kGoes;
  if (!ends) cancel_downstream(id, call);
  return finish_with_error(id, call, {StatusCode::kInternal, "unusable reply: " + relaid.error().text}), Progress::kEnded;
}

void ClientSide::wait_with(uint64_t id, ClientCall& call, Reply&& reply) {
  call.waiting->bytes += reply.message ? reply.message->header.image_bytes : 0;
  if (call.waiting->bytes > core_.config.receive_quota_bytes) {
    cancel_downstream(id, call);
    return finish_with_error(id, call, resource_exhausted("too much waits behind a reply that a policy delays"));
  }
  call.waiting->replies.push_back(std::move(reply));
}

// Of the endpoints of the same schema. One for which other chains would have to judge the call is left out.
bool ClientSide::choose_again(ClientCall& call, const Verdict::Choice& choice) {
  const BoundMethod& method = *call.method;
  const auto eligible = [&](const Endpoint& endpoint) {
    if (endpoint.hidden || endpoint.variant != call.variant || (!method.app.empty() && endpoint.app != method.app)) return false;
    if (!choice.app.empty() && endpoint.app != choice.app) return false;
    return endpoint.remote() == call.endpoint->remote() || call.policies.chain->same_anywhere();
  };
  std::shared_ptr<Endpoint> best;
  uint64_t best_weight = 0;
  for (const auto& endpoint : method.entry->endpoints) {
    if (!eligible(*endpoint)) continue;
    // By app: the one with the fewest calls; by hash: the one that the key falls to, whichever others come and go.
    const uint64_t its = choice.app.empty() ? weight(*endpoint, choice.hash) : UINT64_MAX - endpoint->open_calls;
    if (best && its <= best_weight) continue;
    best = endpoint;
    best_weight = its;
  }
  if (best) call.endpoint = best;
  return best != nullptr;
}

void ClientSide::deny(uint64_t id, ClientCall& call, const Error& denial, uint32_t denier) {
  (call.sent ? *call.stats : call.method->route->edge("")).denied += 1;
  cancel_downstream(id, call);
  finish_with_error(id, call, denial, denier);
}

void ClientSide::resume(uint64_t id, bool again) {
  ClientCall* call = calls_.find(id);
  if (call == nullptr || !call->waiting) return;
  const auto due = [&](uint64_t at_ns) { return at_ns != 0 && at_ns <= core_.now_ns; };
  const bool requests = !call->waiting->requests.empty() && (again ? call->waiting->request_at_ns == 0 : due(call->waiting->request_at_ns));
  const bool replies = !again && !call->waiting->replies.empty() && due(call->waiting->reply_at_ns);
  if (requests) resume_requests(id);
  if (replies) resume_replies(id);
}

// A wait is cut short rather than handed over: delays end early, and a call that another one's stored reply would have served goes itself.
bool ClientSide::cut_waits() {
  std::vector<uint64_t> waiting;
  calls_.for_each([&](uint64_t id, ClientCall& call) {
    if (call.waiting && !(call.waiting->requests.empty() && call.waiting->replies.empty())) waiting.push_back(id);
  });
  for (const uint64_t id : waiting) {
    ClientCall* call = calls_.find(id);
    if (call == nullptr) continue;
    const bool requests = !call->waiting->requests.empty();
    if (requests && call->waiting->request_at_ns == 0) call->waiting->requests.front().stage += 1;
    if (requests) resume_requests(id);
    call = calls_.find(id);
    if (call != nullptr && !call->waiting->replies.empty()) resume_replies(id);
  }
  return !waiting.empty();
}

void ClientSide::resume_requests(uint64_t id) {
  auto queue = std::exchange(calls_.find(id)->waiting->requests, {});
  for (; !queue.empty(); queue.pop_front()) {
    ClientCall* call = calls_.find(id);
    if (call == nullptr) return;
    const Progress progress = judge(id, *call, queue.front());
    if (progress == Progress::kEnded) return;
    if (progress == Progress::kWaits) return call->waiting->requests.swap(queue);
    if (!call->sent && !find_endpoint_again(*call))
      return finish_with_error(id, *call, unavailable("its server went away while a policy made the call wait; call again"));
    send_on(id, *call, std::move(queue.front()));
  }
  if (ClientCall* call = calls_.find(id)) call->waiting->bytes = 0;
}

void ClientSide::resume_replies(uint64_t id) {
  auto queue = std::exchange(calls_.find(id)->waiting->replies, {});
  for (; !queue.empty(); queue.pop_front()) {
    ClientCall* call = calls_.find(id);
    if (call == nullptr) return;
    deliver_checked(id, *call, std::move(queue.front()));
    call = calls_.find(id);
    if (call == nullptr || call->waiting->replies.empty()) continue;
    queue.pop_front();
    for (Reply& later : queue) call->waiting->replies.push_back(std::move(later));
    return;
  }
  if (ClientCall* call = calls_.find(id)) call->waiting->bytes = 0;
}

// The endpoint may have gone while the call waited.
bool ClientSide::find_endpoint_again(ClientCall& call) {
  const auto& known = call.method->entry->endpoints;
  if (std::find(known.begin(), known.end(), call.endpoint) != known.end()) return true;
  for (const auto& endpoint : known) {
    const bool fits = !endpoint->hidden && endpoint->variant == call.variant && endpoint->remote() == call.endpoint->remote() &&
                      (call.method->app.empty() || endpoint->app == call.method->app);
    if (!fits) continue;
    call.endpoint = endpoint;
    return true;
  }
  return false;
}

}  // namespace mrpc::dataplane
