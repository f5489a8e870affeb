// A daemon in a few hundred lines, for tests of the stub: one thread that speaks abi.h over a real socket, real memory and real
// doorbells. Calls go to the server that offered the service; without one, the method's index says what the daemon does itself:
//   kEcho: replies with the request's image    kHang: never answers    kFail: NOT_FOUND with details
// It checks what the application owes: reclaims of live blocks only, kHold where it is due, nothing in rings that it said it has left.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "shm/control.h"
#include "shm/futex.h"
#include "shm/heap.h"
#include "shm/region.h"
#include "shm/ring.h"

namespace mrpc::test {

enum Method : uint32_t { kEcho = 0, kHang = 1, kFail = 2, kMethodCount = 4 };
constexpr uint32_t kHandleBase = 1000;  // handles are not indexes

// What is wrong with the descriptors of a kRingReplace.
enum class RingFault { kNone, kUnsealed, kTooSmall, kTooFew };

class FakeAttachment;

class FakeDaemon {
 public:
  struct Options {
    uint32_t shards = 1;
    uint32_t ring_slots = 64;
    uint64_t quota_bytes = 256ull << 20;
    std::string refuse_token;  // an attachment with it is refused
    std::string refuse_text;   // not empty: every attachment is refused with it, as of an unknown level
    uint16_t level = 1;        // what the daemon says that it speaks
  };

  explicit FakeDaemon(std::string directory) : FakeDaemon(std::move(directory), Options{}) {}
  FakeDaemon(std::string directory, Options options);
  ~FakeDaemon();  // as if killed: sockets close, nothing is said

  std::string socket_path() const { return directory_ + "/app.sock"; }
  uint32_t attachments() const { return attachments_; }   // so far
  uint32_t cancels() const { return cancels_; }
  uint64_t violations() const { return violations_; }
  uint64_t doorbells() const { return doorbells_; }
  uint64_t receive_bytes() const { return receive_bytes_; }  // lent to applications, all together
  void end_attachments(StatusCode code, const std::string& text);  // with kError, as a real daemon ends a rogue

  // What only a daemon that upgrades or grows does; to all attachments.
  void add_region(uint32_t id);     // blocks stand there from now on
  void retire_region(uint32_t id);
  void replace_rings(RingFault fault = RingFault::kNone);
  uint32_t regions_retired() const { return regions_retired_; }  // as applications have answered
  uint32_t rings_replaced() const { return rings_replaced_; }
  uint64_t send_bytes_backed();  // memory that the system has given to send heaps, all together

 private:
  friend class FakeAttachment;
  struct Route {  // a call on its way through
    FakeAttachment* client;
    uint64_t client_call;
    uint32_t client_handle, shard;
    FakeAttachment* server;
    uint32_t server_handle;
  };

  void inside(std::function<void()> task);  // runs it on the daemon's thread, and waits for its end
  void run();
  bool turn();
  void accept_one();
  void sleep();
  void drop(FakeAttachment* attachment);

  std::string directory_;
  Options options_;
  Fd listener_, stop_fd_;
  std::vector<std::unique_ptr<FakeAttachment>> live_;
  std::map<std::string, FakeAttachment*> offers_;
  std::map<uint64_t, Route> routes_;  // by the id towards the server
  uint64_t next_route_ = 1;
  std::atomic<uint32_t> attachments_{0}, cancels_{0}, regions_retired_{0}, rings_replaced_{0};
  std::atomic<uint64_t> violations_{0}, doorbells_{0}, receive_bytes_{0};
  std::atomic<bool> stop_{false};
  std::mutex task_mutex_;
  std::packaged_task<void()> task_;
  std::thread thread_;
};

}  // namespace mrpc::test
