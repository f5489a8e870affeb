#include "dataplane/policy/reply_store.h"

#include <algorithm>
#include <list>
#include <map>

#include "base/assert.h"

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kEntryBytes = 256;  // of a node of the map, its place in the list of uses, and what the allocator adds

}  // namespace

// A slot is either stored (reply) or on its way (leader, waiting), never both.
struct ReplyStore::State {
  struct Slot;
  // Ordered, because callers choose the keys and could flood the buckets of a hash table.
  using Slots = std::map<std::string, Slot, std::less<>>;
  struct Slot {
    std::shared_ptr<const StoredReply> reply;
    uint64_t expires_ns = 0, bytes = 0;
    std::list<Slots::iterator>::iterator use;
    CallKey leader;
    std::vector<CallKey> waiting;
  };
  using Dropped = std::vector<std::shared_ptr<const StoredReply>>;  // to be freed without the lock

  // The slot of `key` while `leader` leads it, else end().
  Slots::iterator led_by(std::string_view key, CallKey leader) {
    const auto found = slots.find(key);
    return found == slots.end() || found->second.reply || found->second.leader != leader ? slots.end() : found;
  }
  void drop(Slots::iterator slot, Dropped& dropped) {
    MRPC_ASSERT(slot->second.reply && stats.bytes >= slot->second.bytes && stats.entries > 0);
    stats.bytes -= slot->second.bytes;
    stats.entries--;
    dropped.push_back(std::move(slot->second.reply));
    uses.erase(slot->second.use);
    slots.erase(slot);
  }
  // Makes room for `bytes` more of `bytes_max`.
  void evict(uint64_t bytes, uint64_t bytes_max, Dropped& dropped) {
    while (!uses.empty() && stats.bytes + bytes > bytes_max) {
      drop(uses.back(), dropped);
      stats.evicted++;
    }
  }

  mutable std::mutex mutex;
  Slots slots;
  std::list<Slots::iterator> uses;  // of stored replies, the latest first
  Stats stats;
};

ReplyStore::ReplyStore() : state_(std::make_unique<State>()) {}
ReplyStore::~ReplyStore() = default;

ReplyStore::Answer ReplyStore::answer(std::string_view key, uint64_t now_ns, CallKey call) {
  State& state = *state_;
  State::Dropped dropped;
  const std::lock_guard lock(state.mutex);
  auto found = state.slots.find(key);
  if (found != state.slots.end() && found->second.reply) {
    State::Slot& stored = found->second;
    if (now_ns < stored.expires_ns) {
      state.uses.splice(state.uses.begin(), state.uses, stored.use);
      state.stats.hits++;
      return {Found::kHit, stored.reply};
    }
    state.drop(found, dropped);
    found = state.slots.end();
  }
  if (found == state.slots.end()) {
    state.slots.emplace(key, State::Slot{}).first->second.leader = call;
    state.stats.misses++;
    return {Found::kLead, nullptr};
  }
  State::Slot& led = found->second;
  if (led.leader == call) return {Found::kLead, nullptr};
  if (std::find(led.waiting.begin(), led.waiting.end(), call) == led.waiting.end()) led.waiting.push_back(call);
  state.stats.waits++;
  return {Found::kWait, nullptr};
}

std::vector<ReplyStore::CallKey> ReplyStore::store(std::string_view key, StoredReply reply, uint64_t expires_ns, uint64_t bytes_max,
                                                   CallKey leader) {
  State& state = *state_;
  const uint64_t bytes = kEntryBytes + key.size() + reply.image.size() + reply.metadata.size();
  auto kept = std::make_shared<const StoredReply>(std::move(reply));
  State::Dropped dropped;
  const std::lock_guard lock(state.mutex);
  const auto led = state.led_by(key, leader);
  if (led == state.slots.end()) return {};
  auto waited = std::move(led->second.waiting);
  if (bytes > bytes_max) {
    state.slots.erase(led);
    return waited;
  }
  state.evict(bytes, bytes_max, dropped);
  state.uses.push_front(led);
  led->second = {std::move(kept), expires_ns, bytes, state.uses.begin(), {}, {}};
  state.stats.bytes += bytes;
  state.stats.entries++;
  return waited;
}

std::vector<ReplyStore::CallKey> ReplyStore::abandon(std::string_view key, CallKey leader) {
  const std::lock_guard lock(state_->mutex);
  const auto led = state_->led_by(key, leader);
  if (led == state_->slots.end()) return {};
  auto waited = std::move(led->second.waiting);
  state_->slots.erase(led);
  return waited;
}

void ReplyStore::stop_waiting(std::string_view key, CallKey call) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->slots.find(key);
  if (found != state_->slots.end()) std::erase(found->second.waiting, call);
}

ReplyStore::Stats ReplyStore::stats() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

}  // namespace mrpc::dataplane
