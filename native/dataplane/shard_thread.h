// Runs one shard: turns while there is work, sleeps in epoll when there is none.
#pragma once

#include <ctime>

#include <atomic>
#include <thread>
#include <unordered_map>

#include "base/fd.h"
#include "dataplane/shard.h"
#include "dataplane/takeover/park.h"

namespace mrpc::dataplane {

class ShardThread {
 public:
  ShardThread(uint32_t index, const Config& config, World& world, const EngineCatalog& catalog, ShardObserver& observer);
  ~ShardThread() { stop(); }

  void start();
  void stop();
  Shard& shard() { return shard_; }

  // Has the thread stand still between two turns; then unpark(), or abandon(), after which it touches nothing any more and ends.
  void park() { park_.close([this] { wake(); }); }
  void unpark();
  void abandon();

  void wake();  // any thread
  void watch(uint32_t port, int doorbell, bool added);  // this shard's thread
  // Runs `command` on the shard and waits for it; directly when the thread does not run. Not from the shard's own thread.
  void run_and_wait(const std::function<void()>& command);

 private:
  static constexpr uint64_t kGapMaxNs = 1'000'000;  // a gap that is longer counts as this

  void run();
  void sleep();
  bool spin(uint64_t idle_since_ns, bool gives_way);
  void learn_gap(bool served, uint64_t gap_ns, bool slept);
  void follow_priorities();
  void listen_when_due();
  void listen(const timespec* span);  // to doorbells, for so long; null: until one rings

  const Config& config_;
  World& world_;
  Shard shard_;
  Fd epoll_, wake_;
  int watched_tcp_ = -1;
  uint64_t gaps_ns_[2] = {kGapMaxNs, kGapMaxNs};  // how soon work has come lately after there was none; [1]: while servers had calls
  uint64_t listened_ns_ = 0;
  bool goes_first_ = false;  // before applications that want the same core
  std::atomic<bool> stopping_{false};
  Park park_;
  std::thread thread_;
};

}  // namespace mrpc::dataplane
