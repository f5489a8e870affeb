#include "stub/fake_daemon.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "shm/block.h"

namespace mrpc::test {
namespace {

constexpr uint64_t kHeapBytes = 512ull << 20;

Fd make_region(size_t bytes, shm::Mapping& mapping, bool read_only) {
  Fd fd = shm::create_region("test", bytes).value();
  mapping = shm::Mapping::map(fd.get(), bytes, shm::Access::kReadWrite).value();
  return read_only ? shm::reopen_read_only(fd.get()).value() : std::move(fd);
}

std::vector<int> numbers(const std::vector<Fd>& fds) {
  std::vector<int> all;
  for (const Fd& fd : fds) all.push_back(fd.get());
  return all;
}

std::span<const std::byte> text_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

// One generation of the rings, and one receive heap.
struct FakeRings {
  uint32_t generation = 1;
  shm::Mapping app, daemon;
  shm::RingRegions regions;
  Fd wake_fd;
  std::vector<Fd> doorbells;
  std::vector<shm::RingConsumer> submissions;
  std::vector<shm::RingProducer> completions;

  std::vector<Fd> make(uint32_t shards, uint32_t slots, RingFault fault);  // returns what the application gets
  bool submissions_empty() const {
    return std::all_of(submissions.begin(), submissions.end(), [](const auto& ring) { return ring.empty(); });
  }
};

struct FakeReceiveHeap {
  shm::Mapping mapping;
  shm::Heap heap{kHeapBytes, kHeapBytes, {}};
};

class FakeAttachment {
 public:
  FakeAttachment(FakeDaemon& daemon, Fd socket) : daemon_(daemon), socket_(std::move(socket)) {}
  ~FakeAttachment() {
    for (const auto& [id, region] : receive_) daemon_.receive_bytes_ -= region.heap.bytes_in_use();
  }

  int fd() const { return socket_.get(); }
  bool attached() const { return attached_; }
  std::vector<int> doorbells() const;
  void add_region(uint32_t id);     // what is lent from now on stands there
  void retire_region(uint32_t id);
  void replace_rings(RingFault fault);
  bool read_control();                // false: gone
  bool serve_rings();                 // true: did something
  void set_asleep(bool asleep);
  bool has_work() const;
  void end(StatusCode code, const std::string& text);
  void push(uint32_t shard, const abi::Slot& slot);
  void lose(uint32_t shard, uint64_t call);
  // Copies an image into the receive heap, with the metadata and details of `block`, and names it in `slot`.
  void lend(abi::Slot& slot, const shm::BlockReader& block, const std::vector<std::byte>& image);
  void flush();
  void notify();
  uint64_t send_bytes_backed() const;

 private:
  using Kind = abi::SlotKind;
  void answer(const shm::ControlMessage& request);
  void welcome(uint32_t request_id, const shm::ControlMessage& hello);
  void on_slot(uint32_t shard, const abi::Slot& slot);
  void on_open(uint32_t shard, const abi::Slot& slot, const shm::BlockReader& block, const std::vector<std::byte>& image);
  void forward(uint32_t shard, const abi::Slot& slot, const shm::BlockReader* block, const std::vector<std::byte>& image);
  std::vector<std::byte> read_image(const abi::Slot& slot, const shm::BlockReader& block);
  void reclaim(uint32_t region, uint64_t offset);
  bool serve(FakeRings& rings);
  void tell_to_read_control();
  void on_notice_answer(const shm::ControlMessage& message);
  void violation() { ++daemon_.violations_; }

