#include "stub/server_session.h"

#include <algorithm>
#include <thread>

namespace mrpc::stub {
namespace {

constexpr size_t kPollSlotsMax = 64;
constexpr uint64_t kSettlePauseNs = 100'000;
constexpr uint64_t kRoomTimeoutNs = 10'000'000'000ull;  // of a full ring

}  // namespace

class ServerSession::Batch : public SlotSink {
 public:
  explicit Batch(ServerSession& session) : session_(session) {}

  void on_slot(uint32_t shard, const abi::Slot& slot) override {
    auto block = session_.attachment_->receive_block(shard, slot);
    if (!block) return session_.attachment_->end(block.error());
    if (slot.kind == static_cast<uint8_t>(abi::SlotKind::kOpen)) return on_open(shard, slot, std::move(*block));
    const IncomingPtr call = session_.find(shard, slot.call_id);
    if (!call) return;  // replied meanwhile; dropping the block gives it back
    if (slot.kind == static_cast<uint8_t>(abi::SlotKind::kCancel)) cancelled_.push_back(call);
    else on_part(*call->state_, slot, std::move(*block));
    kept_.push_back(call);
  }

  void run() {
    for (const auto& call : cancelled_) session_.cancel(*call->state_);
    for (const auto& call : refused_) session_.refuse(*call->state_);
    for (const auto& call : opened_) session_.watch(*call->state_);
  }

 private:
  void on_open(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block) {
    if (session_.calls_max_ == 0) return session_.open(shard, slot, std::move(block));
    session_.open_limited(shard, slot, std::move(block), opened_, refused_);
  }
  static void on_part(Incoming::State& state, const abi::Slot& slot, RecvBlockPtr block) {
    {
      std::lock_guard lock(state.mutex);
      switch (static_cast<abi::SlotKind>(slot.kind)) {
        case abi::SlotKind::kMessage: state.messages.push_back({std::move(block), slot.sequence}); break;
        case abi::SlotKind::kHalfClose: break;
        case abi::SlotKind::kCredit: state.credit += slot.aux; break;
        default: return;  // a later level's
      }
      const bool last = slot.kind == static_cast<uint8_t>(abi::SlotKind::kHalfClose) || (slot.flags & abi::kEnd) != 0;
      if (last) state.half_closed = true;
    }
    state.point.notify();
  }

  ServerSession& session_;
  std::vector<IncomingPtr> cancelled_, kept_;  // calls must not die under the consumer lock
  std::vector<IncomingPtr> opened_, refused_;  // where there is a limit
};

ServerSession::ServerSession(std::shared_ptr<Attachment> attachment, const WaitPolicy& policy, std::shared_ptr<WatcherBell> bell,
                             uint32_t calls_max)
    : attachment_(std::move(attachment)), policy_(policy), bell_(std::move(bell)), calls_max_(calls_max),
      open_(attachment_->welcome().shard_count) {}

// ---- offers

Status ServerSession::offer(uint32_t index, const std::vector<std::byte>& schema, const std::string& service) {
  std::lock_guard lock(methods_mutex_);
  auto answer = attachment_->request(abi::ControlKind::kRegisterSchema, schema, abi::ControlKind::kSchemaRegistered);
  if (!answer) return answer.error();
  const auto registered = answer->head<abi::SchemaRegistered>();
  if (!registered) return registered.error();
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ServiceRef{registered->schema_id, 0});
  const auto name = std::as_bytes(std::span(service));
  body.insert(body.end(), name.begin(), name.end());
  answer = attachment_->request(abi::ControlKind::kOffer, body, abi::ControlKind::kOffered);
  if (!answer) return answer.error();
  const auto offered = answer->head<abi::Offered>();
  const auto records = answer->tail(std::min(answer->body.size(), sizeof(abi::Offered)));
  if (!offered || records.size() != offered->method_count * sizeof(abi::MethodRecord))
    return internal_error("mrpcd sent a malformed answer to an offer");
  for (uint32_t method = 0; method < offered->method_count; ++method) {
    abi::MethodRecord record;
    std::memcpy(&record, records.data() + method * sizeof record, sizeof record);
    methods_[record.handle] = {index, method};
  }
  schema_ids_[index] = registered->schema_id;
  return ok_status();
}

