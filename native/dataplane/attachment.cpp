#include "dataplane/attachment.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

#include "shm/futex.h"

namespace mrpc::dataplane {
namespace {

uint64_t heap_bytes(uint64_t quota_bytes) {
  // Twice the quota of address space, so that fragmentation does not eat into it; pages appear when they are touched.
  return std::clamp<uint64_t>(abi::align_up(2 * quota_bytes, 2ull << 20), 2ull << 20, 4ull << 30);
}

uint64_t backed_bytes(int fd) {
  struct stat info;
  return ::fstat(fd, &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

Status store(Result<Fd> made, Fd& into) {
  if (!made) return made.error();
  into = std::move(*made);
  return ok_status();
}

Status store(Result<shm::Mapping> made, shm::Mapping& into) {
  if (!made) return made.error();
  into = std::move(*made);
  return ok_status();
}

}  // namespace

Result<std::shared_ptr<Attachment>> Attachment::create(uint32_t id, abi::Role role, Identity identity, const Config& config) {
  std::shared_ptr<Attachment> attachment(new Attachment(id, role, std::move(identity)));
  for (const Status& made : {attachment->create_rings(config), attachment->create_heaps(config)})
    if (!made) return made.error();
  return attachment;
}

Status Attachment::create_rings(const Config& config) {
  const size_t bytes = abi::ring_region_bytes(config.shards, config.ring_slots);
  if (Status s = store(shm::create_region("mrpc-app-rings", bytes), app_rings_fd_); !s) return s;
  if (Status s = store(shm::create_region("mrpc-daemon-rings", bytes), daemon_rings_fd_); !s) return s;
  if (Status s = store(shm::reopen_read_only(daemon_rings_fd_.get()), daemon_rings_readonly_fd_); !s) return s;
  if (Status s = store(shm::Mapping::map(app_rings_fd_.get(), bytes, shm::Access::kReadOnly), app_rings_); !s) return s;
  if (Status s = store(shm::Mapping::map(daemon_rings_fd_.get(), bytes, shm::Access::kReadWrite), daemon_rings_); !s) return s;
  rings = {app_rings_.data(), daemon_rings_.data(), config.shards, config.ring_slots};
  if (Status s = create_wake_pipe(); !s) return s;
  for (uint32_t i = 0; i < config.shards; ++i) {
    rings.daemon_shard(i).asleep.store(1);  // a new attachment is quiet until it rings
    doorbells_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!doorbells_.back()) return resource_exhausted("eventfd: out of descriptors");
  }
  return ok_status();
}

// Whoever has a descriptor may make it block, for all who share its open file description, and fill it: a daemon that writes to it
// would then wait for ever. So each side has a description of its own, of a pipe that both can read and write: it has no dead end.
Status Attachment::create_wake_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return resource_exhausted("pipe: out of descriptors");
  const Fd reader(ends[0]), writer(ends[1]);
  for (Fd* side : {&wake_fd_, &wake_app_fd_}) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", reader.get());
    *side = Fd(::open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK));
    if (!*side) return resource_exhausted("cannot reopen a pipe (is /proc mounted?)");
  }
  return ok_status();
}

Status Attachment::create_heaps(const Config& config) {
  const size_t send_bytes = heap_bytes(config.send_quota_bytes), receive_bytes = heap_bytes(config.receive_quota_bytes);
  if (Status s = store(shm::create_region("mrpc-send-heap", send_bytes), send_fd_); !s) return s;
  if (Status s = store(shm::Mapping::map(send_fd_.get(), send_bytes, shm::Access::kReadOnly), send_); !s) return s;
  if (Status s = store(shm::create_region("mrpc-receive-heap", receive_bytes), receive_fd_); !s) return s;
  if (Status s = store(shm::reopen_read_only(receive_fd_.get()), receive_readonly_fd_); !s) return s;
  return store(shm::Mapping::map(receive_fd_.get(), receive_bytes, shm::Access::kReadWrite), receive_);
}

std::vector<int> Attachment::welcome_fds() const {
  std::vector<int> fds = {app_rings_fd_.get(), daemon_rings_readonly_fd_.get(), wake_app_fd_.get(), send_fd_.get(), receive_readonly_fd_.get()};
  for (const Fd& doorbell : doorbells_) fds.push_back(doorbell.get());
  return fds;
}

