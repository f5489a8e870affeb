// A growing first-in-first-out ring: no allocation per element once it has reached its working size, unlike std::deque.
#pragma once

#include <utility>
#include <vector>

#include "base/assert.h"

namespace mrpc::transport {

template <typename T>
class Fifo {
 public:
  bool empty() const { return count_ == 0; }
  size_t size() const { return count_; }

  T& front() { MRPC_ASSERT(count_ > 0); return slots_[head_]; }
  // The i-th from the front.
  T& at(size_t i) { MRPC_ASSERT(i < count_); return slots_[(head_ + i) & (slots_.size() - 1)]; }
  const T& at(size_t i) const { return const_cast<Fifo*>(this)->at(i); }

  void push(T&& value) {
    if (count_ == slots_.size()) grow();
    slots_[(head_ + count_) & (slots_.size() - 1)] = std::move(value);
    ++count_;
  }

  T pop() {
    MRPC_ASSERT(count_ > 0);
    T value = std::move(slots_[head_]);
    slots_[head_] = T{};  // what a slot held must not outlive its turn
    head_ = (head_ + 1) & (slots_.size() - 1);
    --count_;
    return value;
  }

  void clear() { *this = Fifo(); }

 private:
  void grow() {
    std::vector<T> larger(slots_.empty() ? 16 : 2 * slots_.size());
    for (size_t i = 0; i < count_; ++i) larger[i] = std::move(at(i));
    slots_ = std::move(larger);
    head_ = 0;
  }

  std::vector<T> slots_;  // a power of two
  size_t head_ = 0, count_ = 0;
};

}  // namespace mrpc::transport
