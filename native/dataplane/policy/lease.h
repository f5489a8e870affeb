// This daemon's part of a budget that several daemons share. The control plane grants tokens ahead of need from the shared store; shards take
// them without asking anybody.
#pragma once

#include <atomic>
#include <cstdint>

namespace mrpc::dataplane {

class LeaseAccount {
 public:
  // From any shard: true when `want` tokens were left, and are taken now.
  bool take(double want);
  // These two by one thread at a time. `cap`: tokens beyond it are lost (a burst).
  void grant(double tokens, double cap, bool shared);

  struct Use { double taken = 0, refused = 0, left = 0; bool shared = false; };
  Use look();  // taken and refused count from the last look

 private:
  std::atomic<int64_t> left_{0}, refused_{0};  // in 1/1024 of a token
  int64_t unspent_ = 0;                        // what would be left if nothing had been taken since the last look
  bool shared_ = false;
};

}  // namespace mrpc::dataplane