  FakeDaemon& daemon_;
  Fd socket_;
  shm::ControlAssembler assembler_;
  bool attached_ = false, server_ = false;
  std::vector<std::string> bound_;  // services by position, handle = kHandleBase + position * kMethodCount + method
  std::unique_ptr<FakeRings> now_ = std::make_unique<FakeRings>(), old_;
  bool old_in_use_ = false;  // the application has not answered kRingReplace yet
  shm::Mapping send_;
  Fd send_fd_;
  std::map<uint32_t, FakeReceiveHeap> receive_;
  uint32_t lend_region_ = abi::kReceiveRegion;
  std::vector<std::deque<abi::Slot>> waiting_;  // for room
  bool published_ = false;
  friend class FakeDaemon;
};

// ---- control

bool FakeAttachment::read_control() {
  std::vector<std::byte> packet;
  std::vector<Fd> fds;
  bool got = false;
  if (!shm::receive_packet(socket_.get(), false, packet, fds, &got)) return false;
  if (!got) return true;
  auto message = assembler_.feed(packet, {});
  if (!message) return false;
  if (!*message) return true;
  if ((*message)->kind == abi::ControlKind::kGoodbye) return false;
  answer(**message);
  return true;
}

void FakeAttachment::answer(const shm::ControlMessage& request) {
  std::vector<std::byte> body;
  auto kind = abi::ControlKind::kError;
  switch (request.kind) {
    case abi::ControlKind::kHello: return welcome(request.request_id, request);
    case abi::ControlKind::kRegisterSchema:
      kind = abi::ControlKind::kSchemaRegistered;
      shm::append_pod(body, abi::SchemaRegistered{7, 0});
      break;
    case abi::ControlKind::kOffer:
    case abi::ControlKind::kBind: {
      const auto tail = request.tail(sizeof(abi::ServiceRef));
      const std::string name = std::string(reinterpret_cast<const char*>(tail.data()), tail.size()).c_str();
      const bool offer = request.kind == abi::ControlKind::kOffer;
      if (offer) daemon_.offers_[name] = this;
      kind = offer ? abi::ControlKind::kOffered : abi::ControlKind::kBound;
      const auto position = static_cast<uint32_t>(bound_.size());
      bound_.push_back(name);
      shm::append_pod(body, abi::Bound{position % daemon_.options_.shards, kMethodCount});
      for (uint32_t i = 0; i < kMethodCount; ++i) shm::append_pod(body, abi::MethodRecord{kHandleBase + position * kMethodCount + i, 0});
      break;
    }
    case abi::ControlKind::kRegionRetired:
    case abi::ControlKind::kRingReplaced: return on_notice_answer(request);
    case abi::ControlKind::kWithdraw: kind = abi::ControlKind::kWithdrawn; break;
    default: shm::append_pod(body, abi::ControlError{static_cast<uint32_t>(StatusCode::kInvalidArgument), 0});
  }
  (void)shm::send_control(socket_.get(), kind, request.request_id, body);
}

void FakeAttachment::welcome(uint32_t request_id, const shm::ControlMessage& message) {
  const auto hello = *message.head<abi::Hello>();
  const auto texts = message.tail(sizeof hello);
  const std::string token(reinterpret_cast<const char*>(texts.data()) + hello.label_bytes, hello.token_bytes);
  if (!daemon_.options_.refuse_text.empty()) return end(StatusCode::kFailedPrecondition, daemon_.options_.refuse_text);
  if (!token.empty() && token == daemon_.options_.refuse_token) return end(StatusCode::kUnauthenticated, "token refused");
  const uint32_t shards = daemon_.options_.shards, slots = daemon_.options_.ring_slots;
  server_ = hello.role == static_cast<uint32_t>(abi::Role::kServer);
  std::vector<Fd> fds = now_->make(shards, slots, RingFault::kNone);
  std::vector<Fd> heaps;
  heaps.push_back(make_region(kHeapBytes, send_, false));
  send_fd_.reset(::dup(heaps.back().get()));
  heaps.push_back(make_region(kHeapBytes, receive_[abi::kReceiveRegion].mapping, true));
  fds.insert(fds.begin() + abi::kSendHeapFd, std::make_move_iterator(heaps.begin()), std::make_move_iterator(heaps.end()));
  waiting_.resize(shards);
  abi::Welcome welcome{};
  welcome.level = daemon_.options_.level;
  welcome.generation = now_->generation;
  welcome.shard_count = static_cast<uint16_t>(shards);
  welcome.message_bytes_max = abi::kMessageBytesMax;
  welcome.send_quota_bytes = welcome.receive_quota_bytes = daemon_.options_.quota_bytes;
  welcome.ring_slots = slots;
  welcome.metadata_bytes_max = abi::kMetadataBytesMax;
  welcome.region_count = 2;
  std::vector<std::byte> body;
  shm::append_pod(body, welcome);
  for (const auto kind : {abi::RegionKind::kSendHeap, abi::RegionKind::kReceiveHeap})
    shm::append_pod(body, abi::RegionRecord{static_cast<uint32_t>(kind), 1, kHeapBytes, abi::kPage, -1, static_cast<uint32_t>(kind), 0});
  attached_ = shm::send_control(socket_.get(), abi::ControlKind::kWelcome, request_id, body, numbers(fds)).ok();
}

// ---- regions and rings that come and go

std::vector<Fd> FakeRings::make(uint32_t shards, uint32_t slots, RingFault fault) {
  const size_t bytes = abi::ring_region_bytes(shards, slots);
  std::vector<Fd> fds;
  fds.push_back(make_region(bytes, app, false));
  fds.push_back(make_region(bytes, daemon, true));
  if (fault == RingFault::kTooSmall) fds[1] = shm::create_region("small", abi::kPage).value();
  if (fault == RingFault::kUnsealed) {
    fds[0].reset(::memfd_create("unsealed", MFD_CLOEXEC));
    MRPC_ASSERT(::ftruncate(fds[0].get(), static_cast<off_t>(bytes)) == 0);
  }
  wake_fd.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  fds.emplace_back(::dup(wake_fd.get()));
  regions = {app.data(), daemon.data(), shards, slots};
  for (uint32_t i = 0; i < shards; ++i) {
    doorbells.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (fault != RingFault::kTooFew) fds.emplace_back(::dup(doorbells.back().get()));
    abi::DaemonShard& ours = regions.daemon_shard(i);
    abi::AppShard& theirs = regions.app_shard(i);
    submissions.emplace_back(regions.submit_slots(i), slots, &theirs.submit_tail, &ours.submit_head);
    completions.emplace_back(regions.complete_slots(i), slots, &ours.complete_tail, &theirs.complete_head);
  }
  return fds;
}

void FakeAttachment::tell_to_read_control() {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(Kind::kControl);
  push(0, slot);
  flush();
}

void FakeAttachment::add_region(uint32_t id) {
  Fd fd = make_region(kHeapBytes, receive_[id].mapping, true);
  const abi::RegionRecord record{id, 1, kHeapBytes, abi::kPage, -1, static_cast<uint32_t>(abi::RegionKind::kReceiveHeap), 0};
  std::vector<std::byte> body;
  shm::append_pod(body, record);
  const int number = fd.get();
  MRPC_ASSERT(shm::send_control(socket_.get(), abi::ControlKind::kRegionAdd, 0, body, {&number, 1}).ok());
  lend_region_ = id;
  tell_to_read_control();
}

void FakeAttachment::retire_region(uint32_t id) {
  std::vector<std::byte> body;
  shm::append_pod(body, abi::RegionRecord{id, 1, kHeapBytes, abi::kPage, -1, static_cast<uint32_t>(abi::RegionKind::kReceiveHeap), 0});
  MRPC_ASSERT(shm::send_control(socket_.get(), abi::ControlKind::kRegionRetire, 0, body).ok());
  tell_to_read_control();
}

void FakeAttachment::replace_rings(RingFault fault) {
  MRPC_ASSERT(!old_in_use_);
  tell_to_read_control();
  auto fresh = std::make_unique<FakeRings>();
  fresh->generation = now_->generation + 1;
  const auto fds = fresh->make(daemon_.options_.shards, daemon_.options_.ring_slots, fault);
  std::vector<std::byte> body;
  shm::append_pod(body, abi::RingReplace{fresh->generation, daemon_.options_.ring_slots});
  MRPC_ASSERT(shm::send_control(socket_.get(), abi::ControlKind::kRingReplace, 0, body, numbers(fds)).ok());
  old_ = std::exchange(now_, std::move(fresh));
  old_in_use_ = true;
}

void FakeAttachment::on_notice_answer(const shm::ControlMessage& message) {
  if (message.kind == abi::ControlKind::kRegionRetired) {
    const uint32_t id = message.head<abi::RegionRecord>()->id;
    while (serve(*now_)) {
    }
    if (receive_.at(id).heap.bytes_in_use() != 0) violation();
    receive_.erase(id);
    ++daemon_.regions_retired_;
    return;
  }
  while (serve(*old_)) {
  }
  old_in_use_ = false;
  ++daemon_.rings_replaced_;
}

std::vector<int> FakeAttachment::doorbells() const {
  std::vector<int> all = numbers(now_->doorbells);
  if (old_)
    for (const Fd& bell : old_->doorbells) all.push_back(bell.get());
  return all;
}

void FakeAttachment::end(StatusCode code, const std::string& text) {
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ControlError{static_cast<uint32_t>(code), 0});
  const auto bytes = text_bytes(text);
  body.insert(body.end(), bytes.begin(), bytes.end());
  (void)shm::send_control(socket_.get(), abi::ControlKind::kError, 0, body);
  if (attached_) now_->regions.daemon_control().closed = 1;
}

// ---- rings

void FakeAttachment::push(uint32_t shard, const abi::Slot& slot) { waiting_[shard].push_back(slot); }

void FakeAttachment::flush() {
  if (!attached_) return;
  bool any = false;
  for (uint32_t i = 0; i < now_->regions.shards; ++i) {
    while (!waiting_[i].empty() && now_->completions[i].room() == shm::RingState::kOk) {
      now_->completions[i].push(waiting_[i].front());
      waiting_[i].pop_front();
      any = true;
    }
    now_->completions[i].publish();
  }
  if (any) notify();
}

void FakeAttachment::notify() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (now_->regions.app_control().sleepers != 0) {
    ++now_->regions.daemon_control().wake_sequence;
    shm::futex_wake(&now_->regions.daemon_control().wake_sequence, 1);
  }
  const uint64_t one = 1;
  if (now_->regions.app_control().poll_armed != 0) (void)!::write(now_->wake_fd.get(), &one, sizeof one);
}

