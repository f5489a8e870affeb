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
  std::shared_ptr<Chain> chain;    // likewise
  uint64_t started_ns = 0;
  uint32_t request_sequence = 1, reply_sequence = 0;
  uint32_t send_credit = abi::kStreamWindow;
};

class ServerSide {
 public:
  explicit ServerSide(ShardCore& core) : core_(core) {}

  // Slots of a server's attachment. False: the slot breaks the protocol, and `why` says how.
  bool on_slot(Port& port, const abi::Slot& slot, std::string& why);
  // A frame that came on a link whose other end opens calls. `peer` is that daemon's node name, empty for the local link.
  void on_frame(transport::LinkId link, const std::string& peer, transport::Frame&& frame);
  void on_deadline(uint64_t call);
  void on_port_gone(Port& port, const std::string& reason);
  void on_link_down(transport::LinkId link);

  // A call that another process has begun. False: its names are taken.
  bool restore(uint64_t id, ServerCall&& call);

  size_t open_calls() const { return calls_.size(); }
  Slab<ServerCall>& calls() { return calls_; }

 private:
  struct Opened {  // a kOpen frame, taken apart
    std::string path, client;
    OpenPrefix prefix{};
    uint8_t flags = 0;         // the frame's
    uint64_t deadline_ns = 0;  // 0: none
    Message message;
  };
  struct Arriving {  // from another daemon, being checked
    Opened opened;
    ServerCall call;
    std::string peer;
    Status usable = ok_status();
  };
  struct More {  // one more message of a stream
    abi::Slot slot{};
    std::optional<Message> message = std::nullopt;
    Status usable = ok_status();
  };

  void on_open(transport::LinkId link, const std::string& peer, transport::Frame&& frame);
  Result<Opened> take_apart(transport::Frame&& frame);
  void check_remote(Arriving&& arriving);
  void admit(Arriving&& arriving);
  Status judge_remote(Opened& opened, const std::string& peer, ServerCall& call);
  void offer_call(Opened&& opened, ServerCall&& call);
  std::shared_ptr<const std::vector<std::byte>> caller_metadata(const std::string& client, bool own_tenant);
  std::optional<QosRank> rank_of(const Opened& opened, const ServerCall& call, uint64_t deadline_ns);
  void on_more(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote);
  void on_more_message(uint64_t id, ServerCall& call, transport::Frame&& frame, bool remote);
  void deliver_more(uint64_t id, ServerCall& call, More&& more);
  void cancel(uint64_t id, ServerCall& call);

  bool on_reply(Port& port, const abi::Slot& slot, std::string& why);
  std::optional<Error> check_reply(const message::MethodLayout& layout, Message& message) const;
  void check_elsewhere(Port& port, const abi::Slot& slot, const ServerCall& call, Message&& message);
  void pass_on(Port& port, const abi::Slot& slot, Message&& message, std::optional<Error> error);
  void answer(transport::LinkId link, uint64_t link_call, const Error& error);
  void end(uint64_t id, ServerCall& call, StatusCode code);

  ShardCore& core_;
  Slab<ServerCall> calls_;
  std::unordered_map<LinkCall, uint64_t, LinkCallHash> by_link_;
  std::map<std::pair<std::string, bool>, std::shared_ptr<const std::vector<std::byte>>> callers_;  // by app, and whether its tenant is its own
};

}  // namespace mrpc::dataplane
