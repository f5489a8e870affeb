// What a data plane is started with, and what it asks of the world around it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/clock.h"
#include "message/image.h"
#include "message/layout.h"
#include "shm/abi.h"
#include "shm/block.h"

namespace mrpc::dataplane {

struct Config {
  std::string socket_path;
  std::string node = "localhost";
  uint32_t shards = 1;
  uint64_t message_bytes_max = abi::kMessageBytesMax;
  uint64_t send_quota_bytes = abi::kQuotaBytes;     // of one attachment
  uint64_t receive_quota_bytes = abi::kQuotaBytes;  // of one attachment
  uint32_t ring_slots = abi::kRingSlots;
  uint32_t intake_slots_max = 64;           // taken from one attachment in one turn
  uint32_t open_calls_max = 65536;          // of one attachment on one shard
  uint32_t parked_calls_max = 4096;         // waiting for one receiver, from one edge
  uint64_t parked_bytes_max = 64ull << 20;  // private memory that calls waiting for one receiver may hold, per edge
  uint32_t untaken_max = 65536 + 16384;       // completions that wait for one application, until its submissions wait, too
  uint32_t untaken_limit = 4 * (65536 + 16384);  // until its attachment ends
  size_t routes_max = 16384;                // on one shard, of callers and methods that other daemons name
  size_t peer_services_max = 4096;          // that one peer may announce
  uint64_t peer_schema_bytes_max = 64ull << 20;  // of those
  uint32_t layout_version = message::kLayoutVersion;  // that peers are told; between unequal ones messages pass as protobuf bytes
  uint64_t spin_ns = 0;                     // how long an idle shard polls before it sleeps, while work comes as soon as that
  uint64_t receive_warm_bytes = 64ull << 20;  // of one attachment, kept when freed; the rest goes back to the system

  message::Limits message_limits() const { return {message_bytes_max, 100}; }
  shm::BlockLimits block_limits() const { return {message_bytes_max, abi::kMetadataBytesMax}; }
};

class Attachment;

// Clock, randomness, wake-ups and long work, so that a shard can be stepped with no thread and no system call.
class World {
 public:
  virtual ~World() = default;
  virtual uint64_t now_ns() = 0;
  virtual uint64_t unix_ns() { return realtime_ns(); }  // wall clock, for what other machines dated
  virtual uint64_t random() = 0;
  // Something was published for `attachment`: ring its doorbell if it sleeps.
  virtual void wake(Attachment& attachment) = 0;
  // Runs `job` where it may take milliseconds. It touches no shard; what it found comes back through Shard::post.
  virtual void run_long(std::function<void()> job) = 0;
};

}  // namespace mrpc::dataplane
