#include "dataplane/shard_thread.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <algorithm>
#include <future>
#include <string>

#include "shm/futex.h"

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kWakeTag = 1ull << 32, kTcpTag = 2ull << 32;  // doorbells have their port's id, 32 bits
constexpr int kNiceFirst = -10;
constexpr uint64_t kListenNs = 50'000;
constexpr uint64_t kAloneNs = 5'000;  // until a woken server has its core, or is waiting for one
constexpr uint64_t kWakesNs = 50'000;  // how much later a halted core wakes a sleeper, or more

}  // namespace

ShardThread::ShardThread(uint32_t index, const Config& config, World& world, const EngineCatalog& catalog, ShardObserver& observer)
    : config_(config), world_(world), shard_(index, config, world, catalog, observer),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  MRPC_ASSERT(epoll_ && wake_);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kWakeTag;
  MRPC_ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) == 0);
}

void ShardThread::start() {
  thread_ = std::thread([this] { run(); });
  ::pthread_setname_np(thread_.native_handle(), ("mrpc-shard-" + std::to_string(shard_.index)).c_str());
}

void ShardThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  wake();
  thread_.join();
}

void ShardThread::unpark() {
  park_.open();
  wake();
}

void ShardThread::abandon() {
  stopping_.store(true);
  park_.open();
  thread_.join();
}

void ShardThread::wake() {
  const uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

// Edge-triggered: every ring is an event and nobody has to read the counter. An application that drains its own doorbell
// keeps only itself waiting.
void ShardThread::watch(uint32_t port, int doorbell, bool added) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = port;
  ::epoll_ctl(epoll_.get(), added ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, doorbell, &event);
}

void ShardThread::run_and_wait(const std::function<void()>& command) {
  if (!thread_.joinable()) return command();
  std::promise<void> done;
  shard_.post([&] {
    command();
    done.set_value();
  });
  done.get_future().wait();
}

// Where chains rank calls, a shard that is busy with bulk must not stand behind bulk's own applications when the kernel deals out the core: an
// urgent call would wait for their time slices, however soon its turn came. Where the daemon may not ask for that, it stays as it was.
void ShardThread::follow_priorities() {
  if (shard_.orders_calls == goes_first_) return;
  goes_first_ = shard_.orders_calls;
  (void)::setpriority(PRIO_PROCESS, 0, goes_first_ ? kNiceFirst : 0);  // of this thread: Linux keeps them apart
}

void ShardThread::run() {
  for (;;) {
    park_.pass();
    if (stopping_.load(std::memory_order_relaxed)) return;
    follow_priorities();
    if (shard_.turn()) {
      listen_when_due();
      continue;
    }
    const uint64_t idle_since_ns = world_.now_ns();
    const size_t open_calls = shard_.clients().open_calls();
    const bool served = open_calls > 0;  // what comes next is a reply, most likely, or else a request
    bool slept = false;
    const bool polls = gaps_ns_[served] < config_.spin_ns && shard_.tcp_fd() < 0;  // a socket is not looked at for nothing
    if (polls && spin(idle_since_ns, open_calls == 1)) listen_when_due();
    else if ((slept = shard_.prepare_sleep())) sleep();
    else listen_when_due();
    learn_gap(served, world_.now_ns() - idle_since_ns, slept);
  }
}

// While one call follows another, the next request is microseconds away: the caller's own work between two calls. A core that goes idle for
// so long is halted, and waking a halted virtual core costs 30 to 50 us; so a shard polls as long as that has paid lately. The gap until
// a server's reply is learnt by itself: handlers may work for long between two requests that come at once.
void ShardThread::learn_gap(bool served, uint64_t gap_ns, bool slept) {
  if (slept && !served) gap_ns -= std::min(gap_ns / 2, kWakesNs);  // which a shard that polls does not see
  gap_ns = std::min(gap_ns, kGapMaxNs);
  gaps_ns_[served] = gaps_ns_[served] / 8 * 7 + gap_ns / 8;
}

// A port that fell asleep is heard by its doorbell alone, so a shard that others never let sleep must listen all the same.
void ShardThread::listen_when_due() {
  if (shard_.now_ns - listened_ns_ < kListenNs) return;
  static constexpr timespec kNoTime{};
  listen(&kNoTime);
}

void ShardThread::listen(const timespec* span) {
  epoll_event events[64];
  const int ready = ::epoll_pwait2(epoll_.get(), events, 64, span, nullptr);
  for (int i = 0; i < ready; ++i)
    if (events[i].data.u64 < kWakeTag) shard_.ring(static_cast<uint32_t>(events[i].data.u64));
  listened_ns_ = shard_.now_ns;
}

// `gives_way`: the kernel may have put the server that was just woken behind this very thread, which would keep it from its only call.
bool ShardThread::spin(uint64_t idle_since_ns, bool gives_way) {
  const uint64_t until_ns = idle_since_ns + config_.spin_ns;
  while (world_.now_ns() < until_ns) {
    if (shard_.turn()) return true;
    listen_when_due();
    if (gives_way && world_.now_ns() > idle_since_ns + kAloneNs) ::sched_yield();
    else shm::cpu_relax();
  }
  return false;
}

void ShardThread::sleep() {
  if (shard_.tcp_fd() != watched_tcp_) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = kTcpTag;
    watched_tcp_ = shard_.tcp_fd();
    MRPC_ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, watched_tcp_, &event) == 0);
  }
  const uint64_t wake_ns = shard_.next_wake_ns(), now_ns = world_.now_ns();
  timespec span{};
  if (wake_ns != UINT64_MAX && wake_ns > now_ns) {
    span.tv_sec = static_cast<time_t>((wake_ns - now_ns) / 1'000'000'000);
    span.tv_nsec = static_cast<long>((wake_ns - now_ns) % 1'000'000'000);
  }
  listen(wake_ns == UINT64_MAX ? nullptr : &span);
}

}  // namespace mrpc::dataplane
