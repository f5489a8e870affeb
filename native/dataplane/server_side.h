// The server half of calls: from a link to the application that serves, and its answers back.
#pragma once

#include "dataplane/shard_core.h"
#include "dataplane/slab.h"

namespace mrpc::dataplane {

struct ServerCall {
  transport::LinkId link = 0;
  uint64_t link_call = 0;
  Port* port = nullptr;
  std::shared_ptr<const ServiceVariant> variant;
  const message::MethodLayout* layout = nullptr;
  std::shared_ptr<Endpoint> endpoint;
  EdgeStats* stats = nullptr;      // of calls from other hosts; local ones are counted by their client half
  Route* route = nullptr;          // likewise
  CallState policies;              // likewise
  std::unique_ptr<RecordedCall> recorded;  // likewise; null: not wanted
  uint64_t started_ns = 0, deadline_ns = 0;
  uint32_t request_sequence = 1, reply_sequence = 0;
  uint32_t send_credit = abi::kStreamWindow;
  bool offered = false;  // its application has been told of it

  struct Opened {  // a kOpen frame, taken apart
    std::string path, client;
    OpenPrefix prefix{};
    uint8_t flags = 0;         // the frame's
    uint64_t deadline_ns = 0;  // 0: none
    Message message;
  };
  struct More {  // one more message of a stream
    abi::Slot slot{};
    std::optional<Message> message = std::nullopt;
    Status usable = ok_status();
  };
  struct Answer {
    abi::Slot slot{};
    Message message;
    uint32_t stage = UINT32_MAX;  // of the chain, to go on below
    std::shared_ptr<void> charge = nullptr;  // while it waits
  };
  // A message that a policy makes wait, and what came behind it (as in client_policies.cpp).
  struct Waiting {
    std::optional<Opened> opened;
    std::optional<More> more;
    uint32_t stage = 0;  // of the chain, to go on with
    std::deque<transport::Frame> later;
    std::deque<Answer> answers;
    std::vector<std::shared_ptr<void>> charges;  // for what waits of the request
    uint64_t request_at_ns = 0, answer_at_ns = 0;
    bool requests() const { return opened || more; }
  };
  std::unique_ptr<Waiting> waiting;
};

class ServerSide {
 public:
  explicit ServerSide(ShardCore& core) : core_(core) {}

  // Slots of a server's attachment. False: the slot breaks the protocol, and `why` says how.
  bool on_slot(Port& port, const abi::Slot& slot, std::string& why);
  // A frame that came on a link whose other end opens calls. `peer` is that daemon's node name, empty for the local link.
  void on_frame(transport::LinkId link, const std::string& peer, transport::Frame&& frame);
  void on_unsent(transport::LinkId link, uint64_t link_call);  // as ShardCore::on_unsent
  void on_deadline(uint64_t call);
  // What a policy made a call wait for has come: its time, or (`again`) the end of the call that fetches its reply.
  void resume(uint64_t call, bool again);
  // As ClientSide::cut_waits.
  bool cut_waits();
  void on_port_gone(Port& port, const std::string& reason);
  void on_link_down(transport::LinkId link);

  // A call that another process has begun. False: its names are taken.
  bool restore(uint64_t id, ServerCall&& call);

  size_t open_calls() const { return calls_.size(); }
  Slab<ServerCall>& calls() { return calls_; }

 private:
  using Opened = ServerCall::Opened;
  using More = ServerCall::More;
  using Answer = ServerCall::Answer;
  struct Arriving {  // from another daemon, being checked
    Opened opened;
    ServerCall call;
    std::string peer;
    Status usable = ok_status();
  };

  void on_open(transport::LinkId link, const std::string& peer, transport::Frame&& frame);
  Result<Opened> take_apart(transport::Frame&& frame);
  void check_remote(Arriving&& arriving);
  void admit(Arriving&& arriving);
  void judge_arrived(Arriving&& arriving);
  Status find_chain(Opened& opened, const std::string& peer, ServerCall& call);
  uint64_t enter(ServerCall&& call);
  void offer_call(uint64_t id, ServerCall& call, Opened&& opened);
  JudgedCall judged_call(uint64_t id, ServerCall& call);
  void judge_open(uint64_t id, ServerCall& call, Opened&& opened, uint32_t from);
  void judge_more(uint64_t id, ServerCall& call, More&& more, uint32_t from);
  // True when the reply may go on; else it waits, or the call has ended.
  bool judge_answer(uint64_t id, ServerCall& call, Answer& answer);
  // What a policy makes wait is charged to its edge, and to the daemon that it came from. Null: they have no room for more.
  std::shared_ptr<void> charge_wait(const ServerCall& call, uint64_t bytes);
  // False: there is no room for it, and the call has ended.
  bool wait_for(uint64_t id, ServerCall& call, const JudgedCall& judged, Action action);
  bool wait_with(uint64_t id, ServerCall& call, Answer& answer);
  bool queue_behind(uint64_t id, ServerCall& call, transport::Frame& frame);
  void resume_request(uint64_t id);
  void resume_answers(uint64_t id);
  void deny(uint64_t id, ServerCall& call, const Error& denial, uint32_t denier, bool ended = false);
  void tell_cancelled(uint64_t id, ServerCall& call);
  void send_answer(uint64_t id, ServerCall& call, Answer&& answer);
  std::shared_ptr<const std::vector<std::byte>> caller_metadata(const std::string& client, bool own_tenant);
  std::optional<QosRank> rank_of(const Opened& opened, const ServerCall& call, uint64_t deadline_ns);
  void on_more(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote);
  void on_more_message(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote);
  void deliver_more(uint64_t id, ServerCall& call, More&& more);
  void cancel(uint64_t id, ServerCall& call);

  bool on_reply(Port& port, const abi::Slot& slot, std::string& why);
  std::optional<Error> check_reply(const message::MethodLayout& layout, Message& message, bool whole) const;
  void check_elsewhere(Port& port, const abi::Slot& slot, const ServerCall& call, Message&& message, bool whole);
  void pass_on(Port& port, const abi::Slot& slot, Message&& message, std::optional<Error> error);
  void answer(transport::LinkId link, uint64_t link_call, const Error& error, uint32_t delivered = 0);
  void end(uint64_t id, ServerCall& call, StatusCode code, uint32_t denier = Chain::kNobody);

  ShardCore& core_;
  Slab<ServerCall> calls_;
  std::unordered_map<LinkCall, uint64_t, LinkCallHash> by_link_;
  std::unordered_map<transport::LinkId, std::shared_ptr<uint64_t>> waiting_bytes_;  // of each peer's calls
  std::map<std::pair<std::string, bool>, std::shared_ptr<const std::vector<std::byte>>> callers_;  // by app, and whether its tenant is its own
};

}  // namespace mrpc::dataplane
