// What both halves of a call, and the shard that steps them, have in common: the ports, the directory, the links, the clock.
//
// A call has two halves. The *client half* (client_side.h) faces the application that calls: it takes the request in, judges it,
// chooses an endpoint and answers. The *server half* (server_side.h) faces the application that serves. Between them run
// transport frames: over the local link when both applications are on this daemon, over TCP when not; neither half knows.
#pragma once

#include <map>
#include <memory>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dataplane/config.h"
#include "dataplane/directory.h"
#include "dataplane/edge.h"
#include "dataplane/message_block.h"
#include "dataplane/policy/recorder.h"
#include "dataplane/port.h"
#include "transport/local/local.h"

namespace mrpc::dataplane {

// Links to other daemons carry this bit, so that ids of both transports can stand side by side.
constexpr transport::LinkId kTcpLink = 1ull << 63;

struct ShardCounters {
  uint64_t turns = 0, slots = 0, calls = 0, frames = 0, sleeps = 0, violations = 0, long_jobs = 0;
};

// Whose call a timer is for, and whether it is its deadline or the time that a policy made it wait for.
enum class Side : uint8_t { kClient, kServer, kClientWaiting, kServerWaiting };
// In ReplyStore::CallKey::first, beside the shard's index: the call is in the server table.
constexpr uint32_t kServerCall = 1u << 31;

// A call as a link knows it.
struct LinkCall {
  transport::LinkId link;
  uint64_t call;
  bool operator==(const LinkCall&) const = default;
};
struct LinkCallHash {
  size_t operator()(const LinkCall& key) const { return key.link * 0x9e3779b97f4a7c15ull ^ key.call * 0xff51afd7ed558ccdull; }
};

struct Released { uint32_t port; uint64_t offset; };

inline Error over_peer_limit() { return resource_exhausted("the message is over the peer daemon's limit; raise that mrpcd's limit or send less"); }

// What dropping a held send block does. The block's memory stays mapped, too: its sender may die while the message waits.
struct ReturnBlock {
  std::shared_ptr<std::vector<Released>> released;  // shared with the shard, which may be no more
  Released block{};
  std::shared_ptr<Attachment> keep;
  void operator()(void*) const { released->push_back(block); }
};

class ShardCore : public EngineHost {
 public:
  ShardCore(uint32_t index_, const Config& config_, World& world_, const EngineCatalog& catalog_);
  ~ShardCore() override = default;

  const uint32_t index;
  const Config& config;
  World& world;
  const EngineCatalog& catalog;
  uint64_t now_ns = 0;  // read once a turn
  bool draining = false;
  Directory directory;
  std::shared_ptr<const ChainSet> chains = std::make_shared<ChainSet>();
  bool orders_calls = false;  // some chain in force ranks calls
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Route>> routes;  // by client app and method path
  ShardCounters counters;
  Recorder recorder;

  Port* find_port(uint32_t id);
  Route& route(const std::string& client, const std::string& service, const std::string& method);
  // The chain of `route` for calls of `method`; compiled at its first use. Never null.
  std::shared_ptr<Chain> chain_for(Route& route, const ServiceVariant& variant, const message::MethodLayout& method, Place place);
  // Tells the policies that let a call pass that it has ended, and those who wait for its reply.
  void end_policies(JudgedCall& ended, uint32_t denier);
  uint64_t unix_ns();  // read once a turn, when it is asked for

  uint64_t random() override { return world.random(); }

  // Begins a record of a call about to be judged; null when none is wanted.
  std::unique_ptr<RecordedCall> record(const Route& route, std::string_view tenant, const Endpoint& endpoint, Place place,
                                       const message::MethodLayout& method, const Message& request);
  // Keeps it. `denier`: the stage of `chain` that denied the call.
  void end_record(std::unique_ptr<RecordedCall> record, const Chain* chain, StatusCode code, uint32_t denier);

  // Takes a slot's block out of a port's send heap. Errors with code kInternal are breaches of the ABI: the attachment must
  // end. Other codes end only the call. Reclaim of a held block is arranged either way.
  Result<Message> take_block(Port& port, const abi::Slot& slot, size_t prefix_bytes);

  // Whoever has it keeps a block of the port's send heap; when the last one lets go, its sender is told.
  std::shared_ptr<void> hold_block(Port& port, uint64_t offset) {
    return {nullptr, ReturnBlock{released_, {port.id(), offset}, port.shared_attachment()}};
  }

  uint64_t block_bytes_max() const { return config.message_bytes_max + abi::kDetailsBytesMax; }

  // Sends, or queues behind what the link could not take yet. Errors: kUnavailable when the link is gone, kResourceExhausted when
  // the peer takes no frame of this size.
  Status send(transport::LinkId link, transport::Frame&& frame);
  // The same for a frame that carries a message of `variant`'s `layout`: as protobuf bytes where the peer wants those, saying what it was
  // judged by (say_judged), and compressed. What takes long is done elsewhere, and what follows of its call waits for it.
  Status send(transport::LinkId link, transport::Frame&& frame, Message&& message, const std::shared_ptr<const ServiceVariant>& variant,
              const message::MessageLayout& layout, const std::string& judged = {});
  bool link_congested(transport::LinkId link) const;  // more is queued for it than an edge may park
  virtual transport::Transport& transport_of(transport::LinkId link) = 0;