Status ServerSession::withdraw(uint32_t index, const std::string& service) {
  std::lock_guard lock(methods_mutex_);
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ServiceRef{schema_ids_[index], 0});
  const auto name = std::as_bytes(std::span(service));
  body.insert(body.end(), name.begin(), name.end());
  const auto answer = attachment_->request(abi::ControlKind::kWithdraw, body, abi::ControlKind::kWithdrawn);
  if (!answer) return answer.error();
  return ok_status();
}

bool ServerSession::resolve(Incoming::State& call) {
  std::lock_guard lock(methods_mutex_);
  const auto method = methods_.find(call.handle);
  if (method == methods_.end()) return false;
  call.service = method->second.service;
  call.method = method->second.method;
  return true;
}

// ---- taking calls

size_t ServerSession::poll() {
  Batch batch(*this);
  const size_t count = attachment_->poll(kPollSlotsMax, batch);
  batch.run();
  return count;
}

IncomingPtr ServerSession::make_call(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block) {
  auto state = std::make_unique<Incoming::State>();
  state->session = shared_from_this();
  state->shard = shard;
  state->handle = slot.handle;
  state->id = slot.call_id;
  state->deadline_ns = slot.aux;
  state->has_message = (slot.flags & abi::kHasMessage) != 0 && block != nullptr;
  state->half_closed = (slot.flags & abi::kEnd) != 0;
  state->request = std::move(block);
  return IncomingPtr(new Incoming(std::move(state)));
}

void ServerSession::open(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block) {
  IncomingPtr call = make_call(shard, slot, std::move(block));
  std::lock_guard lock(calls_mutex_);
  open_[shard][slot.call_id] = call;
  queue_.push_back(std::move(call));
}

void ServerSession::open_limited(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block, std::vector<IncomingPtr>& opened,
                                 std::vector<IncomingPtr>& refused) {
  IncomingPtr call = make_call(shard, slot, std::move(block));
  std::lock_guard lock(calls_mutex_);
  if (counted_ >= calls_max_) return refused.push_back(std::move(call));
  call->state_->counted = true;
  ++counted_;
  open_[shard][slot.call_id] = call;
  queue_.push_back(call);
  opened.push_back(std::move(call));
}

// By gRPC's own words. Without memory for them, without words.
void ServerSession::refuse(Incoming::State& call) {
  constexpr std::string_view kText = "Concurrent RPC limit exceeded!";
  const shm::BlockShape shape{0, 0, shm::details_bytes(kText, {}), 0};
  Result<SendBlock> block = attachment_->allocate(shm::block_bytes(shape));
  if (block.ok()) {
    shm::BlockWriter writer(block->data(), shape);
    writer.details(kText, {});
    writer.finish();
  }
  (void)reply(call, StatusCode::kResourceExhausted, block.ok() ? std::move(*block) : SendBlock{}, false);  // fails when the daemon is gone
}

IncomingPtr ServerSession::take() {
  for (;;) {
    IncomingPtr call;
    bool more;
    {
      std::lock_guard lock(calls_mutex_);
      if (queue_.empty()) return nullptr;
      call = std::move(queue_.front());
      queue_.pop_front();
      more = !queue_.empty();
    }
    if (more || attachment_->completions_waiting()) attachment_->wake_sleeper();
    Incoming::State& state = *call->state_;
    if (state.cancelled) continue;  // nobody waits for it any more
    if (resolve(state)) return call;
    (void)reply(state, StatusCode::kUnimplemented, {}, false);
  }
}

void ServerSession::idle(const std::atomic<bool>& stopped, uint64_t timeout_ns) {
  if (core_count() > 2 && policy_.server_poll_us != 0) {
    PollTurn turn;
    const uint64_t until_ns = now_ns() + policy_.server_poll_us * 1000ull;
    while (turn.granted() && !attachment_->completions_waiting() && now_ns() < until_ns)
      for (int i = 0; i < 16; ++i) shm::cpu_relax();
    if (attachment_->completions_waiting()) return;
  }
  ++idle_workers_;
  const bool first = !first_idles_.exchange(true);
  attachment_->sleep_in_order(timeout_ns, [&] { return stopped.load(std::memory_order_acquire) || queued(); }, first);
  if (first) first_idles_ = false;
  --idle_workers_;
}

