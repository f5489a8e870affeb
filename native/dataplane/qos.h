// Quality of service: in which order calls that want the same thing get it.
//
// A chain's `qos` policy puts the calls of a route into one of three levels and gives the group that they are counted with (their client or
// their tenant) a weight. Between levels the more urgent goes first, but one turn in kFloor goes to the less urgent, so that nothing starves. Within a level
// groups share by weight: start-time fair queuing, whose virtual time advances with what has been served. Within a group
// the earliest deadline goes first, then the earliest arrival.
//
// It decides in two places: at the door (`DoorShare`: how many slots an application's ring may bring in a turn) and before each server
// (`FairQueue`: which waiting call is shown to its workers next).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "base/assert.h"

namespace mrpc::dataplane {

enum class QosLevel : uint8_t { kUrgent = 0, kNormal = 1, kBulk = 2 };
constexpr size_t kQosLevels = 3;

enum class QosGroup : uint8_t { kClient, kTenant };

struct QosClass {
  QosLevel level = QosLevel::kNormal;
  double weight = 1;  // of the group
  QosGroup group = QosGroup::kClient;
};

// Calls that wait for one server, in the order in which it should see them.
template <typename Item>
class FairQueue {
 public:
  static constexpr uint32_t kFloor = 16;

  // `cost`: what serving it takes, in any unit. `deadline_ns` 0: none.
  void push(const QosClass& qos, const std::string& group, uint64_t deadline_ns, double cost, Item&& item) {
    MRPC_ASSERT(qos.weight > 0 && cost > 0);
    Level& level = levels_[static_cast<size_t>(qos.level)];
    Group& members = level.groups[group];
    members.weight = qos.weight;
    if (members.waiting.empty()) {
      members.start = std::max(members.start, level.virtual_now);
      join(level, members);
    }
    const Rank rank{deadline_ns == 0 ? UINT64_MAX : deadline_ns, next_++};
    members.waiting.emplace(rank, Waiting{cost, std::move(item)});
    size_ += 1;
    chosen_ = nullptr;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // The next to be served; it stays until pop(), push() or erase_if(). Not when empty.
  Item& front() {
    if (chosen_ == nullptr) chosen_ = &choose();
    return chosen_->due.begin()->second->waiting.begin()->second.item;
  }

  void pop() {
    if (chosen_ == nullptr) chosen_ = &choose();
    Level& level = *std::exchange(chosen_, nullptr);
    Group& group = *level.due.begin()->second;
    level.due.erase(level.due.begin());
    level.virtual_now = group.start;
    group.start += group.waiting.begin()->second.cost / group.weight;
    group.waiting.erase(group.waiting.begin());
    if (!group.waiting.empty()) join(level, group);
    size_ -= 1;
    served_ += 1;
    forget_idle_groups(level);
  }

  // Every item, of one group in the order in which it is served; for looking only.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const Level& level : levels_)
      for (const auto& [name, group] : level.groups)
        for (const auto& [rank, waiting] : group.waiting) fn(waiting.item);
  }

  // `matches` may take from an item what it wants before it goes.
  template <typename Matches>
  size_t erase_if(Matches&& matches) {
    chosen_ = nullptr;
    size_t erased = 0;
    for (Level& level : levels_) {
      for (auto& [name, group] : level.groups) {
        for (auto at = group.waiting.begin(); at != group.waiting.end();) {
          const bool gone = matches(at->second.item);
          erased += gone;
          at = gone ? group.waiting.erase(at) : std::next(at);
        }
        if (group.waiting.empty()) level.due.erase({group.start, group.joined});
      }
    }
    size_ -= erased;
    return erased;
  }

 private:
  using Rank = std::pair<uint64_t, uint64_t>;  // deadline, arrival
  struct Waiting {
    double cost;
    Item item;
  };
  struct Group {
    double weight = 1, start = 0;  // virtual time at which its next is due
    uint64_t joined = 0;           // of groups that are due at once, who began to wait first
    std::map<Rank, Waiting> waiting;
  };
  struct Level {
    double virtual_now = 0;
    std::map<std::string, Group> groups;
    std::map<std::pair<double, uint64_t>, Group*> due;  // those that wait, by start and joined
  };

  void join(Level& level, Group& group) {
    group.joined = next_++;
    level.due.emplace(std::pair(group.start, group.joined), &group);
  }

  Level& choose() {
    MRPC_ASSERT(size_ > 0);
    const bool from_below = served_ % kFloor == kFloor - 1;
    for (size_t i = 0; i < kQosLevels; ++i)
      if (Level& level = levels_[from_below ? kQosLevels - 1 - i : i]; !level.due.empty()) return level;
    MRPC_ASSERT(false);
    return levels_[0];
  }

  // A group that waits for nothing and has used no more than its share so far need not be remembered; when nobody waits, nobody has.
  void forget_idle_groups(Level& level) {
    if (level.due.empty()) {
      level.groups.clear();
      level.virtual_now = 0;
    } else if (level.groups.size() > 2 * level.due.size() + kIdleGroupsMax) {
      std::erase_if(level.groups, [&](const auto& entry) { return entry.second.waiting.empty() && entry.second.start <= level.virtual_now; });
    }
  }

  static constexpr size_t kIdleGroupsMax = 64;
  std::array<Level, kQosLevels> levels_;
  Level* chosen_ = nullptr;
  uint64_t next_ = 0, served_ = 0;
  size_t size_ = 0;
};

// How much one application's ring may bring in a turn: deficit round robin by weight. A ring is as urgent as the last call that it brought.
class DoorShare {
 public:
  void set(const QosClass& qos) {
    level_ = qos.level;
    weight_ = qos.weight;
  }
  QosLevel level() const { return level_; }

  // Slots that it may bring now. `urgent_worked`: a more urgent ring has brought something this turn, so this one stands back.
  uint32_t allowance(uint32_t slots_max, bool urgent_worked) {
    const double quantum = urgent_worked ? slots_max / 8.0 : slots_max;
    credit_ = std::min(credit_ + quantum * std::min(weight_, 1.0), static_cast<double>(slots_max));
    return static_cast<uint32_t>(credit_);
  }
  void charge(uint32_t slots, bool emptied) { credit_ = emptied ? 0 : credit_ - slots; }

 private:
  QosLevel level_ = QosLevel::kNormal;
  double weight_ = 1, credit_ = 0;
};

}  // namespace mrpc::dataplane
