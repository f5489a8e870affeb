#include <poll.h>
#include <sys/eventfd.h>

#include <thread>

#include "stub/server_session.h"

namespace mrpc::stub {
namespace {

constexpr uint32_t kCreditBatch = abi::kStreamWindow / 2;
constexpr uint64_t kSettleNs = 1'000'000'000;  // at most, for the daemon to take the last replies
constexpr int kTickMs = 50;  // of the watcher while calls are watched
constexpr int kBackoffFirstMs = 50, kBackoffMaxMs = 2000;

}  // namespace

struct Server::Impl {
  struct Offer {
    std::vector<std::byte> schema;
    std::string service;
    bool withdrawn = false;
  };

  Result<std::shared_ptr<ServerSession>> open_session() {
    auto attachment = Attachment::open(options, abi::Role::kServer);
    if (!attachment) return attachment.error();
    (*attachment)->leave_trim_to([bell = bell] { bell->ring(); });
    return std::make_shared<ServerSession>(std::move(*attachment), policy, bell, calls_max);
  }
  std::shared_ptr<ServerSession> current() {
    std::lock_guard lock(mutex);
    return session;
  }
  void watch();
  void wait_for_news(int fd, int timeout_ms);
  bool renew();  // one try
  Status offer_all(ServerSession& renewed);

  AttachOptions options;
  uint32_t calls_max = 0;
  WaitPolicy policy = WaitPolicy::from_environment();
  ProcessMark mark;
  std::atomic<bool> stopped{false}, closed{false};
  std::shared_ptr<WatcherBell> bell = std::make_shared<WatcherBell>();
  std::unique_ptr<std::thread> watcher;
  WaitPoint renewed_point;  // notified when the session changes, and on stop

  std::mutex offer_mutex;  // outside of `mutex`
  std::vector<Offer> offers;
  std::mutex mutex;
  std::shared_ptr<ServerSession> session;
  std::shared_ptr<ServerSession> left;  // the one before, while an event loop may watch its descriptor
  bool loop_watches = false;
  uint64_t epoch = 1;
};

// ---- the watcher thread: the daemon's death and return

void Server::Impl::wait_for_news(int fd, int timeout_ms) {
  pollfd entries[2] = {{bell->fd.get(), POLLIN, 0}, {fd, POLLIN, 0}};
  ::poll(entries, fd < 0 ? 1 : 2, timeout_ms);
  uint64_t count;
  if ((entries[0].revents & POLLIN) != 0) (void)!::read(bell->fd.get(), &count, sizeof count);
}

void Server::Impl::watch() {
  int backoff_ms = kBackoffFirstMs;
  while (!closed) {
    const auto watched = current();
    if (watched->attachment().check()) {
      bell->ticking = false;  // before the look, so that a callback registered after it rings
      if (bell->calls_watched != 0) bell->ticking = true;
      if (bell->ticking) watched->poll();
      const uint64_t trim_ns = watched->attachment().trim_when_idle();
      const int trim_ms = trim_ns == UINT64_MAX ? INT32_MAX : static_cast<int>(trim_ns / 1'000'000 + 1);
      const int timeout_ms = std::min(trim_ms, bell->ticking ? kTickMs : INT32_MAX);
      wait_for_news(watched->attachment().control_fd(), timeout_ms == INT32_MAX ? -1 : timeout_ms);
      backoff_ms = kBackoffFirstMs;
      continue;
    }
    watched->cancel_all();
    watched->wake_idle();
    if (stopped) return;
    if (renew()) continue;
    wait_for_news(-1, backoff_ms);
    backoff_ms = std::min(backoff_ms * 2, kBackoffMaxMs);
  }
}

Status Server::Impl::offer_all(ServerSession& renewed) {
  for (uint32_t i = 0; i < offers.size(); ++i) {
    if (offers[i].withdrawn) continue;
    if (auto status = renewed.offer(i, offers[i].schema, offers[i].service); !status) return status;
  }
  return ok_status();
}

bool Server::Impl::renew() {
  auto renewed = open_session();
  if (!renewed) return false;
  std::lock_guard offering(offer_mutex);
  if (!offer_all(**renewed)) {
    (*renewed)->attachment().detach();
    return false;
  }
  {
    std::lock_guard lock(mutex);
    if (loop_watches) (left = session)->attachment().signal_wake_fd();
    session = std::move(*renewed);
    ++epoch;
  }
  renewed_point.notify();
  return true;
}

// ---- life

Server::Server(AttachOptions options, uint32_t calls_max) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
  impl_->calls_max = calls_max;
}

Result<std::shared_ptr<Server>> Server::attach(const AttachOptions& options, uint32_t calls_max) {
  std::shared_ptr<Server> server(new Server(options, calls_max));
  Impl& impl = *server->impl_;
  auto session = impl.open_session();
  if (!session) return session.error();
  impl.session = std::move(*session);
  impl.bell->fd.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl.bell->fd) return resource_exhausted("cannot make an eventfd");
  impl.watcher = std::make_unique<std::thread>([&impl] { impl.watch(); });
  return server;
}

