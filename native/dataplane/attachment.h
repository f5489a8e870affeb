// One application process as the daemon knows it: who it is, and the memory that the two share. Made by the control thread,
// immutable afterwards but for its end; shards reach it through their Port.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "dataplane/config.h"
#include "dataplane/tenant.h"
#include "shm/region.h"
#include "shm/ring.h"

namespace mrpc::dataplane {

struct Identity {
  uid_t uid = 0;
  pid_t pid = 0;
  std::string app;        // the registered name, or "uid:NNN"
  std::string principal;  // "uid:NNN"
  std::string label;      // what the process calls itself; nothing trusts it
  std::shared_ptr<const TenantGrants> tenants = nullptr;  // null: none but its own

  bool may_act_for(std::string_view tenant) const { return tenants && tenants->allows(tenant); }
};

class Attachment {
 public:
  // Makes every region, ring and doorbell. Errors: kResourceExhausted.
  static Result<std::shared_ptr<Attachment>> create(uint32_t id, abi::Role role, Identity identity, const Config& config);

  // Made by another process: `fds` as takeover_fds() gave them. Maps them and writes nothing. Errors: kInvalidArgument, kResourceExhausted.
  static Result<std::shared_ptr<Attachment>> adopt(uint32_t id, abi::Role role, Identity identity, const Config& config,
                                                   uint64_t send_heap_bytes, uint64_t receive_heap_bytes, std::vector<Fd> fds);
  // For a successor: rings of both directions, wake pipe, both heaps, a doorbell a shard. The application has those of its own.
  std::vector<int> takeover_fds() const;

  // Descriptors for kWelcome, in the order of abi::WelcomeFd. Valid while the attachment lives.
  std::vector<int> welcome_fds() const;
  std::vector<abi::RegionRecord> region_records() const;

  // Rings the application's doorbell if it sleeps. Any shard may call; something has been published before.
  void wake();
  // Tells waiting threads that it is over: they look at the control socket.
  void mark_closed();

  // Heaps. The application can change what it sends at any moment: copy, then look.
  const std::byte* send_heap() const { return send_.data(); }
  uint64_t send_heap_bytes() const { return send_.size(); }
  std::byte* receive_heap() const { return receive_.data(); }
  uint64_t receive_heap_bytes() const { return receive_.size(); }
  int receive_heap_fd() const { return receive_fd_.get(); }

  const uint32_t id;
  const abi::Role role;
  const Identity identity;
  shm::RingRegions rings;

  int doorbell(uint32_t shard) const { return doorbells_[shard].get(); }
  uint64_t send_bytes_committed() const;  // pages that the application has touched, as the kernel counts them
  uint64_t receive_bytes_committed() const;
  std::atomic<uint64_t> receive_bytes_in_use{0};

 private:
  Attachment(uint32_t id_, abi::Role role_, Identity identity_) : id(id_), role(role_), identity(std::move(identity_)) {}
  Status create_rings(const Config& config);
  Status create_heaps(const Config& config);
  Status create_wake_pipe();

  Fd app_rings_fd_, daemon_rings_fd_, daemon_rings_readonly_fd_, wake_fd_, wake_app_fd_, send_fd_, receive_fd_, receive_readonly_fd_;
  std::vector<Fd> doorbells_;
  shm::Mapping app_rings_, daemon_rings_, send_, receive_;
};

}  // namespace mrpc::dataplane
