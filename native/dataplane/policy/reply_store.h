// Stored replies of one policy: what host->answer and host->store of a cache work on.
//
// For each key there is at most one *leader*, the call that was sent on to fetch the reply. Others who ask meanwhile wait; when the leader
// stores, or ends without, they are handed back to run their hook again (so a leader that fails is followed by the next).
// Bounded by bytes; the least recently used goes first. Entries live in one mutex: shards meet here, but only for a
// lookup, and only policies that store replies pay for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mrpc::dataplane {

struct StoredReply {
  std::vector<std::byte> image;     // whole, in the server's schema of `fingerprint`
  std::vector<std::byte> metadata;  // packed as in a block
  uint64_t fingerprint = 0;
};

class ReplyStore {
 public:
  using CallKey = std::pair<uint32_t, uint64_t>;  // shard, call
  enum class Found { kHit, kLead, kWait };
  struct Answer {
    Found found;
    std::shared_ptr<const StoredReply> reply;  // of kHit
  };

  // `key` has the policy's scope, service, method and fingerprint in it already.
  Answer answer(std::string_view key, uint64_t now_ns, CallKey call);
  // By the leader of `key`. Returns who waited; each runs its hook again on its own shard.
  std::vector<CallKey> store(std::string_view key, StoredReply reply, uint64_t expires_ns, uint64_t bytes_max, CallKey leader);
  // A leader ended without storing. Returns who waited.
  std::vector<CallKey> abandon(std::string_view key, CallKey leader);
  // A waiting call ended (deadline, cancel).
  void stop_waiting(std::string_view key, CallKey call);

  struct Stats { uint64_t hits = 0, misses = 0, waits = 0, evicted = 0, entries = 0, bytes = 0; };
  Stats stats() const;

  ReplyStore();
  ~ReplyStore();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mrpc::dataplane
