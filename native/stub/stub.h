// The application's side of mRPC: `Client` starts calls, `Server` takes them. No Python here, and no knowledge of messages: whoever calls
// encodes images into blocks and reads them out.
//
// Any method may be called from any thread. Every method of an object that was inherited through fork() fails in the child with
// kFailedPrecondition; blocks inherited stay readable there.
//
// When the daemon dies, open calls end with kUnavailable; the next Client::allocate() attaches anew and start() binds anew; a Server
// attaches and offers anew from its watcher thread, with backoff.
//
// Who waits: a thread in Client::wait() (one of them, the leader, polls for all), or an event loop that watches wake_fd(), or, when
// there is neither and calls have on_done, a thread that the client starts for it.
#pragma once

#include "stub/types.h"

namespace mrpc::stub {

class ClientSession;
class ServerSession;

// ---- client ------------------------------------------------------------------------------------------

// A service as a client bound it: by name, so that it outlives the daemon that resolved it.
struct BoundService {
  std::vector<std::byte> schema;  // serialised FileDescriptorSet
  std::string service;            // full name
  std::string target;             // "" or the name after mrpc:///
  uint32_t method_count = 0;
  uint32_t index = 0;  // of this service among those of its client
};
using BoundServicePtr = std::shared_ptr<const BoundService>;

struct CallOptions {
  uint64_t deadline_ns = 0;  // CLOCK_MONOTONIC; 0: none
  bool end = true;           // no more requests follow (unary, server streaming)
  // Called once when the call is done, by whichever thread polled: short, no waiting, no lock that a waiting thread holds.
  std::function<void()> on_done;
  std::function<void()> on_message;  // streams: a message or initial metadata came, or credit
};

class Call;
using CallPtr = std::shared_ptr<Call>;

class Client : public std::enable_shared_from_this<Client> {
 public:
  // Errors: kUnavailable (no daemon; the text says what to do), kUnauthenticated (token), kFailedPrecondition (kernel, version).
  static Result<std::shared_ptr<Client>> attach(const AttachOptions& options);
  ~Client();

  // Registers `schema` with the daemon (once for equal bytes) and resolves `service`. Errors: the daemon's, kUnavailable.
  Result<BoundServicePtr> bind(std::span<const std::byte> schema, std::string service, std::string target);

  // Memory for one block. Attaches anew when the daemon was replaced. Errors: kResourceExhausted (over the quota), kUnavailable.
  Result<SendBlock> allocate(uint64_t bytes);
  Result<HeapBufferPtr> allocate_buffer(uint64_t bytes);
  // Where [data, data + bytes) stands, if it is in a live HeapBuffer or a live received block of this attachment.
  std::optional<Pinned> locate(const void* data, uint64_t bytes);
  uint64_t message_bytes_max() const;
  uint32_t metadata_bytes_max() const;

  // Starts a call of the service's method `method` (index in the schema's order) with its first, or only, request. `block` was allocated here and written to its full size.
  // Errors: kUnavailable, kResourceExhausted (the ring stayed full until the deadline or 10 s), kFailedPrecondition (forked).
  // A call that was started always becomes done.
  Result<CallPtr> start(const BoundServicePtr& service, uint32_t method, SendBlock&& block, CallOptions options);

  WaitOutcome wait(Call& call, const InterruptFn& interrupt);  // until the call is done
  void cancel(Call& call);                                     // it is done at once, with kCancelled

  // Streams; messages go in the order of the calls of send_message. Errors: kResourceExhausted when there is no credit (wait_credit), the
  // call's status once it is done.
  Status send_message(Call& call, SendBlock&& block, bool end);
  Status half_close(Call& call);
  WaitOutcome wait_credit(Call& call, const InterruptFn& interrupt);   // until send_message may be called, or done
  WaitOutcome wait_message(Call& call, const InterruptFn& interrupt);  // until receive() has one, or done
  std::optional<Message> receive(Call& call);

  // Event loops: watch wake_fd() and control_fd() for reading. On wake_fd: drain() until it returns less than `events_max`, then
  // arm() until it returns true. On control_fd: check_daemon(). Descriptors change when the client attaches anew or the daemon replaces the rings (epoch() tells).
  int wake_fd();
  int control_fd();
  uint64_t epoch();
  bool arm();                        // false: something has come meanwhile, drain() again
  void disarm();                     // the loop ends
  size_t drain(size_t events_max);   // runs callbacks; returns how many slots it took
  bool check_daemon();               // reads notices; false: the daemon is gone, open calls have ended, there is nothing more to watch

