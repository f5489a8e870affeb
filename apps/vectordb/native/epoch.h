// Readers without locks, and memory that outlives them.
//
// A reader writes the present epoch into a cell of its own, reads what is published, and clears the cell. The writer publishes, retires
// what it replaced under the present epoch, and then advances the epoch. What was retired under epoch e may be dropped once no cell
// holds an epoch <= e: a reader that entered later has, by the order of the sequentially consistent operations, seen what was published.
// One writer at a time (the index's mutex); any number of readers.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>

namespace curator {

class Epochs {
 public:
  class Guard {
   public:
    explicit Guard(Epochs& epochs) : cell_(epochs.enter()) {}
    ~Guard() { cell_->store(kIdle, std::memory_order_release); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    std::atomic<uint64_t>* cell_;
  };

  using Drop = void (*)(void* owner, uint64_t what);

  ~Epochs() { drop_all(); }
  // The writer's: drop(owner, what) is called once no reader can have it any more, in the order of retirement.
  void retire(Drop drop, void* owner, uint64_t what) { retired_.push_back({now_.load(std::memory_order_relaxed), drop, owner, what}); }
  void advance();   // after everything of a batch is published
  void reclaim();   // drops what nobody can read
  void drop_all();  // when there are no readers any more, before what is retired loses its owners
  void forsake() { retired_.clear(); }  // what is retired may be in use, for good: it is never dropped
  size_t waiting() const { return retired_.size(); }
  uint64_t now() const { return now_.load(std::memory_order_seq_cst); }  // grows by one a batch

 private:
  static constexpr uint64_t kIdle = 0;
  static constexpr size_t kCells = 128;
  struct alignas(64) Cell {
    std::atomic<uint64_t> epoch{kIdle};
  };
  struct Retired {
    uint64_t epoch;
    Drop drop;
    void* owner;
    uint64_t what;
  };

  std::atomic<uint64_t>* enter();
  uint64_t oldest() const;

  std::atomic<uint64_t> now_{1};
  Cell cells_[kCells];
  std::deque<Retired> retired_;
};

}  // namespace curator
