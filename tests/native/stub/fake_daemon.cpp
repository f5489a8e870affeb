#include "stub/fake_daemon.h"

#include <poll.h>
#include <sys/eventfd.h>
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

std::span<const std::byte> text_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace

class FakeAttachment {
 public:
  FakeAttachment(FakeDaemon& daemon, Fd socket) : daemon_(daemon), socket_(std::move(socket)), heap_(kHeapBytes, kHeapBytes, {}) {}
  ~FakeAttachment() { daemon_.receive_bytes_ -= heap_.bytes_in_use(); }

  int fd() const { return socket_.get(); }
  bool attached() const { return attached_; }
  const std::vector<Fd>& doorbells() const { return doorbells_; }
  bool read_control();                // false: gone
  bool serve_rings();                 // true: did something
  void set_asleep(bool asleep);
  bool has_work() const;
  void end(StatusCode code, const std::string& text);
  void push(uint32_t shard, const abi::Slot& slot);
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
  void reclaim(uint64_t offset);
  void violation() { ++daemon_.violations_; }

  FakeDaemon& daemon_;
  Fd socket_;
  shm::ControlAssembler assembler_;
  bool attached_ = false, server_ = false;
  std::vector<std::string> bound_;  // services by position, handle = kHandleBase + position * kMethodCount + method
  shm::Mapping app_, rings_, send_, receive_;
  shm::RingRegions regions_;
  Fd wake_fd_, send_fd_;
  std::vector<Fd> doorbells_;
  std::vector<shm::RingConsumer> submissions_;
  std::vector<shm::RingProducer> completions_;
  std::vector<std::deque<abi::Slot>> waiting_;  // for room
  shm::Heap heap_;
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
    case abi::ControlKind::kWithdraw: kind = abi::ControlKind::kWithdrawn; break;
    default: shm::append_pod(body, abi::ControlError{static_cast<uint32_t>(StatusCode::kInvalidArgument), 0});
  }
  (void)shm::send_control(socket_.get(), kind, request.request_id, body);
}

void FakeAttachment::welcome(uint32_t request_id, const shm::ControlMessage& message) {
  const auto hello = *message.head<abi::Hello>();
  const auto texts = message.tail(sizeof hello);
  const std::string token(reinterpret_cast<const char*>(texts.data()) + hello.label_bytes, hello.token_bytes);
  if (!token.empty() && token == daemon_.options_.refuse_token) return end(StatusCode::kUnauthenticated, "token refused");
  const uint32_t shards = daemon_.options_.shards, slots = daemon_.options_.ring_slots;
  server_ = hello.role == static_cast<uint32_t>(abi::Role::kServer);
  std::vector<Fd> fds;
  const auto make = [&](size_t bytes, shm::Mapping& mapping, bool read_only) {
    Fd fd = shm::create_region("test", bytes).value();
    mapping = shm::Mapping::map(fd.get(), bytes, shm::Access::kReadWrite).value();
    fds.push_back(read_only ? shm::reopen_read_only(fd.get()).value() : std::move(fd));
  };
  make(abi::ring_region_bytes(shards, slots), app_, false);
  make(abi::ring_region_bytes(shards, slots), rings_, true);
  wake_fd_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  fds.emplace_back(::dup(wake_fd_.get()));
  make(kHeapBytes, send_, false);
  send_fd_.reset(::dup(fds.back().get()));
  make(kHeapBytes, receive_, true);
  regions_ = {app_.data(), rings_.data(), shards, slots};
  waiting_.resize(shards);
  for (uint32_t i = 0; i < shards; ++i) {
    doorbells_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    fds.emplace_back(::dup(doorbells_.back().get()));
    abi::DaemonShard& ours = regions_.daemon_shard(i);
    abi::AppShard& theirs = regions_.app_shard(i);
    submissions_.emplace_back(regions_.submit_slots(i), slots, &theirs.submit_tail, &ours.submit_head);
    completions_.emplace_back(regions_.complete_slots(i), slots, &ours.complete_tail, &theirs.complete_head);
  }
  abi::Welcome welcome{};
  welcome.level = 1;
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
  std::vector<int> numbers;
  for (const Fd& fd : fds) numbers.push_back(fd.get());
  attached_ = shm::send_control(socket_.get(), abi::ControlKind::kWelcome, request_id, body, numbers).ok();
}

