// A client's life with one daemon: the calls in flight on one attachment, and the threads that wait for them.
#pragma once

#include <deque>
#include <map>

#include "stub/attachment.h"
#include "stub/demux.h"
#include "stub/poll_turn.h"
#include "stub/round_trip.h"
#include "stub/stub.h"

namespace mrpc::stub {

// A bound service as this daemon knows it.
struct SessionService {
  uint32_t shard = 0;
  std::vector<uint32_t> handles;  // by method
  std::vector<RoundTrip> round_trips;
};

struct Call::State {
  std::shared_ptr<ClientSession> session;
  std::shared_ptr<SessionService> service;
  uint64_t id = 0;
  uint32_t method = 0;
  uint64_t started_ns = 0, deadline_ns = 0;
  std::function<void()> on_done, on_message;
  WaitPoint point;
  std::atomic<bool> done{false};

  std::mutex send_mutex;  // outside of `mutex`: messages are published in the order of their numbers
  std::mutex mutex;
  Reply reply;  // mutex until done, constant afterwards
  RecvBlockPtr initial_metadata;
  std::deque<Message> messages;
  uint64_t credit = abi::kStreamWindow;
  uint32_t sequence = 1;          // of the next message sent; kOpen carried number 0
  uint32_t taken_uncredited = 0;  // messages received, for which no credit was given back yet
};

class ClientSession : public std::enable_shared_from_this<ClientSession> {
 public:
  ClientSession(std::shared_ptr<Attachment> attachment, const WaitPolicy& policy)
      : attachment_(std::move(attachment)), policy_(policy) {}

  Attachment& attachment() { return *attachment_; }
  bool daemon_tells_not_delivered() const { return (attachment_->welcome().features & abi::kTellsNotDelivered) != 0; }
  bool fresh();  // may take new calls; looks after the daemon when nothing has been heard for a while
  Result<std::shared_ptr<SessionService>> service(const BoundService& bound);

  Result<CallPtr> start(std::shared_ptr<SessionService> service, uint32_t method, SendBlock&& block, CallOptions options);
  void cancel(Call::State& call);
  Status send(Call::State& call, abi::SlotKind kind, uint8_t flags, uint64_t aux, uint32_t sequence, SendBlock&& block);

  // Waits until ready(). `ready` is looked at whenever `point` is notified.
  template <typename Ready>
  WaitOutcome wait_until(WaitPoint& point, const PollPlan& plan, const Ready& ready, const InterruptFn& interrupt);
  PollPlan plan_for(const Call::State& call) const;       // for its reply
  PollPlan plan_from_now(const Call::State& call) const;  // for one of a stream's messages

  bool arm();
  void disarm() { loop_armed_ = false; attachment_->set_poll_armed(false); }
  size_t drain(size_t slots_max);
  bool check();  // false: the attachment has ended
  void close();  // ends everything that is open

 private:
  class Batch;
  struct Entry {
    uint32_t generation = 0;
    CallPtr call;
  };

  Result<uint32_t> register_schema(const std::vector<std::byte>& schema);
  uint64_t insert(const CallPtr& call);
  CallPtr find(uint64_t id);
  CallPtr remove(uint64_t id);
  size_t poll(size_t slots_max);
  bool finish(Call::State& call, Reply reply);
  void finish_all(const Error& error);
  void run_callback(Call::State& call);
  void expire_overdue(uint64_t now);
  void on_loss_check(uint64_t now);
  template <typename Ready>
  bool lead(const PollPlan& plan, const Ready& ready, const InterruptFn& interrupt);
  template <typename Ready>
  bool follow(Demux::Waiter& waiter, const Ready& ready, const InterruptFn& interrupt);
  bool watch(uint64_t until_ns);
  void begin_lead();
  void resign();
  void start_completion_thread();
  void run_completions();

  std::shared_ptr<Attachment> attachment_;
  const WaitPolicy policy_;
  Demux demux_;
  std::atomic<bool> loop_armed_{false}, closed_{false};
  bool too_early_ = false;  // what the leader reads now came while it was surely not due; the leader's
  std::atomic<uint64_t> heard_ns_{0}, expired_ns_{0};
  std::atomic<uint64_t> answered_ns_{0};  // when completions last came

  std::mutex table_mutex_;
  std::vector<Entry> table_;
  std::vector<uint32_t> free_entries_;

  std::mutex services_mutex_;
  std::map<uint32_t, std::shared_ptr<SessionService>> services_;          // by BoundService::index
  std::map<std::vector<std::byte>, uint32_t> schema_ids_;

  // The thread that polls when calls have callbacks and there is no event loop.
  std::atomic<bool> completion_thread_{false};
  std::atomic<uint32_t> callbacks_open_{0};
  WaitPoint completion_point_;
};

}  // namespace mrpc::stub

#include "stub/client_wait.h"
