// The client half of calls: intake from the application that calls, policy, choice of an endpoint, and the answer.
#pragma once

#include "dataplane/shard_core.h"
#include "dataplane/slab.h"

namespace mrpc::dataplane {

// One method as one attachment has bound it. Made by the control thread; the shard fills in entry, route and variant at a call.
struct BoundMethod {
  std::string service, method;
  std::string app;  // only endpoints of this app; empty: any
  std::shared_ptr<const message::Schema> schema;  // the client's
  const message::MethodLayout* layout = nullptr;
  uint64_t fingerprint = 0;  // of the client's schema of the service

  ServiceEntry* entry = nullptr;
  Route* route = nullptr;
  std::vector<std::byte> prefix;  // OpenPrefix, path, client; fingerprint and endpoint are filled in for each call
  // The variant last called, and what it needs.
  std::shared_ptr<const ServiceVariant> variant;
  const message::MethodLayout* server_layout = nullptr;  // null: that schema has no such method
  bool same_schema = false;
};

// `target`: the app whose endpoints alone are meant; empty: any. `client`: the app that binds.
std::shared_ptr<BoundMethod> bind_method(std::shared_ptr<const message::Schema> schema, const message::ServiceLayout& service,
                                         const message::MethodLayout& method, std::string target, const std::string& client);

struct ClientCall {
  Port* port = nullptr;
  uint64_t app_call = 0;
  std::shared_ptr<BoundMethod> method;
  std::shared_ptr<const ServiceVariant> variant;
  const message::MethodLayout* server_layout = nullptr;
  bool same_schema = false;
  CallState policies;
  std::unique_ptr<RecordedCall> recorded;  // null: not wanted
  std::shared_ptr<Endpoint> endpoint;  // as long as it is not sent, policies may choose another
  EdgeStats* stats = nullptr;          // once it is sent
  uint64_t started_ns = 0, deadline_ns = 0;
  uint32_t request_sequence = 1, reply_sequence = 0;
  uint32_t send_credit = abi::kStreamWindow;
  bool half_closed = false;
  bool sent = false;

  // What the application said about the call, or its server answered, while a policy makes an earlier part of it wait. Rare: most calls have none.
  struct Said {
    abi::Slot slot{};
    Message message;
    uint32_t stage = 0;  // of the chain, to go on with
  };
  struct Reply {
    transport::FrameKind kind{};
    uint8_t flags = 0, code = 0;
    std::optional<Message> message;
    Status usable = ok_status();
    uint32_t stage = UINT32_MAX;  // of the chain, to go on below
    std::optional<std::shared_ptr<void>> charge = std::nullopt;  // what it holds in its server's send heap, once that is charged
    bool not_delivered = false;
  };
  struct Waiting {
    std::deque<Said> requests;
    std::deque<Reply> replies;
    uint64_t bytes = 0;
    uint64_t request_at_ns = 0, reply_at_ns = 0;  // when to go on; 0: a stored reply is waited for, or nothing waits
  };
  std::unique_ptr<Waiting> waiting;
};

class ClientSide {
 public:
  explicit ClientSide(ShardCore& core) : core_(core) {}

  // Slots of a client's attachment. False: the slot breaks the protocol, and `why` says how.
  bool on_slot(Port& port, const abi::Slot& slot, std::string& why);
  // A frame that came back on a link that this side opened calls on.
  void on_frame(transport::LinkId link, transport::Frame&& frame);
  void on_unsent(transport::LinkId link, uint64_t call);  // as ShardCore::on_unsent
  void on_deadline(uint64_t call);
  // What a policy made a call wait for has come: its time, or (`again`) the end of the call that fetches its reply.
  void resume(uint64_t call, bool again);
  // For a successor process: ends every wait at once, past the policy that asked for it. True when there was one.
  bool cut_waits();
  void on_port_gone(Port& port);
  void on_link_down(transport::LinkId link, const std::string& reason);

  size_t open_calls() const { return calls_.size(); }
  Slab<ClientCall>& calls() { return calls_; }

