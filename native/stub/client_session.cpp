#include "stub/client_session.h"

#include <thread>

namespace mrpc::stub {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000ull;
constexpr uint64_t kQuietNs = 10'000'000;                  // without a completion: the daemon may have gone meanwhile
constexpr uint64_t kRoomTimeoutNs = 10 * kSecondNs;        // of a full ring, for calls without a deadline
constexpr uint64_t kExpireEveryNs = kSecondNs / 4;
constexpr uint64_t kBackstopNs = kSecondNs;                // the daemon enforces deadlines; this side only if it fails to

uint64_t give_up_ns(uint64_t deadline_ns) {
  const uint64_t latest = now_ns() + kRoomTimeoutNs;
  return deadline_ns == 0 ? latest : std::min(deadline_ns, latest);
}

void add(std::vector<std::function<void()>>& callbacks, std::function<void()> callback) {
  if (callback) callbacks.push_back(std::move(callback));
}

}  // namespace

// What one poll brings. Callbacks run, and calls die, only after the consumer lock is released.
class ClientSession::Batch : public SlotSink {
 public:
  explicit Batch(ClientSession& session) : session_(session) {}

  void on_slot(uint32_t shard, const abi::Slot& slot) override {
    auto block = session_.attachment_->receive_block(shard, slot);
    if (!block) return session_.attachment_->end(block.error());
    const bool ends = slot.kind == static_cast<uint8_t>(abi::SlotKind::kStatus);
    CallPtr call = ends ? session_.remove(slot.call_id) : session_.find(slot.call_id);
    if (!call) return;  // cancelled here meanwhile; dropping the block gives it back
    Call::State& state = *call->state_;
    if (ends) on_status(state, slot, std::move(*block));
    else on_part(state, slot, std::move(*block));
    calls_.push_back(std::move(call));
  }

  void run() {
    for (const auto& callback : callbacks_) callback();
  }

 private:
  void on_status(Call::State& state, const abi::Slot& slot, RecvBlockPtr block) {
    const auto code = static_cast<StatusCode>(std::min(slot.code, kStatusCodeMax));
    state.service->round_trips[state.method].record(now_ns() - state.started_ns, session_.too_early_);
    const char* text = !block && code == StatusCode::kDeadlineExceeded ? "deadline exceeded" : "";  // where there was no room for a block
    Reply reply{code, (slot.flags & abi::kHasMessage) != 0 && block != nullptr, std::move(block), text};
    reply.not_delivered = (slot.flags & abi::kNotDelivered) != 0;
    if (!session_.daemon_tells_not_delivered()) reply.not_delivered = code == StatusCode::kUnavailable && reply.message().starts_with("no server offers ");
    if (session_.finish(state, std::move(reply)))
      add(callbacks_, std::move(state.on_done));
  }

  void on_part(Call::State& state, const abi::Slot& slot, RecvBlockPtr block) {
    {
      std::lock_guard lock(state.mutex);
      switch (static_cast<abi::SlotKind>(slot.kind)) {
        case abi::SlotKind::kMessage: state.messages.push_back({std::move(block), slot.sequence}); break;
        case abi::SlotKind::kInitialMetadata: state.initial_metadata = std::move(block); break;
        case abi::SlotKind::kCredit: state.credit += slot.aux; break;
        default: return;  // a later level's
      }
    }
    state.point.notify();
    add(callbacks_, state.on_message);
  }

  ClientSession& session_;
  std::vector<CallPtr> calls_;
  std::vector<std::function<void()>> callbacks_;
};

bool ClientSession::fresh() {
  if (attachment_->dead() || attachment_->draining()) return false;
  const uint64_t now = now_ns();
  if (now - heard_ns_.load(std::memory_order_relaxed) < kQuietNs) return true;
  if (attachment_->check()) heard_ns_.store(now, std::memory_order_relaxed);
  return !attachment_->dead() && !attachment_->draining();
}

Result<uint32_t> ClientSession::register_schema(const std::vector<std::byte>& schema) {
  if (const auto known = schema_ids_.find(schema); known != schema_ids_.end()) return known->second;
  auto answer = attachment_->request(abi::ControlKind::kRegisterSchema, schema, abi::ControlKind::kSchemaRegistered);
  if (!answer) return answer.error();
  const auto registered = answer->head<abi::SchemaRegistered>();
  if (!registered) return registered.error();
  return schema_ids_[schema] = registered->schema_id;
}