  // ---- work that is longer than a turn may be ----
  // `work` runs on the long-work thread and touches no shard; `done` runs here afterwards. What the two hold dies here, too: work that copies
  // a message's blobs lets go of Message::hold, and so must hold it besides.
  void run_long(std::function<void()> work, std::function<void()> done);
  // The same by pieces, between which others' work has its turn. `piece` says when it was the last.
  void run_long_by_pieces(std::function<bool()> piece, std::function<void()> done);
  // The same for a slot of `port`, whose intake waits, so that what it submits next does not overtake. `done` is left out when the port is
  // gone by then.
  void run_long(Port& port, std::function<void()> work, std::function<void(Port&)> done);
  // The same for a frame of `key`'s call that carries `bytes`: the call's next frames wait. `done` is left out when the link has gone down.
  void run_long(LinkCall key, uint64_t bytes, std::function<void()> work, std::function<void()> done);

  void set_timer(uint64_t at_ns, Side side, uint64_t call) { timers_.push({at_ns, side, call}); }
  // The application broke the protocol: its attachment ends with `text`, and nothing else does.
  virtual void violation(Port& port, const std::string& text) = 0;
  virtual void post(std::function<void()> command) = 0;
  virtual void on_frame(transport::LinkId link, transport::Frame&& frame) = 0;
  // A message of `call` that waited for room can never go, nor can what the call says after it.
  virtual void on_unsent(transport::LinkId link, uint64_t call) = 0;
  // Polls a port again: its doorbell rang, or long work that its intake waited for is done.
  virtual void ring(uint32_t port) = 0;
  void touch(Port& port) {  // something changed in its rings
    if (!port.dirty) dirty_.push_back(port.id());
    port.dirty = true;
  }

  // Peers whose images are laid out in another way: what passes is protobuf bytes.
  std::unordered_set<transport::LinkId> protobuf_links;
  // Errors: kInvalidArgument for an image from such a link.
  Status check_payload(transport::LinkId link, uint8_t frame_flags) const;

  transport::LinkId local_client_end = 0, local_server_end = 0;

 private:
  uint64_t unix_ns_ = 0, unix_at_ns_ = 0;

 protected:
  struct Timer {
    uint64_t at_ns;
    Side side;
    uint64_t call;
    bool operator<(const Timer& other) const { return at_ns > other.at_ns; }
  };
  bool pump_outboxes();
  // True when the frame was kept, because an earlier one of its call is still with the long-work thread.
  bool hold_back(transport::LinkId link, transport::Frame& frame);
  void forget_held(transport::LinkId link);
  void return_released_blocks();

  transport::LocalTransport local_;
  std::unordered_map<uint32_t, std::unique_ptr<Port>> ports_;
  std::vector<uint32_t> dirty_;
  std::priority_queue<Timer> timers_;
  struct Outgoing {
    transport::Frame frame;
    uint64_t bytes = 0;
    std::optional<Message> message = std::nullopt;  // with the long-work thread
  };
  struct Outbox {
    std::deque<std::shared_ptr<Outgoing>> frames;  // wait for room
    std::unordered_map<uint64_t, std::deque<std::shared_ptr<Outgoing>>> preparing;  // by call: those with the long-work thread, and what is behind
    uint64_t bytes = 0;  // of all
    bool empty() const { return frames.empty() && preparing.empty(); }
    void push(std::shared_ptr<Outgoing> frame) {
      bytes += frame->bytes;
      frames.push_back(std::move(frame));
    }
    void pop() {  // its bytes have gone, or been lost
      bytes -= frames.front()->bytes;
      frames.pop_front();
    }
    void settle(uint64_t call);  // what is prepared of a call now waits for room
    void drop(uint64_t call);
  };
  struct LongJob { std::function<bool()> piece; std::function<void()> done; };
  void run_piece(std::shared_ptr<LongJob> job);
  void prepare(transport::LinkId link, std::shared_ptr<Outgoing> outgoing, std::function<bool()> piece);
  std::unordered_map<transport::LinkId, Outbox> outboxes_;
  struct Checking {  // a call whose last frame is with the long-work thread
    uint64_t ticket;
    std::vector<transport::Frame> later;
  };
  std::unordered_map<LinkCall, Checking, LinkCallHash> checking_;
  uint64_t checking_bytes_ = 0, checking_ticket_ = 0;
  uint32_t long_running_ = 0;  // jobs whose `done` has yet to run
  std::shared_ptr<std::vector<Released>> released_ = std::make_shared<std::vector<Released>>();
};

}  // namespace mrpc::dataplane