void FakeAttachment::end(StatusCode code, const std::string& text) {
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ControlError{static_cast<uint32_t>(code), 0});
  const auto bytes = text_bytes(text);
  body.insert(body.end(), bytes.begin(), bytes.end());
  (void)shm::send_control(socket_.get(), abi::ControlKind::kError, 0, body);
  if (attached_) regions_.daemon_control().closed = 1;
}

// ---- rings

void FakeAttachment::push(uint32_t shard, const abi::Slot& slot) { waiting_[shard].push_back(slot); }

void FakeAttachment::flush() {
  if (!attached_) return;
  bool any = false;
  for (uint32_t i = 0; i < regions_.shards; ++i) {
    while (!waiting_[i].empty() && completions_[i].room() == shm::RingState::kOk) {
      completions_[i].push(waiting_[i].front());
      waiting_[i].pop_front();
      any = true;
    }
    completions_[i].publish();
  }
  if (any) notify();
}

void FakeAttachment::notify() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (regions_.app_control().sleepers != 0) {
    ++regions_.daemon_control().wake_sequence;
    shm::futex_wake(&regions_.daemon_control().wake_sequence, 1);
  }
  const uint64_t one = 1;
  if (regions_.app_control().poll_armed != 0) (void)!::write(wake_fd_.get(), &one, sizeof one);
}

bool FakeAttachment::serve_rings() {
  bool any = false;
  for (uint32_t i = 0; attached_ && i < regions_.shards; ++i) {
    abi::Slot slot;
    for (int n = 0; n < 16 && submissions_[i].pop(slot) == shm::RingState::kOk; ++n) {
      any = true;
      on_slot(i, slot);  // copied before the slot is passed: small blocks are free then
    }
    submissions_[i].publish();
  }
  flush();
  return any;
}

void FakeAttachment::set_asleep(bool asleep) {
  for (uint32_t i = 0; attached_ && i < regions_.shards; ++i) regions_.daemon_shard(i).asleep = asleep ? 1 : 0;
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

bool FakeAttachment::has_work() const {
  for (const auto& ring : submissions_)
    if (!ring.empty()) return true;
  return std::any_of(waiting_.begin(), waiting_.end(), [](const auto& queue) { return !queue.empty(); });
}

std::vector<std::byte> FakeAttachment::read_image(const abi::Slot& slot, const shm::BlockReader& block) {
  std::vector<std::byte> image(block.inline_image().begin(), block.inline_image().end());
  for (uint32_t i = 0; i < block.segment_count(); ++i) {
    const abi::Segment segment = block.segment(i);
    const shm::Mapping& region = segment.region == abi::kSendRegion ? send_ : receive_;
    if (segment.region == abi::kReceiveRegion && !heap_.containing(segment.offset)) violation();
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

void FakeAttachment::reclaim(uint64_t offset) {
  daemon_.receive_bytes_ -= heap_.size_of(offset).value_or(0);
  if (!heap_.free(offset)) violation();
}

void FakeAttachment::on_slot(uint32_t shard, const abi::Slot& slot) {
  const auto kind = static_cast<Kind>(slot.kind);
  if (kind == Kind::kReclaim) {
    reclaim(slot.offset);
    if (slot.aux == 2) reclaim(slot.length);
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
  const auto offset = heap_.allocate(shm::block_bytes(shape));
  if (!offset) return violation();
  daemon_.receive_bytes_ += *heap_.size_of(*offset);
  shm::BlockWriter writer(receive_.data() + *offset, shape);
  const auto at = abi::block_layout(0, shape.metadata_bytes, shape.details_bytes, shape.inline_bytes);
  std::memcpy(receive_.data() + *offset + at.metadata, block.metadata().data(), shape.metadata_bytes);
  std::memcpy(receive_.data() + *offset + at.details, block.details().data(), shape.details_bytes);
  std::copy(image.begin(), image.end(), writer.image());
  slot.length = writer.finish();
  slot.offset = *offset;
  slot.region = abi::kReceiveRegion;
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
    for (const Fd& bell : attachment->doorbells()) entries.push_back({bell.get(), POLLIN, 0});
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
  std::erase_if(routes_, [&](const auto& route) { return route.second.client == attachment || route.second.server == attachment; });
  std::erase_if(live_, [&](const auto& one) { return one.get() == attachment; });
}

}  // namespace mrpc::test
