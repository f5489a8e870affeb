#include "stub/attachment.h"

#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace mrpc::stub {
namespace {

constexpr uint32_t kShardsMax = 256;

Status check_welcome(const abi::Welcome& welcome) {
  if (welcome.level < abi::kLevelOldest || welcome.level > abi::kLevel)
    return Error{StatusCode::kFailedPrecondition, "mrpcd speaks shared-memory level " + std::to_string(welcome.level) + ", this stub " +
                                                      std::to_string(abi::kLevel) + "; install versions that match"};
  if (welcome.shard_count == 0 || welcome.shard_count > kShardsMax) return internal_error("mrpcd sent a malformed welcome");
  return ok_status();
}

}  // namespace

Result<std::shared_ptr<Attachment>> Attachment::open(const AttachOptions& options, abi::Role role) {
  utsname system{};
  if (::uname(&system) == 0)
    if (auto kernel = check_kernel(system.release); !kernel) return kernel.error();
  auto socket = ControlLink::connect(options.socket_path.empty() ? default_socket_path() : options.socket_path);
  if (!socket) return socket.error();
  auto attachment = std::make_shared<Attachment>(std::move(*socket));
  attachment->trim_idle_ns_ = options.trim_idle_ms * 1'000'000ull;
  if (auto status = attachment->hello(options, role); !status) return status.error();
  return attachment;
}

Status Attachment::hello(const AttachOptions& options, abi::Role role) {
  if (options.label.size() > abi::kLabelBytesMax || options.token.size() > abi::kTokenBytesMax)
    return invalid_argument("label or token too long");
  abi::Hello hello{};
  hello.level_min = abi::kLevelOldest;
  hello.level_max = abi::kLevel;
  hello.endian_probe = abi::kEndianProbe;
  hello.features = abi::kFeatures;
  hello.role = static_cast<uint32_t>(role);
  hello.pid = static_cast<uint32_t>(::getpid());
  hello.label_bytes = static_cast<uint16_t>(options.label.size());
  hello.token_bytes = static_cast<uint16_t>(options.token.size());
  std::vector<std::byte> body;
  shm::append_pod(body, hello);
  for (const std::string* text : {&options.label, &options.token}) {
    const auto bytes = std::as_bytes(std::span(*text));
    body.insert(body.end(), bytes.begin(), bytes.end());
  }
  auto answer = control_.request(abi::ControlKind::kHello, body, abi::ControlKind::kWelcome);
  if (!answer) return answer.error();
  const auto welcome = answer->head<abi::Welcome>();
  if (!welcome) return internal_error("mrpcd sent a malformed welcome");
  welcome_ = *welcome;
  if (auto status = check_welcome(welcome_); !status) return status;
  return map_regions(*answer);
}

Status Attachment::map_regions(shm::ControlMessage& message) {
  const uint32_t shards = welcome_.shard_count;
  const auto records = message.tail(sizeof(abi::Welcome));
  if (message.fds.size() != abi::kDoorbellFds + shards || welcome_.region_count != 2 || records.size() != 2 * sizeof(abi::RegionRecord))
    return internal_error("mrpcd sent a malformed welcome");
  for (int i : {0, 1}) {
    auto region = std::make_shared<Region>();
    std::memcpy(&region->record, records.data() + i * sizeof(abi::RegionRecord), sizeof(abi::RegionRecord));
    const bool send = i == 0;
    const auto kind = static_cast<uint32_t>(send ? abi::RegionKind::kSendHeap : abi::RegionKind::kReceiveHeap);
    if (region->record.kind != kind || region->record.bytes % abi::kPage != 0) return internal_error("mrpcd sent malformed regions");
    const int fd = message.fds[send ? abi::kSendHeapFd : abi::kReceiveHeapFd].get();
    if (auto status = shm::check_region(fd, region->record.bytes); !status) return status;
    auto mapping = shm::Mapping::map(fd, region->record.bytes, send ? shm::Access::kReadWrite : shm::Access::kReadOnly);
    if (!mapping) return mapping.error();
    region->mapping = std::move(*mapping);
    if (send) send_region_ = std::move(region);
    else receive_regions_.push_back(std::move(region));
  }
  send_heap_fd_ = std::move(message.fds[abi::kSendHeapFd]);
  heap_ = std::make_unique<shm::Heap>(send_region_->record.bytes, welcome_.send_quota_bytes, [this](auto ranges) {
    for (const auto& range : ranges) shm::punch_hole(send_heap_fd_.get(), range.offset, range.bytes);
  });
  std::vector<Fd> ring_fds;
  for (int i : {abi::kAppRingsFd, abi::kDaemonRingsFd, abi::kWakeFd}) ring_fds.push_back(std::move(message.fds[i]));
  for (uint32_t i = 0; i < shards; ++i) ring_fds.push_back(std::move(message.fds[abi::kDoorbellFds + i]));
  auto rings = Rings::map(std::move(ring_fds), shards, welcome_.ring_slots, welcome_.generation);
  if (!rings) return rings.error();
  rings_ = rings->get();
  all_rings_.push_back(std::move(*rings));
  return ok_status();
}

