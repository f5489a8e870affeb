// Which process this is. Every entry of the stub compares, because a forked child inherits objects whose rings, sockets and locks
// are its parent's.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"

namespace mrpc::stub {

// State of this process alone: it lives in a page that the kernel wipes in a forked child.
struct ProcessState {
  std::atomic<uint64_t> generation;  // never the same in parent and child
  std::atomic<uint32_t> pollers;     // threads that poll instead of sleeping
};

ProcessState& process_state();

// Taken when an object is made; here() is false in a child that inherited the object.
class ProcessMark {
 public:
  ProcessMark() : generation_(current()) {}
  bool here() const { return generation_ == current(); }

 private:
  static uint64_t current();
  uint64_t generation_;
};

// Errors: kFailedPrecondition when this release of Linux is too old. One that is no number passes.
Status check_kernel(const char* release);

inline Error forked_error() {
  return {StatusCode::kFailedPrecondition,
          "this channel or server was inherited through fork(); open a new one in the child process"};
}

}  // namespace mrpc::stub
