// The daemon's end of app.sock: one thread that attaches applications, binds and offers services for them, and sees them die.
// Protocol: abi.h. Everything that an application sends here is hostile; what it gets wrong ends its attachment only.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>

#include "dataplane/attachment.h"
#include "dataplane/client_side.h"
#include "dataplane/events.h"
#include "dataplane/registrar.h"
#include "dataplane/takeover/park.h"
#include "dataplane/takeover_state.h"
#include "shm/control.h"

namespace mrpc::dataplane {

// What the attach server asks of the shards. Each call may be made from its thread only, and returns at once.
class ShardGate {
 public:
  virtual ~ShardGate() = default;
  virtual void add_port(std::shared_ptr<Attachment> attachment) = 0;
  virtual void remove_port(std::shared_ptr<Attachment> attachment, const std::string& reason) = 0;
  virtual void bind(uint32_t port, uint32_t shard, uint32_t handle_base, std::vector<std::shared_ptr<BoundMethod>> methods) = 0;
  virtual void offer(uint32_t port, uint32_t handle_base, std::shared_ptr<const ServiceVariant> variant) = 0;
  virtual void withdraw(uint32_t port, const std::string& service) = 0;
};

class TakeoverWriter;
class TakeoverReader;

class AttachServer {
 public:
  AttachServer(const Config& config, Registrar& registrar, ShardGate& shards, EventQueue& events);
  ~AttachServer();

  // Binds app.sock and starts the thread. Errors: kUnavailable with the path and the cause.
  Status start();
  // Ends every attachment, then the thread.
  void stop();
  void drain();  // tells applications that the daemon is going away
  // Any thread: ends an attachment, telling it why.
  void end_attachment(uint32_t id, Error error);

  // Any thread. Attachments that are up, in the order of their ids.
  std::vector<std::shared_ptr<Attachment>> attachments() const;

  // ---- hot restart (takeover/attach_takeover.cpp) ----
  void park();    // the thread stands still between two rounds
  void unpark();
  void abandon();  // while parked: the thread ends and touches nothing any more
  bool settle();  // while parked: does what others have posted; true when there was something
  void export_state(TakeoverWriter& into);  // while parked
  // Before start(), which then goes on where another process stopped. Touches no socket. Errors: kInvalidArgument, kResourceExhausted.
  Status import_state(TakeoverReader& from);
  // Null when nobody on this daemon offers it.
  std::shared_ptr<const message::Schema> schema_of(const std::string& service) const;

 private:
  struct Given {  // handles, for an offer or a binding
    uint32_t handle_base = 0;
    bool offered = false;
    std::string service, app;
    std::shared_ptr<const message::Schema> schema;
    uint32_t shard = 0;      // of a binding
    bool withdrawn = false;  // an offer that stands no more
  };
  struct Connection {
    Fd socket, pidfd;
    uid_t uid = 0;
    uint64_t accepted_ns = 0;
    shm::ControlAssembler assembler;
    std::shared_ptr<Attachment> attachment;
    std::unordered_map<uint32_t, std::shared_ptr<const message::Schema>> schemas;
    std::map<std::string, std::shared_ptr<const message::Schema>> offered;
    std::vector<Given> given;
    size_t handle_count = 0;
    uint64_t schema_bytes = 0;
  };

  Status bind_listener();
  Status open_loop();
  Status import_connection(TakeoverReader& from, const TakeoverAttachment& saved);
  Status import_service(TakeoverReader& from, const TakeoverService& saved);
  void run();
  void accept_all();
  void pause_accepting();
  void resume_accepting();
  void watch_connection(uint32_t id, const Connection& connection);
  void read_packets(uint32_t id);
  Status on_message(uint32_t id, Connection& connection, shm::ControlMessage&& message);
  Status on_hello(uint32_t id, Connection& connection, const shm::ControlMessage& message);
  Status welcome(uint32_t id, Connection& connection, const shm::ControlMessage& message, const abi::Hello& hello, Identity identity);
  Status on_register_schema(Connection& connection, const shm::ControlMessage& message);
  Status on_bind(uint32_t id, Connection& connection, const shm::ControlMessage& message);
  Status on_offer(uint32_t id, Connection& connection, const shm::ControlMessage& message);
  Status on_withdraw(uint32_t id, Connection& connection, const shm::ControlMessage& message);
  Status reply(Connection& connection, abi::ControlKind kind, const shm::ControlMessage& to, std::vector<std::byte> body,
               std::span<const int> fds = {});
  Status refuse(Connection& connection, uint32_t request_id, const Error& error);
  void close(uint32_t id, const Error& error);
  void expire_silent();
  void run_posted();
  void post(std::function<void()> job);
  void forget_offer(const std::string& service);
  Status take_handles(Connection& connection, size_t count);
  void refuse_crowd(Fd socket, uid_t uid);
  void report(const char* kind, const Connection& connection, const std::string& service, const std::string& text);

  const Config& config_;
  Registrar& registrar_;
  ShardGate& shards_;
  EventQueue& events_;
  Fd listener_, epoll_, wake_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  Park park_;
  uint32_t next_id_ = 1, next_handle_ = 1, next_schema_ = 1;
  std::unordered_map<uint32_t, Connection> connections_;
  bool told_full_ = false;
  bool accepting_ = true;  // false: out of descriptors, and the listener is not watched
  size_t silent_ = 0;  // accepted, no hello yet
  struct Peers { size_t connections = 0, silent = 0; };
  std::map<uid_t, Peers> peers_of_uid_;  // one user's crowd keeps no other out
  size_t connections_of_uid_max_ = 0;

  mutable std::mutex mutex_;  // of what other threads look at
  std::map<uint32_t, std::shared_ptr<Attachment>> attached_;
  struct OfferedSchema {
    std::shared_ptr<const message::Schema> schema;  // the latest
    size_t offers = 0;
  };
  std::map<std::string, OfferedSchema> schemas_by_service_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace mrpc::dataplane