 private:
  struct Opening {  // a request on its way to its endpoint
    uint32_t port = 0;
    abi::Slot slot{};
    std::shared_ptr<BoundMethod> method;
    Message message;
    std::shared_ptr<Endpoint> endpoint;
    std::optional<Error> error = std::nullopt;  // what its check has found
  };

  struct Checked {  // a stream's message, or what is wrong with it
    Message message;
    std::optional<Error> error;
  };
  using Said = ClientCall::Said;
  using Reply = ClientCall::Reply;
  enum class Progress { kGoes, kWaits, kEnded };

  bool refuse_unknown(Port& port, const abi::Slot& slot, const BoundMethod& method, std::string& why);
  bool on_open(Port& port, const abi::Slot& slot, std::string& why);
  bool on_message(Port& port, const abi::Slot& slot, std::string& why);
  void on_checked_message(uint64_t id, ClientCall& call, const abi::Slot& slot, Checked&& checked);
  bool on_half_close(Port& port, const abi::Slot& slot);
  bool on_cancel(Port& port, const abi::Slot& slot);
  bool on_credit(Port& port, const abi::Slot& slot);

  void resolve(BoundMethod& method, const std::shared_ptr<const ServiceVariant>& variant);
  std::optional<Error> choose(Opening& opening);
  std::optional<Error> check_and_relay(Message& message, const message::MethodLayout& from, const message::MethodLayout& to,
                                       bool same_schema, bool whole) const;
  void judge_and_send(Port& port, Opening&& opening);
  void dispatch(Port& port, Opening&& opening, std::shared_ptr<Chain> chain);

  JudgedCall judged_call(uint64_t id, ClientCall& call);
  void say(uint64_t id, ClientCall& call, Said&& said);
  Progress judge(uint64_t id, ClientCall& call, Said& said);
  Progress judge_reply(uint64_t id, ClientCall& call, Reply& reply);
  bool choose_again(ClientCall& call, const Verdict::Choice& choice);
  bool find_endpoint_again(ClientCall& call);
  void deny(uint64_t id, ClientCall& call, const Error& denial, uint32_t denier);
  void wait_with(uint64_t id, ClientCall& call, Reply&& reply);
  void resume_requests(uint64_t id);
  void resume_replies(uint64_t id);
  void send_on(uint64_t id, ClientCall& call, Said&& said);
  void send_open(uint64_t id, ClientCall& call, Said&& said);

  transport::LinkId link_of(const ClientCall& call) const;
  void forward(uint64_t id, ClientCall& call, transport::Frame&& frame);
  void forward(uint64_t id, ClientCall& call, transport::Frame&& frame, Message&& message, const std::string& judged);
  void cannot_go(uint64_t id, ClientCall& call, const Error& error);
  void deliver_reply(uint64_t id, ClientCall& call, transport::Frame&& frame);
  std::optional<std::shared_ptr<void>> charge_pinned(const ClientCall& call, const std::optional<Message>& message);
  void deliver_checked(uint64_t id, ClientCall& call, Reply&& reply);
  void finish(uint64_t id, ClientCall& call, Delivery&& status, uint32_t denier = Chain::kNobody);
  void finish_with_error(uint64_t id, ClientCall& call, const Error& error, uint32_t denier = Chain::kNobody);
  void conclude(uint64_t id, ClientCall& call, StatusCode code, uint32_t denier = Chain::kNobody);
  // Ends a call that never reached the table.
  enum class Refusal { kFailed, kDenied, kNotDelivered };
  void refuse(Port& port, const abi::Slot& slot, BoundMethod& method, const Error& error, Refusal why = Refusal::kFailed);
  void cancel_downstream(uint64_t id, ClientCall& call);
  void forget(uint64_t id, ClientCall& call, StatusCode code, uint32_t denier = Chain::kNobody);

  ShardCore& core_;
  Slab<ClientCall> calls_;
};

}  // namespace mrpc::dataplane