std::vector<int> Attachment::takeover_fds() const {
  std::vector<int> fds = {app_rings_fd_.get(), daemon_rings_fd_.get(), wake_fd_.get(), send_fd_.get(), receive_fd_.get()};
  for (const Fd& doorbell : doorbells_) fds.push_back(doorbell.get());
  return fds;
}

Result<std::shared_ptr<Attachment>> Attachment::adopt(uint32_t id, abi::Role role, Identity identity, const Config& config,
                                                      uint64_t send_heap_bytes, uint64_t receive_heap_bytes, std::vector<Fd> fds) {
  constexpr size_t kFixed = 5;
  if (fds.size() != kFixed + config.shards) return invalid_argument("an attachment with a wrong number of descriptors");
  const size_t ring_bytes = abi::ring_region_bytes(config.shards, config.ring_slots);
  const std::pair<int, uint64_t> regions[] = {{0, ring_bytes}, {1, ring_bytes}, {3, send_heap_bytes}, {4, receive_heap_bytes}};
  for (const auto& [index, bytes] : regions)
    if (Status sealed = shm::check_region(fds[index].get(), bytes); !sealed) return invalid_argument("an attachment's memory is not what it was");
  std::shared_ptr<Attachment> made(new Attachment(id, role, std::move(identity)));
  using shm::Access, shm::Mapping;
  Status mapped = store(Mapping::map(fds[0].get(), ring_bytes, Access::kReadOnly), made->app_rings_);
  if (mapped) mapped = store(Mapping::map(fds[1].get(), ring_bytes, Access::kReadWrite), made->daemon_rings_);
  if (mapped) mapped = store(Mapping::map(fds[3].get(), send_heap_bytes, Access::kReadOnly), made->send_);
  if (mapped) mapped = store(Mapping::map(fds[4].get(), receive_heap_bytes, Access::kReadWrite), made->receive_);
  if (!mapped) return mapped.error();
  made->rings = {made->app_rings_.data(), made->daemon_rings_.data(), config.shards, config.ring_slots};
  made->app_rings_fd_ = std::move(fds[0]);
  made->daemon_rings_fd_ = std::move(fds[1]);
  made->wake_fd_ = std::move(fds[2]);
  made->send_fd_ = std::move(fds[3]);
  made->receive_fd_ = std::move(fds[4]);
  std::move(fds.begin() + kFixed, fds.end(), std::back_inserter(made->doorbells_));
  return made;
}

std::vector<abi::RegionRecord> Attachment::region_records() const {
  const auto record = [](uint32_t region, abi::RegionKind kind, uint64_t bytes) {
    return abi::RegionRecord{region, 1, bytes, abi::kPage, -1, static_cast<uint32_t>(kind), 0};
  };
  return {record(abi::kSendRegion, abi::RegionKind::kSendHeap, send_.size()),
          record(abi::kReceiveRegion, abi::RegionKind::kReceiveHeap, receive_.size())};
}

void Attachment::wake() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const abi::AppControl& app = rings.app_control();
  abi::DaemonControl& daemon = rings.daemon_control();
  if (app.sleepers.load(std::memory_order_relaxed) != 0) {
    daemon.wake_sequence.fetch_add(1);
    shm::futex_wake_one(&daemon.wake_sequence);
  }
  if (app.poll_armed.load(std::memory_order_relaxed) != 0) {
    const uint64_t one = 1;
    (void)!::write(wake_fd_.get(), &one, sizeof one);  // full: it is readable already
  }
}

void Attachment::mark_closed() {
  abi::DaemonControl& daemon = rings.daemon_control();
  daemon.closed.store(1);
  daemon.wake_sequence.fetch_add(1);
  shm::futex_wake(&daemon.wake_sequence, 1 << 30);
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof one);
}

uint64_t Attachment::send_bytes_committed() const { return backed_bytes(send_fd_.get()); }
uint64_t Attachment::receive_bytes_committed() const { return backed_bytes(receive_fd_.get()); }

}  // namespace mrpc::dataplane
