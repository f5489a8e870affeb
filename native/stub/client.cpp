#include "stub/client_session.h"

namespace mrpc::stub {
namespace {

constexpr uint32_t kCreditBatch = abi::kStreamWindow / 2;

}  // namespace

struct Client::Impl {
  AttachOptions options;
  WaitPolicy policy = WaitPolicy::from_environment();
  ProcessMark mark;
  std::mutex mutex;  // of what follows
  std::shared_ptr<ClientSession> session;
  uint64_t epoch = 0;
  uint32_t services = 0;
  std::mutex attach_mutex;  // one thread attaches anew, the others wait for it
};

Client::Client(AttachOptions options) : impl_(std::make_unique<Impl>()) { impl_->options = std::move(options); }

Client::~Client() {
  if (impl_->mark.here() && impl_->session) impl_->session->close();
}

Result<std::shared_ptr<Client>> Client::attach(const AttachOptions& options) {
  std::shared_ptr<Client> client(new Client(options));
  if (auto session = client->session(); !session) return session.error();
  return client;
}

std::shared_ptr<ClientSession> Client::current() {
  std::lock_guard lock(impl_->mutex);
  return impl_->session;
}

Result<std::shared_ptr<ClientSession>> Client::session() {
  if (!impl_->mark.here()) return forked_error();
  auto session = current();
  if (session && session->fresh()) return session;
  std::lock_guard attaching(impl_->attach_mutex);
  session = current();
  if (session && session->fresh()) return session;
  auto attachment = Attachment::open(impl_->options, abi::Role::kClient);
  if (!attachment) return attachment.error();
  auto renewed = std::make_shared<ClientSession>(std::move(*attachment), impl_->policy);
  std::lock_guard lock(impl_->mutex);
  ++impl_->epoch;
  return impl_->session = std::move(renewed);
}

Result<BoundServicePtr> Client::bind(std::span<const std::byte> schema, std::string service, std::string target) {
  auto session = this->session();
  if (!session) return session.error();
  auto bound = std::make_shared<BoundService>();
  bound->schema.assign(schema.begin(), schema.end());
  bound->service = std::move(service);
  bound->target = std::move(target);
  {
    std::lock_guard lock(impl_->mutex);
    bound->index = impl_->services++;
  }
  const auto known = (*session)->service(*bound);
  if (!known) return known.error();
  bound->method_count = static_cast<uint32_t>((*known)->handles.size());
  return BoundServicePtr(std::move(bound));
}

Result<SendBlock> Client::allocate(uint64_t bytes) {
  auto session = this->session();
  if (!session) return session.error();
  return (*session)->attachment().allocate(bytes);
}

Result<HeapBufferPtr> Client::allocate_buffer(uint64_t bytes) {
  auto session = this->session();
  if (!session) return session.error();
  return (*session)->attachment().allocate_buffer(bytes);
}

std::optional<Pinned> Client::locate(const void* data, uint64_t bytes) {
  if (!impl_->mark.here()) return std::nullopt;
  return current()->attachment().locate(data, bytes);
}

uint64_t Client::message_bytes_max() const {
  return impl_->mark.here() ? const_cast<Client*>(this)->current()->attachment().welcome().message_bytes_max : abi::kMessageBytesMax;
}

uint32_t Client::metadata_bytes_max() const {
  return impl_->mark.here() ? const_cast<Client*>(this)->current()->attachment().welcome().metadata_bytes_max : abi::kMetadataBytesMax;
}

Result<CallPtr> Client::start(const BoundServicePtr& bound, uint32_t method, SendBlock&& block, CallOptions options) {
  auto session = this->session();
  if (!session) return session.error();
  auto service = (*session)->service(*bound);
  if (!service) return service.error();
  return (*session)->start(std::move(*service), method, std::move(block), std::move(options));
}

// ---- waiting

namespace {

// In a child that inherited it, a call is over: nobody there will ever hear of it. Its locks are not to be trusted.
template <typename State>
bool abandoned(State& state) {
  if (state.session->attachment().here()) return false;
  if (!state.done.load()) state.reply = {forked_error().code, false, nullptr, forked_error().text};
  state.done = true;
  return true;
}

}  // namespace

WaitOutcome Client::wait(Call& call, const InterruptFn& interrupt) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return WaitOutcome::kReady;
  const auto outcome = state.session->wait_until(
      state.point, state.session->plan_for(state), [&] { return state.done.load(std::memory_order_acquire); }, interrupt);
  if (outcome == WaitOutcome::kInterrupted) cancel(call);
  return outcome;
}