Server::~Server() {
  if (!impl_->mark.here()) {
    (void)impl_->watcher.release();  // the thread is the parent's: not even its handle may be touched
    return;
  }
  stop(0);
}

void Server::stop(uint64_t grace_ns) {
  Impl& impl = *impl_;
  if (!impl.mark.here() || !impl.watcher || impl.closed) return;
  if (!impl.stopped.exchange(true)) {
    std::lock_guard offering(impl.offer_mutex);
    const auto session = impl.current();
    for (uint32_t i = 0; i < impl.offers.size(); ++i)
      if (!impl.offers[i].withdrawn) (void)session->withdraw(i, impl.offers[i].service);  // fails only when the daemon is gone
  }
  const auto session = impl.current();
  session->wake_idle();
  impl.renewed_point.notify();
  session->wait_for_open_calls(now_ns() + grace_ns);
  if (impl.closed.exchange(true)) return;
  session->cancel_all();
  session->wait_until_settled(now_ns() + kSettleNs);
  session->attachment().detach();
  impl.bell->ring();
  impl.watcher->join();
}

// ---- offers

Result<uint32_t> Server::offer(std::span<const std::byte> schema, std::string service) {
  Impl& impl = *impl_;
  if (!impl.mark.here()) return forked_error();
  std::lock_guard offering(impl.offer_mutex);
  const auto index = static_cast<uint32_t>(impl.offers.size());
  Impl::Offer offer{{schema.begin(), schema.end()}, std::move(service)};
  if (auto status = impl.current()->offer(index, offer.schema, offer.service); !status) return status.error();
  impl.offers.push_back(std::move(offer));
  return index;
}

Status Server::withdraw(uint32_t service) {
  Impl& impl = *impl_;
  if (!impl.mark.here()) return forked_error();
  std::lock_guard offering(impl.offer_mutex);
  if (service >= impl.offers.size() || impl.offers[service].withdrawn) return invalid_argument("no such offer");
  impl.offers[service].withdrawn = true;
  return impl.current()->withdraw(service, impl.offers[service].service);
}

// ---- calls

NextOutcome Server::next(IncomingPtr& incoming, const InterruptFn& interrupt) {
  Impl& impl = *impl_;
  const uint64_t slice_ns = interrupt ? impl.policy.slice_ms * 1'000'000ull : UINT64_MAX;
  while (impl.mark.here()) {
    const uint32_t seen = impl.renewed_point.sequence();
    const auto session = impl.current();
    session->poll();
    if ((incoming = session->take())) return NextOutcome::kCall;
    if (impl.stopped) return NextOutcome::kStopped;
    if (session->attachment().dead()) {
      impl.bell->ring();  // whoever noticed first tells the watcher
      impl.renewed_point.sleep(seen, slice_ns);
    } else {
      session->idle(impl.stopped, slice_ns);
    }
    if (interrupt && interrupt()) return NextOutcome::kInterrupted;
  }
  return NextOutcome::kStopped;
}

Result<SendBlock> Server::allocate(Incoming& incoming, uint64_t bytes) {
  return incoming.state_->session->attachment().allocate(bytes);
}

Result<HeapBufferPtr> Server::allocate_buffer(uint64_t bytes) {
  if (!impl_->mark.here()) return forked_error();
  return impl_->current()->attachment().allocate_buffer(bytes);
}

std::optional<Pinned> Server::locate(const void* data, uint64_t bytes) {
  if (!impl_->mark.here()) return std::nullopt;
  return impl_->current()->attachment().locate(data, bytes);
}

uint64_t Server::message_bytes_max() const {
  return impl_->mark.here() ? impl_->current()->attachment().welcome().message_bytes_max : abi::kMessageBytesMax;
}

uint32_t Server::metadata_bytes_max() const {
  return impl_->mark.here() ? impl_->current()->attachment().welcome().metadata_bytes_max : abi::kMetadataBytesMax;
}

Status Server::reply(Incoming& incoming, StatusCode code, SendBlock&& block, bool has_message) {
  ServerSession& session = *incoming.state_->session;
  if (!session.attachment().here()) return forked_error();
  return session.reply(*incoming.state_, code, std::move(block), has_message);
}

Status Server::send_initial_metadata(Incoming& incoming, SendBlock&& block) {
  Incoming::State& state = *incoming.state_;
  if (!state.session->attachment().here()) return forked_error();
  if (state.over) return ok_status();
  return state.session->send(state, abi::SlotKind::kInitialMetadata, 0, StatusCode::kOk, 0, 0, std::move(block));
}

// ---- streams