bool FakeAttachment::serve_rings() {
  if (!attached_) return false;
  if (old_ && !old_in_use_ && !old_->submissions_empty()) violation();
  const bool any = serve(old_in_use_ ? *old_ : *now_);
  flush();
  return any;
}

bool FakeAttachment::serve(FakeRings& rings) {
  bool any = false;
  for (uint32_t i = 0; i < rings.regions.shards; ++i) {
    abi::Slot slot;
    for (int n = 0; n < 16 && rings.submissions[i].pop(slot) == shm::RingState::kOk; ++n) {
      any = true;
      on_slot(i, slot);  // copied before the slot is passed: small blocks are free then
    }
    rings.submissions[i].publish();
  }
  return any;
}

void FakeAttachment::set_asleep(bool asleep) {
  for (FakeRings* rings : {now_.get(), old_.get()})
    for (uint32_t i = 0; attached_ && rings != nullptr && i < rings->regions.shards; ++i)
      rings->regions.daemon_shard(i).asleep = asleep ? 1 : 0;
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool FakeAttachment::has_work() const {
  if (attached_ && !(old_in_use_ ? *old_ : *now_).submissions_empty()) return true;
  return std::any_of(waiting_.begin(), waiting_.end(), [](const auto& queue) { return !queue.empty(); });
}

std::vector<std::byte> FakeAttachment::read_image(const abi::Slot& slot, const shm::BlockReader& block) {
  std::vector<std::byte> image(block.inline_image().begin(), block.inline_image().end());
  for (uint32_t i = 0; i < block.segment_count(); ++i) {
    const abi::Segment segment = block.segment(i);
    const shm::Mapping& region = segment.region == abi::kSendRegion ? send_ : receive_.at(segment.region).mapping;
    if (segment.region != abi::kSendRegion && !receive_.at(segment.region).heap.containing(segment.offset)) violation();
    image.resize(abi::align_up(image.size(), abi::kBlobAlign));
    image.insert(image.end(), region.data() + segment.offset, region.data() + segment.offset + segment.length);
  }
  if ((slot.flags & abi::kHold) == 0 && (block.segment_count() != 0 || slot.length > abi::kIntakeBytesMax)) violation();
  if ((slot.flags & abi::kHold) != 0) {
    abi::Slot reclaim{};
    reclaim.kind = static_cast<uint8_t>(Kind::kReclaim);
    reclaim.region = abi::kSendRegion;
    reclaim.offset = slot.offset;
    reclaim.aux = 1;
    push(0, reclaim);
  }
  return image;
}

void FakeAttachment::reclaim(uint32_t region, uint64_t offset) {
  const auto found = receive_.find(region);
  if (found == receive_.end()) return violation();
  daemon_.receive_bytes_ -= found->second.heap.size_of(offset).value_or(0);
  if (!found->second.heap.free(offset)) violation();
}

void FakeAttachment::on_slot(uint32_t shard, const abi::Slot& slot) {
  const auto kind = static_cast<Kind>(slot.kind);
  if (kind == Kind::kReclaim) {
    reclaim(slot.region, slot.offset);
    if (slot.aux == 2) reclaim(slot.region, slot.length);
    return;
  }
  if (kind == Kind::kCancel) ++daemon_.cancels_;
  if (slot.length == 0) return forward(shard, slot, nullptr, {});
  const std::vector<std::byte> copy(send_.data() + slot.offset, send_.data() + slot.offset + slot.length);
  const auto block = shm::BlockReader::parse(copy, slot.length, {});
  if (!block) return violation();
  const auto image = read_image(slot, *block);
  if (kind == Kind::kOpen && !daemon_.offers_.contains(bound_[(slot.handle - kHandleBase) / kMethodCount]))
    return on_open(shard, slot, *block, image);
  forward(shard, slot, &*block, image);
}

void FakeAttachment::lend(abi::Slot& slot, const shm::BlockReader& block, const std::vector<std::byte>& image) {
  const shm::BlockShape shape{0, block.header().metadata_bytes, block.header().details_bytes, image.size()};
  auto& [mapping, heap] = receive_.at(lend_region_);
  const auto offset = heap.allocate(shm::block_bytes(shape));
  if (!offset) return violation();
  daemon_.receive_bytes_ += *heap.size_of(*offset);
  shm::BlockWriter writer(mapping.data() + *offset, shape);
  const auto at = abi::block_layout(0, shape.metadata_bytes, shape.details_bytes, shape.inline_bytes);
  std::memcpy(mapping.data() + *offset + at.metadata, block.metadata().data(), shape.metadata_bytes);
  std::memcpy(mapping.data() + *offset + at.details, block.details().data(), shape.details_bytes);
  std::copy(image.begin(), image.end(), writer.image());
  slot.length = writer.finish();
  slot.offset = *offset;
  slot.region = lend_region_;
}

void FakeAttachment::on_open(uint32_t shard, const abi::Slot& slot, const shm::BlockReader& block, const std::vector<std::byte>& image) {
  abi::Slot status{};
  status.kind = static_cast<uint8_t>(Kind::kStatus);
  status.call_id = slot.call_id;
  switch ((slot.handle - kHandleBase) % kMethodCount) {
    case kEcho:
      status.flags = abi::kHasMessage;
      lend(status, block, image);
      break;
    case kFail: {
      status.code = static_cast<uint8_t>(StatusCode::kNotFound);
      alignas(64) std::byte bytes[256];
      shm::BlockWriter writer(bytes, {0, 0, shm::details_bytes("no such thing", {}), 0});
      writer.details("no such thing", {});
      const uint64_t length = writer.finish();
      lend(status, *shm::BlockReader::parse({bytes, length}, length, {}), {});
      break;
    }
    default: return;
  }
  push(shard, status);
}

void FakeAttachment::forward(uint32_t shard, const abi::Slot& slot, const shm::BlockReader* block, const std::vector<std::byte>& image) {
  abi::Slot out = slot;
  out.flags &= static_cast<uint8_t>(~abi::kHold);
  out.offset = out.length = out.region = 0;
  auto& routes = daemon_.routes_;
  auto route = routes.end();
  if (server_) {
    route = routes.find(slot.call_id);
  } else if (slot.kind == static_cast<uint8_t>(Kind::kOpen)) {
    const uint32_t position = (slot.handle - kHandleBase) / kMethodCount, method = (slot.handle - kHandleBase) % kMethodCount;
    FakeAttachment* server = daemon_.offers_.at(bound_[position]);
    const auto there = static_cast<uint32_t>(std::find(server->bound_.begin(), server->bound_.end(), bound_[position]) - server->bound_.begin());
    const uint32_t handle = kHandleBase + there * kMethodCount + method;
    route = routes.emplace(daemon_.next_route_++, FakeDaemon::Route{this, slot.call_id, slot.handle, shard, server, handle}).first;
  } else {
    route = std::find_if(routes.begin(), routes.end(),
                         [&](const auto& r) { return r.second.client == this && r.second.client_call == slot.call_id; });
  }
  if (route == routes.end()) return;
  FakeAttachment* to = server_ ? route->second.client : route->second.server;
  out.call_id = server_ ? route->second.client_call : route->first;
  out.handle = server_ ? route->second.client_handle : route->second.server_handle;
  if (block != nullptr) to->lend(out, *block, image);
  to->push(route->second.shard, out);
  const auto kind = static_cast<Kind>(slot.kind);
  if (kind == Kind::kStatus || kind == Kind::kCancel) routes.erase(route);
  to->flush();
}

// The server of a call went without an answer.
void FakeAttachment::lose(uint32_t shard, uint64_t call) {
  abi::Slot status{};
  status.kind = static_cast<uint8_t>(Kind::kStatus);
  status.call_id = call;
  status.code = static_cast<uint8_t>(StatusCode::kUnavailable);
  push(shard, status);
  flush();
}

uint64_t FakeAttachment::send_bytes_backed() const {
  struct stat info {};
  return ::fstat(send_fd_.get(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

// ---- the daemon

FakeDaemon::FakeDaemon(std::string directory, Options options) : directory_(std::move(directory)), options_(options) {
  ::unlink(socket_path().c_str());
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, socket_path().c_str());
  MRPC_ASSERT(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::listen(listener_.get(), 64) == 0);
  stop_fd_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  thread_ = std::thread([this] { run(); });
}

FakeDaemon::~FakeDaemon() {
  stop_ = true;
  const uint64_t one = 1;
  (void)!::write(stop_fd_.get(), &one, sizeof one);
  thread_.join();
  live_.clear();
}

void FakeDaemon::end_attachments(StatusCode code, const std::string& text) {
  inside([&] {
    while (!live_.empty()) {
      live_.back()->end(code, text);
      live_.back()->notify();
      drop(live_.back().get());
    }
  });
}

uint64_t FakeDaemon::send_bytes_backed() {
  uint64_t bytes = 0;
  inside([&] {
    for (const auto& attachment : live_) bytes += attachment->send_bytes_backed();
  });
  return bytes;
}

void FakeDaemon::add_region(uint32_t id) {
  inside([&] { for (const auto& attachment : live_) attachment->add_region(id); });
}

void FakeDaemon::retire_region(uint32_t id) {
  inside([&] { for (const auto& attachment : live_) attachment->retire_region(id); });
}

void FakeDaemon::replace_rings(RingFault fault) {
  inside([&] { for (const auto& attachment : live_) attachment->replace_rings(fault); });
}

void FakeDaemon::inside(std::function<void()> task) {
  std::future<void> done;
  {
    std::lock_guard lock(task_mutex_);
    task_ = std::packaged_task<void()>(std::move(task));
    done = task_.get_future();
  }
  const uint64_t one = 1;
  (void)!::write(stop_fd_.get(), &one, sizeof one);
  done.wait();
}

void FakeDaemon::run() {
  while (!stop_) {
    std::packaged_task<void()> task;
    {
      std::lock_guard lock(task_mutex_);
      std::swap(task, task_);
    }
    if (task.valid()) task();
    if (!turn()) sleep();
  }
}

bool FakeDaemon::turn() {
  bool any = false;
  for (size_t i = 0; i < live_.size(); ++i) any |= live_[i]->serve_rings();
  return any;
}

void FakeDaemon::sleep() {
  for (auto& attachment : live_) attachment->set_asleep(true);
  std::vector<pollfd> entries{{stop_fd_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  bool work = false;
  for (auto& attachment : live_) {
    work |= attachment->has_work();
    entries.push_back({attachment->fd(), POLLIN, 0});
  }
  for (auto& attachment : live_)
    for (const int bell : attachment->doorbells()) entries.push_back({bell, POLLIN, 0});
  ::poll(entries.data(), entries.size(), work ? 1 : -1);
  for (auto& attachment : live_) attachment->set_asleep(false);
  uint64_t count;
  for (size_t i = 2 + live_.size(); i < entries.size(); ++i)
    if ((entries[i].revents & POLLIN) != 0 && ::read(entries[i].fd, &count, sizeof count) > 0) ++doorbells_;
  if ((entries[0].revents & POLLIN) != 0) (void)!::read(stop_fd_.get(), &count, sizeof count);
  std::vector<FakeAttachment*> gone;
  for (size_t i = 0; i < live_.size(); ++i)
    if (entries[2 + i].revents != 0 && !live_[i]->read_control()) gone.push_back(live_[i].get());
  for (FakeAttachment* attachment : gone) drop(attachment);
  if ((entries[1].revents & POLLIN) != 0) accept_one();
}

void FakeDaemon::accept_one() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket) return;
  ++attachments_;
  live_.push_back(std::make_unique<FakeAttachment>(*this, std::move(socket)));
}

void FakeDaemon::drop(FakeAttachment* attachment) {
  std::erase_if(offers_, [&](const auto& offer) { return offer.second == attachment; });
  for (const auto& [call, route] : routes_)
    if (route.server == attachment && route.client != attachment) route.client->lose(route.shard, route.client_call);
  std::erase_if(routes_, [&](const auto& route) { return route.second.client == attachment || route.second.server == attachment; });
  std::erase_if(live_, [&](const auto& one) { return one.get() == attachment; });
}

}  // namespace mrpc::test
