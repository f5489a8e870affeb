#include "stub/rings.h"

#include <fcntl.h>
#include <unistd.h>

namespace mrpc::stub {
namespace {

constexpr size_t kFixedFds = 3;

}  // namespace

Result<std::shared_ptr<Rings>> Rings::map(std::vector<Fd> fds, uint32_t shards, uint32_t ring_slots, uint32_t generation) {
  const bool power_of_two = ring_slots != 0 && (ring_slots & (ring_slots - 1)) == 0;
  if (!power_of_two || shards == 0 || fds.size() != kFixedFds + shards) return internal_error("mrpcd sent malformed rings");
  const size_t bytes = abi::ring_region_bytes(shards, ring_slots);
  auto rings = std::make_shared<Rings>();
  for (int i : {0, 1}) {
    if (auto status = shm::check_region(fds[i].get(), bytes); !status) return status.error();
    auto mapping = shm::Mapping::map(fds[i].get(), bytes, i == 0 ? shm::Access::kReadWrite : shm::Access::kReadOnly);
    if (!mapping) return mapping.error();
    (i == 0 ? rings->app : rings->daemon) = std::move(*mapping);
  }
  rings->generation = generation;
  rings->regions = {rings->app.data(), rings->daemon.data(), shards, ring_slots};
  rings->wake_fd = std::move(fds[2]);
  if (::fcntl(rings->wake_fd.get(), F_SETFL, O_NONBLOCK) != 0) return internal_error("mrpcd sent a bad wake descriptor");
  for (uint32_t i = 0; i < shards; ++i) {
    auto shard = std::make_unique<ShardRings>();
    abi::AppShard& ours = rings->regions.app_shard(i);
    const abi::DaemonShard& theirs = rings->regions.daemon_shard(i);
    shard->producer = {rings->regions.submit_slots(i), ring_slots, &ours.submit_tail, &theirs.submit_head};
    shard->consumer = {rings->regions.complete_slots(i), ring_slots, &theirs.complete_tail, &ours.complete_head};
    shard->doorbell = std::move(fds[kFixedFds + i]);
    rings->shards.push_back(std::move(shard));
  }
  return rings;
}

void Rings::ring_doorbell(uint32_t shard) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (regions.daemon_shard(shard).asleep.load(std::memory_order_relaxed) == 0) return;
  const uint64_t one = 1;
  // Fails only when the counter is full, that is, when the doorbell rings already.
  (void)!::write(shards[shard]->doorbell.get(), &one, sizeof one);
}

bool Rings::completions_waiting() const {
  for (uint32_t i = 0; i < regions.shards; ++i) {
    const uint32_t head = regions.app_shard(i).complete_head.load(std::memory_order_acquire);
    if (regions.daemon_shard(i).complete_tail.load(std::memory_order_acquire) != head) return true;
  }
  return false;
}

}  // namespace mrpc::stub