Status Server::send_message(Incoming& incoming, SendBlock&& block) {
  Incoming::State& state = *incoming.state_;
  if (!state.session->attachment().here()) return forked_error();
  std::lock_guard sending(state.send_mutex);
  {
    std::lock_guard lock(state.mutex);
    if (state.over) return Error{StatusCode::kCancelled, "the call is over"};
    if (state.credit == 0) return resource_exhausted("no credit for a message: wait until the receiver has taken some");
    --state.credit;
  }
  auto sent = state.session->send(state, abi::SlotKind::kMessage, abi::kHasMessage, StatusCode::kOk, 0, state.sequence, std::move(block));
  if (sent) {
    ++state.sequence;
    return sent;
  }
  std::lock_guard lock(state.mutex);
  ++state.credit;
  return sent;
}

namespace {

template <typename State, typename Ready>
WaitOutcome wait_for(State& state, const Ready& ready, const InterruptFn& interrupt, uint64_t slice_ns) {
  while (state.session->attachment().here() && !ready()) {
    state.session->wait(state, ready, slice_ns);
    if (interrupt && !ready() && interrupt()) return WaitOutcome::kInterrupted;
  }
  return WaitOutcome::kReady;
}

}  // namespace

WaitOutcome Server::wait_credit(Incoming& incoming, const InterruptFn& interrupt) {
  Incoming::State& state = *incoming.state_;
  const auto ready = [&] {
    std::lock_guard lock(state.mutex);
    return state.over || state.credit != 0;
  };
  return wait_for(state, ready, interrupt, impl_->policy.slice_ms * 1'000'000ull);
}

WaitOutcome Server::wait_message(Incoming& incoming, const InterruptFn& interrupt) {
  Incoming::State& state = *incoming.state_;
  const auto ready = [&] {
    std::lock_guard lock(state.mutex);
    return state.over || state.half_closed || !state.messages.empty();
  };
  return wait_for(state, ready, interrupt, impl_->policy.slice_ms * 1'000'000ull);
}

std::optional<Message> Server::receive(Incoming& incoming) {
  Incoming::State& state = *incoming.state_;
  if (!state.session->attachment().here()) return std::nullopt;
  std::optional<Message> message;
  uint32_t credit = 0;
  {
    std::lock_guard lock(state.mutex);
    if (state.messages.empty()) return std::nullopt;
    message = std::move(state.messages.front());
    state.messages.pop_front();
    if (++state.taken_uncredited >= kCreditBatch && !state.over && !state.half_closed) credit = std::exchange(state.taken_uncredited, 0);
  }
  if (credit != 0) (void)state.session->send(state, abi::SlotKind::kCredit, 0, StatusCode::kOk, credit, 0, {});
  return message;
}

// ---- event loops

int Server::wake_fd() {
  if (!impl_->mark.here()) return -1;
  std::shared_ptr<ServerSession> left;  // destroyed after the lock is released
  std::lock_guard lock(impl_->mutex);
  impl_->loop_watches = true;
  left.swap(impl_->left);
  return impl_->session->attachment().wake_fd();
}

uint64_t Server::epoch() {
  if (!impl_->mark.here()) return 0;
  std::lock_guard lock(impl_->mutex);
  return impl_->epoch << 32 | impl_->session->attachment().generation();
}

bool Server::arm() { return !impl_->mark.here() || impl_->current()->arm(); }

void Server::disarm() {
  if (impl_->mark.here()) impl_->current()->attachment().set_poll_armed(false);
}

size_t Server::drain(size_t events_max, std::vector<IncomingPtr>& calls) {
  if (!impl_->mark.here()) return 0;
  const auto session = impl_->current();
  session->attachment().set_poll_armed(false);
  session->attachment().drain_wake_fd();
  session->poll();
  size_t count = 0;
  for (; count < events_max && !impl_->stopped; ++count) {
    auto call = session->take();
    if (!call) break;
    calls.push_back(std::move(call));
  }
  return count;
}

// ---- Incoming

Incoming::Incoming(std::unique_ptr<State> state) : state_(std::move(state)) {}
Incoming::~Incoming() = default;

uint32_t Incoming::service() const { return state_->service; }
uint32_t Incoming::method() const { return state_->method; }
uint64_t Incoming::deadline_ns() const { return state_->deadline_ns; }
RecvBlockPtr Incoming::request() const { return state_->request; }
bool Incoming::has_message() const { return state_->has_message; }
bool Incoming::half_closed() const { return state_->half_closed; }

bool Incoming::cancelled() const {
  // All workers may be busy: then nobody but the handler itself looks at the rings.
  if (!state_->cancelled && state_->session->attachment().here()) state_->session->poll();
  return state_->cancelled;
}

void Incoming::on_cancel(std::function<void()> callback) {
  {
    std::lock_guard lock(state_->mutex);
    if (!state_->cancelled) {
      state_->on_cancel = std::move(callback);
      callback = nullptr;
    }
  }
  if (callback) callback();
  else state_->session->watch(*state_);
}

}  // namespace mrpc::stub
