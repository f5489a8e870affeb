// Policies on the server half of calls from other daemons: this daemon's own chains. What waits, waits as in client_policies.cpp.
#include <algorithm>

#include "dataplane/server_side.h"

namespace mrpc::dataplane {
namespace {

Error too_much_waits() {
  return resource_exhausted("too much waits for what a policy of the endpoint's daemon makes it wait for; retry later, or have the policy delay less");
}

}  // namespace

JudgedCall ServerSide::judged_call(uint64_t id, ServerCall& call) {
  JudgedCall judged(core_, call.policies);
  judged.key = {core_.index | kServerCall, id};
  judged.fingerprint = call.variant->fingerprint();
  judged.limits = core_.config.message_limits();
  judged.facts.now_ns = core_.now_ns;
  judged.facts.unix_ns = core_.unix_ns();
  judged.facts.started_ns = call.started_ns;
  judged.facts.deadline_ns = call.deadline_ns;
  judged.facts.client = to_text(call.route->client);
  judged.facts.server = to_text(call.endpoint->app);
  judged.facts.service = to_text(call.route->service);
  judged.facts.method = to_text(call.route->method);
  judged.facts.tenant = call.policies.tenant.empty() ? judged.facts.client : to_text(call.policies.tenant);
  return judged;
}

void ServerSide::judge_open(uint64_t id, ServerCall& call, Opened&& opened, uint32_t from) {
  Chain& chain = *call.policies.chain;
  if (chain.empty()) return offer_call(id, call, std::move(opened));
  JudgedCall judged = judged_call(id, call);
  judged.message = &opened.message;
  judged.layout = call.layout->request;
  judged.facts.message_bytes = opened.message.header.image_bytes;
  judged.facts.first = 1;
  judged.facts.last = (opened.flags & transport::kEnd) != 0;
  const Action action = chain.judge(judged, from);
  switch (action) {
    case Action::kForward: return offer_call(id, call, std::move(opened));
    case Action::kDeny: return deny(id, call, *judged.verdict.denial, judged.stage);
    case Action::kReply: {
      abi::Slot slot{};
      slot.kind = static_cast<uint8_t>(abi::SlotKind::kStatus);
      slot.flags = abi::kHasMessage;
      slot.call_id = id;
      Answer said{slot, make_message(0, judged.verdict.reply->metadata, {}, judged.verdict.reply->image)};
      if (judge_answer(id, call, said)) send_answer(id, call, std::move(said));
      return;
    }
    default: break;
  }
  if (wait_for(id, call, judged, action)) call.waiting->opened = std::move(opened);
}

void ServerSide::judge_more(uint64_t id, ServerCall& call, More&& more, uint32_t from) {
  if (call.policies.chain && !call.policies.chain->empty() && more.message) {
    JudgedCall judged = judged_call(id, call);
    judged.message = &*more.message;
    judged.layout = call.layout->request;
    judged.facts.message_bytes = more.message->header.image_bytes;
    judged.facts.last = (more.slot.flags & abi::kEnd) != 0;
    const Action action = call.policies.chain->judge(judged, from);
    if (action == Action::kDeny) return deny(id, call, *judged.verdict.denial, judged.stage);
    if (action != Action::kForward) {
      if (wait_for(id, call, judged, action)) call.waiting->more = std::move(more);
      return;
    }
  }
  call.port->deliver({more.slot, std::move(more.message)});
  core_.touch(*call.port);
}

std::shared_ptr<void> ServerSide::charge_wait(const ServerCall& call, uint64_t bytes) {
  auto& of_peer = waiting_bytes_[call.link];
  if (!of_peer) of_peer = std::make_shared<uint64_t>(0);
  bytes += sizeof(ServerCall) + sizeof(ServerCall::Waiting);
  if (call.route->parked_calls >= core_.config.parked_calls_max || call.route->parked_bytes + bytes > core_.config.parked_bytes_max ||
      *of_peer + bytes > core_.config.receive_quota_bytes)
    return nullptr;
  *of_peer += bytes;
  return {of_peer.get(), [of_peer, bytes, of_edge = charge(*call.route, bytes)](void*) { *of_peer -= bytes; }};
}

bool ServerSide::wait_for(uint64_t id, ServerCall& call, const JudgedCall& judged, Action action) {
  auto charge = charge_wait(call, judged.facts.message_bytes);
  if (!charge) return deny(id, call, too_much_waits(), Chain::kNobody), false;
  if (!call.waiting) call.waiting = std::make_unique<ServerCall::Waiting>();
  const bool delays = action == Action::kDelay;
  call.waiting->stage = delays ? judged.stage + 1 : judged.stage;
  call.waiting->request_at_ns = delays ? core_.now_ns + std::min(judged.verdict.delay_ns, UINT64_MAX / 2) : 0;
  call.waiting->charges.push_back(std::move(charge));
  if (delays) core_.set_timer(call.waiting->request_at_ns, Side::kServerWaiting, id);
  return true;
}

// True when the frame was kept, because an earlier message of its call waits.
bool ServerSide::queue_behind(uint64_t id, ServerCall& call, transport::Frame& frame) {
  if (!call.waiting || !call.waiting->requests()) return false;
  uint64_t bytes = frame.head.size();
  for (const transport::Blob& blob : frame.blobs) bytes += blob.length;
  auto charge = charge_wait(call, bytes);
  if (!charge) return deny(id, call, too_much_waits(), Chain::kNobody), true;
  call.waiting->charges.push_back(std::move(charge));
  call.waiting->later.push_back(std::move(frame));
  return true;
}

bool ServerSide::judge_answer(uint64_t id, ServerCall& call, Answer& said) {
  const bool resumed = said.stage != UINT32_MAX;
  if (call.waiting && !call.waiting->answers.empty() && !resumed) return wait_with(id, call, said), false;
  const Chain* known = call.policies.chain.get();
  if (known == nullptr || !known->judges_replies() || (said.slot.flags & abi::kHasMessage) == 0) return true;
  Chain& chain = *call.policies.chain;
  JudgedCall judged = judged_call(id, call);
  judged.message = &said.message;
  judged.layout = call.layout->reply;
  judged.facts.message_bytes = said.message.header.image_bytes;
  judged.facts.first = call.reply_sequence == 0;
  judged.facts.last = said.slot.kind == static_cast<uint8_t>(abi::SlotKind::kStatus);
  judged.facts.status = said.slot.code;
  const Action action = chain.judge_reply(judged, said.stage);
  if (action == Action::kDeny) return deny(id, call, *judged.verdict.denial, judged.stage, judged.facts.last != 0), false;
  if (action != Action::kDelay) return true;
  if (!call.waiting) call.waiting = std::make_unique<ServerCall::Waiting>();
  said.stage = judged.stage;
  if (!wait_with(id, call, said)) return false;
  call.waiting->answer_at_ns = core_.now_ns + std::min(judged.verdict.delay_ns, UINT64_MAX / 2);
  core_.set_timer(call.waiting->answer_at_ns, Side::kServerWaiting, id);
  return false;
}

bool ServerSide::wait_with(uint64_t id, ServerCall& call, Answer& said) {
  if (!said.charge) said.charge = charge_wait(call, said.message.header.image_bytes);
  if (!said.charge) return deny(id, call, too_much_waits(), Chain::kNobody, said.slot.kind == static_cast<uint8_t>(abi::SlotKind::kStatus)), false;
  call.waiting->answers.push_back(std::move(said));
  return true;
}

// `ended`: the application has said its last about the call.
void ServerSide::deny(uint64_t id, ServerCall& call, const Error& denial, uint32_t denier, bool ended) {
  if (denier != Chain::kNobody) call.stats->denied += 1;
  answer(call.link, call.link_call, denial);
  if (call.offered && !ended) tell_cancelled(id, call);
  end(id, call, denial.code, denier);
}

void ServerSide::resume(uint64_t id, bool again) {
  ServerCall* call = calls_.find(id);
  if (call == nullptr || !call->waiting) return;
  const auto due = [&](uint64_t at_ns) { return at_ns != 0 && at_ns <= core_.now_ns; };
  const bool requests = call->waiting->requests() && (again ? call->waiting->request_at_ns == 0 : due(call->waiting->request_at_ns));
  const bool answers = !again && !call->waiting->answers.empty() && due(call->waiting->answer_at_ns);
  if (requests) resume_request(id);
  if (answers) resume_answers(id);
}

bool ServerSide::cut_waits() {
  std::vector<uint64_t> waiting;
  calls_.for_each([&](uint64_t id, ServerCall& call) {
    if (call.waiting && (call.waiting->requests() || !call.waiting->answers.empty())) waiting.push_back(id);
  });
  for (const uint64_t id : waiting) {
    ServerCall* call = calls_.find(id);
    if (call == nullptr) continue;
    const bool requests = call->waiting->requests();
    if (requests && call->waiting->request_at_ns == 0) call->waiting->stage += 1;
    if (requests) resume_request(id);
    call = calls_.find(id);
    if (call != nullptr && !call->waiting->answers.empty()) resume_answers(id);
  }
  return !waiting.empty();
}

void ServerSide::resume_request(uint64_t id) {
  ServerCall::Waiting& waiting = *calls_.find(id)->waiting;
  auto opened = std::exchange(waiting.opened, std::nullopt);
  auto more = std::exchange(waiting.more, std::nullopt);
  auto later = std::exchange(waiting.later, {});
  const auto charges = std::exchange(waiting.charges, {});  // until what waited has gone on
  const uint32_t stage = waiting.stage;
  if (opened) judge_open(id, *calls_.find(id), std::move(*opened), stage);
  else judge_more(id, *calls_.find(id), std::move(*more), stage);
  const ServerCall* call = calls_.find(id);
  if (call == nullptr) return;
  const transport::LinkId link = call->link;
  for (transport::Frame& frame : later) core_.on_frame(link, std::move(frame));
}

void ServerSide::resume_answers(uint64_t id) {
  auto queue = std::exchange(calls_.find(id)->waiting->answers, {});
  for (; !queue.empty(); queue.pop_front()) {
    ServerCall* call = calls_.find(id);
    if (call == nullptr) return;
    if (judge_answer(id, *call, queue.front())) {
      send_answer(id, *call, std::move(queue.front()));
      continue;
    }
    call = calls_.find(id);
    if (call == nullptr) return;
    queue.pop_front();
    for (Answer& behind : queue) call->waiting->answers.push_back(std::move(behind));
    return;
  }
}

}  // namespace mrpc::dataplane