WaitOutcome Client::wait_credit(Call& call, const InterruptFn& interrupt) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return WaitOutcome::kReady;
  const auto ready = [&] {
    std::lock_guard lock(state.mutex);
    return state.done || state.credit != 0;
  };
  const auto outcome = state.session->wait_until(state.point, state.session->plan_from_now(state), ready, interrupt);
  if (outcome == WaitOutcome::kInterrupted) cancel(call);
  return outcome;
}

WaitOutcome Client::wait_message(Call& call, const InterruptFn& interrupt) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return WaitOutcome::kReady;
  const auto ready = [&] {
    std::lock_guard lock(state.mutex);
    return state.done || !state.messages.empty();
  };
  const auto outcome = state.session->wait_until(state.point, state.session->plan_from_now(state), ready, interrupt);
  if (outcome == WaitOutcome::kInterrupted) cancel(call);
  return outcome;
}

void Client::cancel(Call& call) {
  if (!abandoned(*call.state_)) call.state_->session->cancel(*call.state_);
}

// ---- streams

Status Client::send_message(Call& call, SendBlock&& block, bool end) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return forked_error();
  std::lock_guard sending(state.send_mutex);
  {
    std::lock_guard lock(state.mutex);
    if (state.done) return Error{state.reply.code, std::string(state.reply.message())};
    if (state.credit == 0) return resource_exhausted("no credit for a message: wait until the receiver has taken some");
    --state.credit;
  }
  const auto flags = static_cast<uint8_t>(abi::kHasMessage | (end ? abi::kEnd : 0));
  auto sent = state.session->send(state, abi::SlotKind::kMessage, flags, 0, state.sequence, std::move(block));
  if (sent) {
    ++state.sequence;
    return sent;
  }
  std::lock_guard lock(state.mutex);
  ++state.credit;
  return sent;
}

Status Client::half_close(Call& call) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return forked_error();
  std::lock_guard sending(state.send_mutex);
  return state.session->send(state, abi::SlotKind::kHalfClose, 0, 0, 0, {});
}

std::optional<Message> Client::receive(Call& call) {
  Call::State& state = *call.state_;
  if (abandoned(state)) return std::nullopt;
  std::optional<Message> message;
  uint32_t credit = 0;
  {
    std::lock_guard lock(state.mutex);
    if (state.messages.empty()) return std::nullopt;
    message = std::move(state.messages.front());
    state.messages.pop_front();
    if (++state.taken_uncredited >= kCreditBatch && !state.done) credit = std::exchange(state.taken_uncredited, 0);
  }
  if (credit != 0) (void)state.session->send(state, abi::SlotKind::kCredit, 0, credit, 0, {});
  return message;
}

// ---- event loops

int Client::wake_fd() { return impl_->mark.here() ? current()->attachment().wake_fd() : -1; }

int Client::control_fd() { return impl_->mark.here() ? current()->attachment().control_fd() : -1; }

uint64_t Client::epoch() {
  if (!impl_->mark.here()) return 0;
  std::lock_guard lock(impl_->mutex);
  return impl_->epoch << 32 | impl_->session->attachment().generation();
}

bool Client::arm() { return !impl_->mark.here() || current()->arm(); }

void Client::disarm() {
  if (impl_->mark.here()) current()->disarm();
}

size_t Client::drain(size_t events_max) { return impl_->mark.here() ? current()->drain(events_max) : 0; }

bool Client::check_daemon() { return impl_->mark.here() && current()->check(); }

// ---- Call

Call::Call(std::unique_ptr<State> state) : state_(std::move(state)) {}
Call::~Call() = default;

bool Call::done() const { return state_->done.load(std::memory_order_acquire); }

const Reply& Call::reply() const {
  MRPC_ASSERT(done());
  return state_->reply;
}

RecvBlockPtr Call::initial_metadata() const {
  if (!state_->session->attachment().here()) return nullptr;
  std::lock_guard lock(state_->mutex);
  return state_->initial_metadata;
}

}  // namespace mrpc::stub
