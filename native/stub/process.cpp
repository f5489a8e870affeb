#include "stub/process.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "base/assert.h"
#include "shm/abi.h"

namespace mrpc::stub {
namespace {

ProcessState* make_state() {
  void* at = ::mmap(nullptr, abi::kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MRPC_ASSERT(at != MAP_FAILED);
  MRPC_ASSERT(::madvise(at, abi::kPage, MADV_WIPEONFORK) == 0);  // Linux 4.14
  return static_cast<ProcessState*>(at);
}

// Copied by fork(), unlike the page: so a child goes on counting from its parent's number.
std::atomic<uint64_t> last_generation{0};

}  // namespace

ProcessState& process_state() {
  static ProcessState* const state = make_state();
  return *state;
}

uint64_t ProcessMark::current() {
  auto& generation = process_state().generation;
  uint64_t now = generation.load(std::memory_order_acquire);
  if (now != 0) return now;
  const uint64_t fresh = ++last_generation;
  return generation.compare_exchange_strong(now, fresh) ? fresh : now;
}

// SO_PEERPIDFD, by which the daemon tells who is there, came with 6.5.
Status check_kernel(const char* release) {
  int major = 0, minor = 0;
  if (std::sscanf(release, "%d.%d", &major, &minor) != 2 || major > 6 || (major == 6 && minor >= 5)) return ok_status();
  return Error{StatusCode::kFailedPrecondition,
               std::string("mRPC needs Linux 6.5 or newer, and this is ") + release + "; 'mrpc check' tells more"};
}

}  // namespace mrpc::stub