Result<std::shared_ptr<SessionService>> ClientSession::service(const BoundService& bound) {
  std::lock_guard lock(services_mutex_);
  if (const auto known = services_.find(bound.index); known != services_.end()) return known->second;
  const auto schema_id = register_schema(bound.schema);
  if (!schema_id) return schema_id.error();
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ServiceRef{*schema_id, 0});
  const std::string names = bound.service + '\0' + bound.target;
  const auto bytes = std::as_bytes(std::span(names));
  body.insert(body.end(), bytes.begin(), bytes.end());
  auto answer = attachment_->request(abi::ControlKind::kBind, body, abi::ControlKind::kBound);
  if (!answer) return answer.error();
  const auto head = answer->head<abi::Bound>();
  const auto records = answer->tail(sizeof(abi::Bound));
  if (!head || head->shard >= attachment_->welcome().shard_count || records.size() != head->method_count * sizeof(abi::MethodRecord))
    return internal_error("mrpcd sent a malformed binding");
  auto service = std::make_shared<SessionService>();
  service->shard = head->shard;
  service->round_trips = std::vector<RoundTrip>(head->method_count);
  for (uint32_t i = 0; i < head->method_count; ++i) {
    abi::MethodRecord record;
    std::memcpy(&record, records.data() + i * sizeof record, sizeof record);
    service->handles.push_back(record.handle);
  }
  return services_[bound.index] = std::move(service);
}

// ---- the call table: ids are an index and a generation, and never come back

uint64_t ClientSession::insert(const CallPtr& call) {
  std::lock_guard lock(table_mutex_);
  if (free_entries_.empty()) {
    free_entries_.push_back(static_cast<uint32_t>(table_.size()));
    table_.emplace_back();
  }
  const uint32_t index = free_entries_.back();
  free_entries_.pop_back();
  table_[index].call = call;
  return uint64_t{++table_[index].generation} << 32 | index;
}

CallPtr ClientSession::find(uint64_t id) {
  std::lock_guard lock(table_mutex_);
  const auto index = static_cast<uint32_t>(id);
  if (index >= table_.size() || table_[index].generation != id >> 32) return nullptr;
  return table_[index].call;
}

CallPtr ClientSession::remove(uint64_t id) {
  std::lock_guard lock(table_mutex_);
  const auto index = static_cast<uint32_t>(id);
  if (index >= table_.size() || table_[index].generation != id >> 32 || !table_[index].call) return nullptr;
  free_entries_.push_back(index);
  return std::exchange(table_[index].call, nullptr);
}

// ---- calls

Result<CallPtr> ClientSession::start(std::shared_ptr<SessionService> service, uint32_t method, SendBlock&& block, CallOptions options) {
  if (method >= service->handles.size()) return invalid_argument("the service has no such method");
  auto state = std::make_unique<Call::State>();
  Call::State& call = *state;
  call.session = shared_from_this();
  call.service = std::move(service);
  call.method = method;
  call.started_ns = now_ns();
  call.deadline_ns = options.deadline_ns;
  call.on_done = std::move(options.on_done);
  call.on_message = std::move(options.on_message);
  const bool has_callback = static_cast<bool>(call.on_done);
  CallPtr handle(new Call(std::move(state)));
  call.id = insert(handle);
  if (has_callback) ++callbacks_open_;

  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(abi::SlotKind::kOpen);
  slot.flags = static_cast<uint8_t>(abi::kHasMessage | (options.end ? abi::kEnd : 0));
  slot.handle = call.service->handles[method];
  slot.call_id = call.id;
  slot.aux = options.deadline_ns;
  if (auto sent = attachment_->publish(call.service->shard, slot, std::move(block), give_up_ns(options.deadline_ns)); !sent) {
    if (!remove(call.id)) return handle;  // the attachment ended meanwhile, and the call with it
    if (has_callback) --callbacks_open_;
    return sent.error();
  }
  if (has_callback && !loop_armed_) start_completion_thread();
  return handle;
}

Status ClientSession::send(Call::State& call, abi::SlotKind kind, uint8_t flags, uint64_t aux, uint32_t sequence, SendBlock&& block) {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(kind);
  slot.flags = flags;
  slot.handle = call.service->handles[call.method];
  slot.call_id = call.id;
  slot.aux = aux;
  slot.sequence = sequence;
  return attachment_->publish(call.service->shard, slot, std::move(block), give_up_ns(call.deadline_ns));
}

void ClientSession::cancel(Call::State& call) {
  const CallPtr open = remove(call.id);
  if (!open) return;
  (void)send(call, abi::SlotKind::kCancel, 0, 0, 0, {});  // fails only when the attachment has ended: then it is cancelled, too
  if (finish(call, {StatusCode::kCancelled, false, nullptr, "cancelled by the caller"})) run_callback(call);
  attachment_->wake_sleeper();  // the leader, if it waits for this call
}

bool ClientSession::finish(Call::State& call, Reply reply) {
  {
    std::lock_guard lock(call.mutex);
    if (call.done.load(std::memory_order_relaxed)) return false;
    call.reply = std::move(reply);
    call.done.store(true, std::memory_order_release);
  }
  call.point.notify();
  if (call.on_done && --callbacks_open_ == 0) completion_point_.notify();
  return true;
}