void ServerSession::wake_idle() {
  // A worker between its last look and its sleep would miss one wake: so until none is left.
  while (idle_workers_ != 0) {
    attachment_->wake_all_sleepers();
    std::this_thread::yield();
  }
}

bool ServerSession::queued() {
  std::lock_guard lock(calls_mutex_);
  return !queue_.empty();
}

IncomingPtr ServerSession::find(uint32_t shard, uint64_t id) {
  std::lock_guard lock(calls_mutex_);
  const auto call = open_[shard].find(id);
  return call == open_[shard].end() ? nullptr : call->second;
}

IncomingPtr ServerSession::remove(uint32_t shard, uint64_t id) {
  IncomingPtr removed;
  {
    std::lock_guard lock(calls_mutex_);
    const auto call = open_[shard].find(id);
    if (call == open_[shard].end()) return nullptr;
    removed = std::move(call->second);
    open_[shard].erase(call);
  }
  if (removed->state_->watched.exchange(false)) --bell_->calls_watched;
  open_point_.notify();
  return removed;
}

// ---- answering

Status ServerSession::send(Incoming::State& call, abi::SlotKind kind, uint8_t flags, StatusCode code, uint64_t aux, uint32_t sequence,
                           SendBlock&& block) {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(kind);
  slot.flags = flags;
  slot.code = static_cast<uint8_t>(code);
  slot.handle = call.handle;
  slot.call_id = call.id;
  slot.aux = aux;
  slot.sequence = sequence;
  return attachment_->publish(call.shard, slot, std::move(block), now_ns() + kRoomTimeoutNs);
}

Status ServerSession::reply(Incoming::State& call, StatusCode code, SendBlock&& block, bool has_message) {
  if (call.over.exchange(true)) return ok_status();
  if (call.counted) --counted_;
  const auto flags = static_cast<uint8_t>(has_message ? abi::kHasMessage : 0);
  Status sent = send(call, abi::SlotKind::kStatus, flags, code, 0, call.sequence, std::move(block));
  remove(call.shard, call.id);  // afterwards: whoever stops the server waits for open calls, then for what is published
  return sent;
}

bool ServerSession::cancel(Incoming::State& call) {
  if (call.over.exchange(true)) return false;
  if (call.counted) --counted_;
  const IncomingPtr kept = remove(call.shard, call.id);
  std::function<void()> callback;
  {
    std::lock_guard lock(call.mutex);
    call.cancelled = true;
    callback = std::move(call.on_cancel);
  }
  call.point.notify();
  if (callback) callback();
  return true;
}

void ServerSession::watch(Incoming::State& call) {
  if (call.watched.exchange(true)) return;
  ++bell_->calls_watched;
  // Over already: nobody else will count it out.
  if (call.over && call.watched.exchange(false)) --bell_->calls_watched;
  else if (!bell_->ticking.exchange(true)) bell_->ring();
}

void ServerSession::cancel_all() {
  std::vector<IncomingPtr> calls;
  {
    std::lock_guard lock(calls_mutex_);
    for (const auto& shard : open_)
      for (const auto& [id, call] : shard) calls.push_back(call);
  }
  for (const auto& call : calls) cancel(*call->state_);
}

bool ServerSession::wait_for_open_calls(uint64_t until_ns) {
  for (;;) {
    const uint32_t seen = open_point_.sequence();
    poll();  // workers may be gone, and cancels still come
    {
      std::lock_guard lock(calls_mutex_);
      if (std::all_of(open_.begin(), open_.end(), [](const auto& shard) { return shard.empty(); })) return true;
    }
    const uint64_t now = now_ns();
    if (now >= until_ns || attachment_->dead()) return false;
    open_point_.sleep(seen, std::min<uint64_t>(until_ns - now, policy_.slice_ms * 1'000'000ull));
  }
}

void ServerSession::wait_until_settled(uint64_t until_ns) {
  for (;;) {
    const uint32_t seen = open_point_.sequence();
    poll();  // the daemon's kReclaim of held blocks
    if (attachment_->settled() || attachment_->dead() || now_ns() >= until_ns) return;
    open_point_.sleep(seen, kSettlePauseNs);
  }
}

bool ServerSession::arm() {
  attachment_->set_poll_armed(true);
  return !attachment_->completions_waiting() && !queued();
}

}  // namespace mrpc::stub
