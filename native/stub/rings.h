// One generation of an attachment's rings: the mappings, and for each shard both ends that the application holds.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.h"
#include "shm/region.h"
#include "shm/ring.h"

namespace mrpc::stub {

struct ShardRings {
  // Producer side: any thread, under submit_mutex.
  std::mutex submit_mutex;
  shm::RingProducer producer;
  struct InFlight {
    uint32_t index;   // of the slot
    uint64_t offset;  // of its block, free once submit_head has passed the slot
  };
  std::deque<InFlight> in_flight;

  // Received blocks that wait to be given back with the next submission.
  std::mutex reclaim_mutex;
  struct Reclaim {
    uint64_t offset;
    uint32_t region;
  };
  std::vector<Reclaim> reclaims;
  uint64_t reclaim_bytes = 0;

  // Consumer side: under the attachment's consumer mutex.
  shm::RingConsumer consumer;
  Fd doorbell;
};

struct Rings {
  // `fds`: AppRings, DaemonRings, wake eventfd, then one doorbell a shard; taken over.
  static Result<std::shared_ptr<Rings>> map(std::vector<Fd> fds, uint32_t shards, uint32_t ring_slots, uint32_t generation);

  // After something was published for `shard` (abi.h, rule 5).
  void ring_doorbell(uint32_t shard);
  bool completions_waiting() const;

  uint32_t generation = 0;
  bool retired = false;  // replaced; changes under every shard's submit_mutex and reclaim_mutex
  shm::Mapping app, daemon;
  shm::RingRegions regions;
  Fd wake_fd;
  std::vector<std::unique_ptr<ShardRings>> shards;
};

}  // namespace mrpc::stub