 private:
  explicit Client(AttachOptions options);
  Result<std::shared_ptr<ClientSession>> session();  // the live one; attaches anew when needed
  std::shared_ptr<ClientSession> current();

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- server ------------------------------------------------------------------------------------------

// A call as a server received it.
class Incoming;
using IncomingPtr = std::shared_ptr<Incoming>;

enum class NextOutcome : uint8_t { kCall, kInterrupted, kStopped };

class Server : public std::enable_shared_from_this<Server> {
 public:
  // Errors as Client::attach. While `calls_max` calls are open here (taken or queued; 0: no limit), more are refused with
  // kResourceExhausted: at once while a worker waits in next(), else by the watcher thread within a few ten ms.
  static Result<std::shared_ptr<Server>> attach(const AttachOptions& options, uint32_t calls_max = 0);
  ~Server();

  // Offers `service` of `schema`; Incoming::service counts offers from 0. Errors: the daemon's (kPermissionDenied: the name is another's).
  Result<uint32_t> offer(std::span<const std::byte> schema, std::string service);
  Status withdraw(uint32_t service);

  // Waits for a call; for worker threads, any number. kStopped after stop().
  NextOutcome next(IncomingPtr& incoming, const InterruptFn& interrupt);

  Result<SendBlock> allocate(Incoming& incoming, uint64_t bytes);
  Result<HeapBufferPtr> allocate_buffer(uint64_t bytes);
  std::optional<Pinned> locate(const void* data, uint64_t bytes);
  uint64_t message_bytes_max() const;
  uint32_t metadata_bytes_max() const;

  // Ends the call. `block` may be empty (kOk needs one with has_message for unary). Nothing happens when the call is already over.
  Status reply(Incoming& incoming, StatusCode code, SendBlock&& block, bool has_message);
  Status send_initial_metadata(Incoming& incoming, SendBlock&& block);

  // Streams, as Client's.
  Status send_message(Incoming& incoming, SendBlock&& block);
  WaitOutcome wait_credit(Incoming& incoming, const InterruptFn& interrupt);
  WaitOutcome wait_message(Incoming& incoming, const InterruptFn& interrupt);  // until receive() has one, half-closed, or cancelled
  std::optional<Message> receive(Incoming& incoming);

  // Event loops: as Client's; drain() appends new calls. The watcher thread looks after control_fd, and when it has attached anew makes
  // the wake_fd() of before readable, which stays open until wake_fd() is asked for again.
  int wake_fd();
  uint64_t epoch();
  bool arm();
  void disarm();
  size_t drain(size_t events_max, std::vector<IncomingPtr>& calls);

  // Withdraws all services, wakes idle workers (next() hands out what is queued, then kStopped), waits up to `grace_ns` for open calls
  // and cancels those left. Idempotent.
  void stop(uint64_t grace_ns);

 private:
  Server(AttachOptions options, uint32_t calls_max);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// ---- calls -------------------------------------------------------------------------------------------

class Call {
 public:
  bool done() const;
  const Reply& reply() const;             // done() must hold
  RecvBlockPtr initial_metadata() const;  // null until it has come

 private:
  friend class Client;
  friend class ClientSession;
  struct State;
  explicit Call(std::unique_ptr<State> state);

 public:
  ~Call();

 private:
  std::unique_ptr<State> state_;
};

class Incoming {
 public:
  ~Incoming();
  uint32_t service() const;      // index of the offer
  uint32_t method() const;       // in the schema's order
  uint64_t deadline_ns() const;  // CLOCK_MONOTONIC; 0: none
  RecvBlockPtr request() const;  // metadata, and the first message if has_message()
  bool has_message() const;
  bool half_closed() const;      // no more requests come (always, after a unary request)
  bool cancelled() const;        // by the caller, its deadline, or the daemon's end
  void on_cancel(std::function<void()> callback);  // runs at once when cancelled already; rules as CallOptions::on_done

 private:
  friend class Server;
  friend class ServerSession;
  struct State;
  explicit Incoming(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mrpc::stub