Status Attachment::usable() const {
  if (!here()) return forked_error();
  if (dead()) return end_error();
  return ok_status();
}

Error Attachment::end_error() const {
  std::lock_guard lock(memory_mutex_);
  return end_error_;
}

void Attachment::end(Error error) {
  decltype(held_) held;  // destroyed after the lock is released
  {
    std::lock_guard lock(memory_mutex_);
    if (dead()) return;
    end_error_ = std::move(error);
    held.swap(held_);
    dead_.store(true, std::memory_order_release);
  }
}

void Attachment::detach() {
  if (!here() || dead()) return;
  (void)control_.send(abi::ControlKind::kGoodbye, {});
  end(Error{StatusCode::kCancelled, "the channel or server is closed"});
}

Result<shm::ControlMessage> Attachment::request(abi::ControlKind kind, std::span<const std::byte> body, abi::ControlKind answer) {
  if (auto status = usable(); !status) return status.error();
  auto message = control_.request(kind, body, answer);
  if (auto status = handle_notices(); !status) end(status.error());
  return message;
}

bool Attachment::check() {
  if (dead()) return false;
  Status status = control_.read_notices();
  if (status) status = handle_notices();
  if (status && rings_.load()->regions.daemon_control().closed.load(std::memory_order_acquire) != 0)
    status = unavailable("mrpcd has ended this attachment; the next call attaches anew");
  if (!status) end(status.error());
  else retire_regions();
  return status.ok();
}

Status Attachment::handle_notices() {
  std::lock_guard lock(notice_mutex_);
  for (auto& notice : control_.take_notices())
    if (auto status = handle_notice(notice); !status) return status;
  return ok_status();
}

Status Attachment::handle_notice(shm::ControlMessage& notice) {
  switch (notice.kind) {
    case abi::ControlKind::kRegionAdd:
      return add_region(notice);
    case abi::ControlKind::kRegionRetire:
      return retire_region(notice);
    case abi::ControlKind::kRingReplace:
      return replace_rings(notice);
    case abi::ControlKind::kDrain:
      draining_ = true;
      return ok_status();
    default:
      return ok_status();  // a later level's notice that this one may ignore
  }
}

Status Attachment::add_region(shm::ControlMessage& notice) {
  const auto record = notice.head<abi::RegionRecord>();
  if (!record) return record.error();
  if (record->kind != static_cast<uint32_t>(abi::RegionKind::kReceiveHeap) || notice.fds.size() != 1)
    return internal_error("mrpcd added a region that this level does not know");
  if (auto status = shm::check_region(notice.fds[0].get(), record->bytes); !status) return status;
  auto mapping = shm::Mapping::map(notice.fds[0].get(), record->bytes, shm::Access::kReadOnly);
  if (!mapping) return mapping.error();
  std::lock_guard lock(consumer_mutex_);
  if (knows_region(record->id)) return internal_error("mrpcd added a region twice");
  receive_regions_.push_back(std::make_shared<Region>(Region{*record, std::move(*mapping)}));
  return ok_status();
}

bool Attachment::knows_region(uint32_t id) const {
  return std::any_of(receive_regions_.begin(), receive_regions_.end(), [&](const auto& region) { return region->record.id == id; });
}