void ClientSession::run_callback(Call::State& call) {
  if (const auto callback = std::move(call.on_done)) callback();
}

void ClientSession::finish_all(const Error& error) {
  std::vector<CallPtr> calls;
  {
    std::lock_guard lock(table_mutex_);
    for (uint32_t i = 0; i < table_.size(); ++i) {
      if (!table_[i].call) continue;
      calls.push_back(std::exchange(table_[i].call, nullptr));
      free_entries_.push_back(i);
    }
  }
  for (const auto& call : calls)
    if (finish(*call->state_, {error.code, false, nullptr, error.text})) run_callback(*call->state_);
}

void ClientSession::expire_overdue(uint64_t now) {
  std::vector<CallPtr> overdue;
  {
    std::lock_guard lock(table_mutex_);
    for (const auto& entry : table_)
      if (entry.call && entry.call->state_->deadline_ns != 0 && now > entry.call->state_->deadline_ns + kBackstopNs)
        overdue.push_back(entry.call);
  }
  for (const auto& call : overdue) {
    Call::State& state = *call->state_;
    if (!remove(state.id)) continue;
    (void)send(state, abi::SlotKind::kCancel, 0, 0, 0, {});
    if (finish(state, {StatusCode::kDeadlineExceeded, false, nullptr, "deadline exceeded, and mrpcd did not say so"})) run_callback(state);
  }
}

// ---- polling

size_t ClientSession::poll(size_t slots_max) {
  Batch batch(*this);
  const size_t count = attachment_->poll(slots_max, batch);
  if (count != 0) {
    const uint64_t now = now_ns();
    heard_ns_.store(now, std::memory_order_relaxed);
    answered_ns_.store(now, std::memory_order_relaxed);
  }
  batch.run();
  if (attachment_->dead()) finish_all(attachment_->end_error());
  return count;
}

void ClientSession::on_loss_check(uint64_t now) {
  attachment_->check();
  if (now - expired_ns_.load(std::memory_order_relaxed) < kExpireEveryNs) return;
  expired_ns_.store(now, std::memory_order_relaxed);
  expire_overdue(now);
}

PollPlan ClientSession::plan_for(const Call::State& call) const {
  const uint64_t answered_ns = std::min(answered_ns_.load(std::memory_order_relaxed), call.started_ns);
  return call.service->round_trips[call.method].plan(policy_.poll_us * 1000ull, call.started_ns - answered_ns).counted_from(call.started_ns);
}

PollPlan ClientSession::plan_from_now(const Call::State& call) const {
  const PollPlan plan = call.service->round_trips[call.method].plan(policy_.poll_us * 1000ull, 0);
  return plan.from_ns == 0 ? plan.counted_from(now_ns()) : PollPlan{};
}

// Polls until something comes or it is time. False: others poll already.
bool ClientSession::watch(uint64_t until_ns) {
  PollTurn turn;
  while (turn.granted() && now_ns() < until_ns) {
    for (int i = 0; i < 16; ++i) shm::cpu_relax();
    if (attachment_->completions_waiting()) break;
  }
  return turn.granted();
}

void ClientSession::begin_lead() {
  if (loop_armed_) attachment_->set_poll_armed(false);  // whoever leads polls for the loop as well
}

void ClientSession::resign() {
  if (demux_.hand_on() || !loop_armed_) return;
  attachment_->set_poll_armed(true);
  if (attachment_->completions_waiting()) attachment_->signal_wake_fd();
}

bool ClientSession::arm() {
  loop_armed_ = true;
  if (demux_.led()) return true;
  attachment_->set_poll_armed(true);
  return !attachment_->completions_waiting();
}

size_t ClientSession::drain(size_t slots_max) {
  attachment_->drain_wake_fd();
  if (!demux_.try_lead()) return 0;
  begin_lead();
  const size_t count = poll(slots_max);
  resign();
  return count;
}

bool ClientSession::check() {
  on_loss_check(now_ns());
  if (!attachment_->dead()) return true;
  finish_all(attachment_->end_error());
  return false;
}

void ClientSession::close() {
  closed_ = true;
  attachment_->detach();
  finish_all(attachment_->end_error());
  completion_point_.notify();
  attachment_->wake_sleeper();
}

// ---- the completion thread

void ClientSession::start_completion_thread() {
  if (completion_thread_.exchange(true)) {
    completion_point_.notify();
    return;
  }
  std::thread([session = shared_from_this()] { session->run_completions(); }).detach();
}

void ClientSession::run_completions() {
  while (!closed_ && !(attachment_->dead() && callbacks_open_ == 0)) {
    const uint32_t seen = completion_point_.sequence();
    if (callbacks_open_ == 0) {
      completion_point_.sleep(seen, UINT64_MAX);
      continue;
    }
    wait_until(completion_point_, {}, [this] { return closed_ || callbacks_open_ == 0; }, {});
  }
}

}  // namespace mrpc::stub
