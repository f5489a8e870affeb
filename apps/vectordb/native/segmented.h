// An array that grows in blocks and never moves, so that readers may keep pointers into it while the writer appends.
#pragma once

#include <atomic>
#include <cstddef>

#include "base/assert.h"
#include "pages.h"

namespace curator {

// T is constructed a block at a time. `kBlock` items a block, at most `kBlocks` blocks.
template <typename T, size_t kBlock, size_t kBlocks>
class Segmented {
 public:
  Segmented() : directory_(kBlocks * sizeof(std::atomic<T*>), 0), blocks_(reinterpret_cast<std::atomic<T*>*>(directory_.get())) {}
  ~Segmented() {
    for (size_t block = 0; block < used_; ++block) delete[] blocks_[block].load(std::memory_order_relaxed);
  }
  Segmented(const Segmented&) = delete;
  Segmented& operator=(const Segmented&) = delete;

  T& operator[](size_t index) { return blocks_[index / kBlock].load(std::memory_order_acquire)[index % kBlock]; }
  const T& operator[](size_t index) const { return blocks_[index / kBlock].load(std::memory_order_acquire)[index % kBlock]; }

  size_t capacity() const { return used_ * kBlock; }  // the writer's
  void grow() {
    MRPC_ASSERT(used_ < kBlocks);
    blocks_[used_].store(new T[kBlock](), std::memory_order_release);
    ++used_;
  }

 private:
  const Pages directory_;  // zero pages: null pointers
  std::atomic<T*>* const blocks_;
  size_t used_ = 0;
};

}  // namespace curator
