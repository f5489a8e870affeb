// A server's life with one daemon: the calls that it has taken over one attachment, and the workers that wait for more.
//
// All idle workers sleep on the same word; the daemon wakes one: where it can, the one that found no other first, so that calls that come one
// by one are served by one thread, whose core and caches are warm. Whoever wakes empties the rings, takes one call and, if more are
// queued, wakes the next. A handler that waits for its stream sleeps on that word and its own; when it wakes and finds
// calls for others, it passes the wake on.
//
// With a limit on open calls, a call over it is refused by whoever took it from the ring. All workers may be busy then, so while calls are
// open the watcher thread looks at the rings now and then.
#pragma once

#include <deque>
#include <unordered_map>

#include "stub/attachment.h"
#include "stub/poll_turn.h"
#include "stub/stub.h"

namespace mrpc::stub {

struct Incoming::State {
  std::shared_ptr<ServerSession> session;
  uint32_t shard = 0, handle = 0;
  uint64_t id = 0, deadline_ns = 0;
  uint32_t service = 0, method = 0;  // resolved when a worker takes the call
  RecvBlockPtr request;
  bool has_message = false;
  WaitPoint point;
  std::atomic<bool> cancelled{false}, half_closed{false};
  std::atomic<bool> over{false};  // replied, or cancelled: nothing more is sent
  bool counted = false;  // against the limit on open calls; set before anybody else sees the call
  std::atomic<bool> watched{false};  // counted in WatcherBell::calls_watched

  std::mutex send_mutex;  // outside of `mutex`: messages are published in the order of their numbers
  std::mutex mutex;
  std::function<void()> on_cancel;
  std::deque<Message> messages;
  uint64_t credit = abi::kStreamWindow;
  uint32_t sequence = 0;          // of the next message sent
  uint32_t taken_uncredited = 0;
};

// How the watcher thread of a server is woken. While calls with an on_cancel, or calls that count against a limit, are open it looks at
// the rings now and then: all workers may be busy in handlers.
struct WatcherBell {
  Fd fd;
  std::atomic<uint32_t> calls_watched{0};
  std::atomic<bool> ticking{false};

  void ring() {
    const uint64_t one = 1;
    (void)!::write(fd.get(), &one, sizeof one);  // fails only when it rings already
  }
};

class ServerSession : public std::enable_shared_from_this<ServerSession> {
 public:
  // `calls_max`: 0: no limit.
  ServerSession(std::shared_ptr<Attachment> attachment, const WaitPolicy& policy, std::shared_ptr<WatcherBell> bell, uint32_t calls_max);

  Attachment& attachment() { return *attachment_; }
  Status offer(uint32_t index, const std::vector<std::byte>& schema, const std::string& service);
  Status withdraw(uint32_t index, const std::string& service);

  size_t poll();          // takes what the rings hold
  IncomingPtr take();     // a call, if one is queued; wakes another worker if there are more
  // An idle worker: polls briefly where cores are to spare, then sleeps until something comes or `stopped`.
  void idle(const std::atomic<bool>& stopped, uint64_t timeout_ns);
  void wake_idle();  // all of them, for good: after `stopped`, or when the attachment has ended
  // A handler waits for its stream; returns early now and then.
  template <typename Ready>
  void wait(Incoming::State& call, const Ready& ready, uint64_t timeout_ns);

  Status send(Incoming::State& call, abi::SlotKind kind, uint8_t flags, StatusCode code, uint64_t aux, uint32_t sequence,
              SendBlock&& block);
  Status reply(Incoming::State& call, StatusCode code, SendBlock&& block, bool has_message);
  bool cancel(Incoming::State& call);  // false: it was over already
  void cancel_all();
  void watch(Incoming::State& call);  // the watcher thread polls until the call is over
  bool wait_for_open_calls(uint64_t until_ns);  // true: none is left
  // Before detaching: the daemon takes the control socket's word before what stands in the rings, so replies left there would be lost.
  void wait_until_settled(uint64_t until_ns);

  bool arm();
  bool queued();

 private:
  class Batch;
  struct Method {
    uint32_t service, method;
  };

  IncomingPtr make_call(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block);
  void open(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block);
  // Under the consumer lock: what is opened or refused, the caller keeps until it has released that.
  void open_limited(uint32_t shard, const abi::Slot& slot, RecvBlockPtr block, std::vector<IncomingPtr>& opened,
                    std::vector<IncomingPtr>& refused);
  void refuse(Incoming::State& call);
  IncomingPtr find(uint32_t shard, uint64_t id);
  IncomingPtr remove(uint32_t shard, uint64_t id);
  bool resolve(Incoming::State& call);

  std::shared_ptr<Attachment> attachment_;
  const WaitPolicy policy_;
  const std::shared_ptr<WatcherBell> bell_;
  const uint32_t calls_max_;
  std::atomic<uint32_t> idle_workers_{0};
  std::atomic<bool> first_idles_{false};  // one of them is woken before the others

  std::mutex methods_mutex_;  // held while offering: a call may come before the daemon's answer
  std::unordered_map<uint32_t, Method> methods_;  // by handle
  std::unordered_map<uint32_t, uint32_t> schema_ids_;  // by offer

  std::mutex calls_mutex_;
  std::vector<std::unordered_map<uint64_t, IncomingPtr>> open_;  // by shard, call id
  std::deque<IncomingPtr> queue_;
  // Against the limit: a call counts until its end is decided, not until it is sent, so that a caller who has its reply may call again.
  std::atomic<uint32_t> counted_{0};
  WaitPoint open_point_;  // notified when a call ends
};

template <typename Ready>
void ServerSession::wait(Incoming::State& call, const Ready& ready, uint64_t timeout_ns) {
  const uint32_t seen = call.point.sequence();
  poll();
  if (ready()) return;
  if (idle_workers_ != 0 && queued()) attachment_->wake_sleeper();
  attachment_->sleep(timeout_ns, ready, call.point, seen);
}

}  // namespace mrpc::stub