// Slots that the daemon published before the notice may still name the region.
Status Attachment::retire_region(shm::ControlMessage& notice) {
  const auto record = notice.head<abi::RegionRecord>();
  if (!record) return record.error();
  {
    std::lock_guard lock(consumer_mutex_);
    if (!knows_region(record->id)) return internal_error("mrpcd retired a region that it never added");
    to_retire_.push_back(record->id);
    if (std::any_of(all_rings_.begin(), all_rings_.end(), [](const auto& rings) { return rings->completions_waiting(); }))
      until_empty_ = true;
    else on_rings_empty();
  }
  retire_regions();
  return ok_status();
}

void Attachment::on_rings_empty() {
  until_empty_ = false;
  if (to_retire_.empty()) return;
  std::lock_guard lock(memory_mutex_);
  std::erase_if(receive_regions_, [&](auto& region) {
    if (std::find(to_retire_.begin(), to_retire_.end(), region->record.id) == to_retire_.end()) return false;
    retiring_.push_back(std::move(region));
    return true;
  });
  to_retire_.clear();
  any_retiring_ = true;
}

void Attachment::retire_regions() {
  if (!any_retiring_.load(std::memory_order_relaxed)) return;
  if (!flush_reclaims()) return;  // the daemon must have the region's blocks back before it hears that nobody refers to them
  std::vector<std::shared_ptr<Region>> unused;
  {
    std::lock_guard lock(memory_mutex_);
    for (auto& region : retiring_)
      if (region.use_count() == 1) unused.push_back(std::move(region));
    std::erase(retiring_, nullptr);
    any_retiring_ = !retiring_.empty();
  }
  for (auto& region : unused) {
    std::vector<std::byte> body;
    shm::append_pod(body, region->record);
    region.reset();  // unmapped before we say so
    (void)control_.send(abi::ControlKind::kRegionRetired, body);
  }
}

Status Attachment::replace_rings(shm::ControlMessage& notice) {
  const auto replace = notice.head<abi::RingReplace>();
  if (!replace) return replace.error();
  Rings& old = *rings_.load();
  if (replace->generation <= old.generation) return internal_error("mrpcd replaced the rings by older ones");
  auto fresh = Rings::map(std::move(notice.fds), welcome_.shard_count, replace->ring_slots, replace->generation);
  if (!fresh) return Error{fresh.error().code, "mrpcd replaced the rings: " + fresh.error().text};
  hand_over(old, *fresh);
  // The daemon wakes nobody there any more. A thread between its last look and its sleep would miss one wake: so until none is left.
  while (old.regions.app_control().sleepers.load(std::memory_order_seq_cst) != 0) {
    shm::futex_wake(&old.regions.daemon_control().wake_sequence, INT32_MAX);
    std::this_thread::yield();
  }
  const uint64_t one = 1;
  (void)!::write(old.wake_fd.get(), &one, sizeof one);  // an event loop that watches it finds another epoch
  std::vector<std::byte> body;
  shm::append_pod(body, *replace);
  return control_.send(abi::ControlKind::kRingReplaced, body);
}

// The daemon published its last completion in the old rings before the notice: poll() empties them first.
void Attachment::hand_over(Rings& old, const std::shared_ptr<Rings>& fresh) {
  std::lock_guard consumer(consumer_mutex_);
  std::vector<std::unique_lock<std::mutex>> locks;
  for (auto& shard : old.shards) locks.emplace_back(shard->submit_mutex);
  for (auto& shard : old.shards) locks.emplace_back(shard->reclaim_mutex);
  fresh->regions.app_control().poll_armed.store(old.regions.app_control().poll_armed.load());
  for (size_t i = 0; i < old.shards.size(); ++i) {
    fresh->shards[i]->reclaims = std::move(old.shards[i]->reclaims);
    fresh->shards[i]->reclaim_bytes = old.shards[i]->reclaim_bytes;
  }
  old.retired = true;
  all_rings_.push_back(fresh);
  rings_.store(fresh.get(), std::memory_order_release);
  until_empty_ = true;
}

}  // namespace mrpc::stub
