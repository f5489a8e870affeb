#include "dataplane/shard.h"

#include <algorithm>
#include <cstring>

namespace mrpc::dataplane {
namespace {

constexpr size_t kFramesPerTurn = 512;
// For so long after an urgent call came, turns are kept short, for the next one and for the reply.
constexpr uint64_t kUrgentLingerNs = 100'000'000;
constexpr uint64_t kUrgentPieceBytes = 32 * 1024;
constexpr uint64_t kParkedPollNs = 1'000'000;  // a full ring does not ring when it empties

}  // namespace

Shard::Shard(uint32_t index, const Config& config, World& world, const EngineCatalog& catalog, ShardObserver& observer)
    : ShardCore(index, config, world, catalog), observer_(observer), clients_(*this), servers_(*this) {}

Shard::~Shard() = default;

void Shard::post(std::function<void()> command) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(std::move(command));
    has_commands_.store(true, std::memory_order_release);
  }
  observer_.on_posted(index);
}

bool Shard::turn() {
  now_ns = world.now_ns();
  counters.turns += 1;
  bool worked = run_commands();
  worked |= orders_calls ? take_in_by_level() : take_in();
  worked |= drain_local();
  if (remote_) worked |= drain_remote();
  worked |= expire_timers();
  worked |= refresh_routes();
  worked |= drain_local();
  worked |= pump_outboxes();
  worked |= pump_ports();
  return_released_blocks();
  flush();
  if (now_ns >= trim_at_ns_) trim_idle_ports();
  else if (worked && trim_at_ns_ == UINT64_MAX) trim_at_ns_ = now_ns + Port::kIdleNs;
  return worked;
}

bool Shard::run_commands() {
  if (!has_commands_.load(std::memory_order_acquire)) return false;
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(commands_mutex_);
    commands.swap(commands_);
    has_commands_.store(false, std::memory_order_relaxed);
  }
  for (auto& command : commands) command();
  return true;
}

bool Shard::take_in() {
  bool worked = false;
  for (size_t i = 0; i < active_.size(); ++i)
    if (Port* port = find_port(active_[i]); port != nullptr && !port->closing) worked |= intake(*port, config.intake_slots_max) > 0;
  return worked;
}

// The more urgent first, and the others hold back in a turn in which it brought something.
bool Shard::take_in_by_level() {
  bool worked = false;
  for (size_t level = 0; level < kQosLevels; ++level) {
    const bool urgent_worked = worked;
    for (size_t i = 0; i < active_.size(); ++i) {
      Port* port = find_port(active_[i]);
      if (port == nullptr || port->closing || static_cast<size_t>(port->door.level()) != level) continue;
      const uint32_t slots_max = port->door.allowance(config.intake_slots_max, urgent_worked);
      const uint32_t taken = intake(*port, slots_max);
      port->door.charge(taken, taken < slots_max);
      if (taken > 0 && port->door.level() == QosLevel::kUrgent) urgent_at_ns_ = now_ns;
      worked |= taken > 0;
    }
  }
  return worked;
}

uint32_t Shard::intake(Port& port, uint32_t slots_max) {
  uint32_t taken = 0;
  abi::Slot slot;
  std::string why = "its ring's indexes cannot be";
  while (taken < slots_max && port.long_jobs == 0 && !port.paused) {
    const auto state = port.submit.pop(slot);
    if (state == shm::RingState::kEmpty) break;
    if (state == shm::RingState::kBroken) return violation(port, why), taken + 1;
    taken += 1;
    counters.slots += 1;
    if (slot.length > transport::kChunkBytes && fetch_elsewhere(port, slot)) break;
    if (!handle(port, slot, why)) return violation(port, why), taken;
  }
  if (taken > 0) touch(port);
  return taken;
}

// False: the slot breaks the protocol, and `why` says how.
bool Shard::handle(Port& port, const abi::Slot& slot, std::string& why) {
  why = "reserved fields of a slot are set";
  if (slot.reserved0 != 0 || slot.reserved1 != 0 || slot.reserved2 != 0) return false;
  if (slot.kind == static_cast<uint8_t>(abi::SlotKind::kReclaim)) {
    why = "a receive block was given back that was not out";
    return (slot.aux == 1 || slot.aux == 2) && slot.region == abi::kReceiveRegion && port.reclaim(slot.offset) &&
           (slot.aux == 1 || port.reclaim(slot.length));
  }
  // A handle may be younger than this turn's commands: its kBound was posted before it was answered.
  if (slot.kind == static_cast<uint8_t>(abi::SlotKind::kOpen) && port.methods.count(slot.handle) == 0) run_commands();
  return port.attachment().role == abi::Role::kClient ? clients_.on_slot(port, slot, why) : servers_.on_slot(port, slot, why);
}

// Has a block that is too long for one turn copied by the worker, and handles its slot then; the port's intake waits meanwhile. False
// when there is nothing to copy: the slot is handled now, and refused for what is wrong with it.
bool Shard::fetch_elsewhere(Port& port, const abi::Slot& slot) {
  const bool carries = slot.kind != static_cast<uint8_t>(abi::SlotKind::kReclaim) && (slot.flags & abi::kHold) != 0;
  const std::byte* at = port.send_bytes(slot.offset, slot.length);
  if (!carries || at == nullptr || slot.length > block_bytes_max()) return false;
  const auto method = port.methods.find(slot.handle);
  const bool opens = slot.kind == static_cast<uint8_t>(abi::SlotKind::kOpen) && method != port.methods.end();
  const size_t prefix_bytes = opens ? method->second->prefix.size() : 0;
  auto bytes = std::make_shared<std::vector<std::byte>>();
  const auto copy = [slot, at, prefix_bytes, bytes] {
    bytes->resize(prefix_bytes + slot.length);
    std::memcpy(bytes->data() + prefix_bytes, at, slot.length);
  };
  run_long(port, copy, [this, slot, bytes](Port& still) {
    still.fetched = std::move(*bytes);
    std::string why;
    if (!still.closing && !handle(still, slot, why)) violation(still, why);
    still.fetched.clear();
    touch(still);
  });
  return true;
}

bool Shard::drain_local() {
  return local_.drain(
             kFramesPerTurn, [this](transport::LinkId link, transport::Frame&& frame) { on_frame(link, std::move(frame)); },
             [](transport::Event&&) {}) != 0;
}

void Shard::on_frame(transport::LinkId link, transport::Frame&& frame) {
  if (hold_back(link, frame)) return;
  counters.frames += 1;
  static const std::string kNoPeer;
  if (link == local_server_end) return servers_.on_frame(link, kNoPeer, std::move(frame));
  if (link == local_client_end) return clients_.on_frame(link, std::move(frame));
  const auto peer = peers_.find(link);
  if (peer == peers_.end()) return;
  if (frame.kind == transport::FrameKind::kAnnounce) return on_announcement(link, frame.head);
  if (peer->second.accepted) servers_.on_frame(link, peer->second.node, std::move(frame));
  else clients_.on_frame(link, std::move(frame));
}

void Shard::on_unsent(transport::LinkId link, uint64_t call) {
  const auto peer = peers_.find(link);
  if (peer == peers_.end()) return;
  if (peer->second.accepted) servers_.on_unsent(link, call);
  else clients_.on_unsent(link, call);
}

bool Shard::drain_remote() {
  // What is being checked elsewhere is bounded by taking no more meanwhile: the peer then runs out of window.
  const size_t frames_max = checking_bytes_ > config.parked_bytes_max ? 0 : kFramesPerTurn;
  return remote_->poll(now_ns, frames_max, [this](transport::Event&& event) { on_remote_event(std::move(event)); }) != 0;
}

bool Shard::pump_ports() {
  bool moved = false;
  with_deliveries_ = 0;
  // What is urgent waits for whole turns, so that each port gets a small piece while it comes.
  const bool urgent = urgent_at_ns_ != 0 && now_ns - urgent_at_ns_ < kUrgentLingerNs;
  for (auto& [id, port] : ports_) {
    if (!port->has_deliveries()) continue;
    uint64_t budget_bytes = urgent ? kUrgentPieceBytes : transport::kChunkBytes;
    if (port->pump(budget_bytes)) {
      moved = true;
      touch(*port);
    }
    if (port->broken) violation(*port, "its ring's indexes cannot be");
    pause_when_slow(*port);
    with_deliveries_ += port->has_deliveries();
  }
  return moved;
}

// An application that does not look at its completions is merely slow: its submissions wait until it does. While its ring has room they
// are taken, since what it gives back comes among them; what it may have open bounds what can still come to it. Beyond that it ends.
void Shard::pause_when_slow(Port& port) {
  const bool pauses = port.untaken() > config.untaken_max && port.ring_full();
  if (std::exchange(port.paused, pauses) && !pauses) ring(port.id());
  if (port.untaken() > config.untaken_limit) violation(port, "it takes no completions, and too many wait");
}

bool Shard::expire_timers() {
  bool worked = false;
  while (!timers_.empty() && timers_.top().at_ns <= now_ns) {
    const Timer timer = timers_.top();
    timers_.pop();
    switch (timer.side) {
      case Side::kClient: clients_.on_deadline(timer.call); break;
      case Side::kServer: servers_.on_deadline(timer.call); break;
      case Side::kClientWaiting: clients_.resume(timer.call, false); break;
      case Side::kServerWaiting: servers_.resume(timer.call, false); break;
    }
    worked = true;
  }
  return worked;
}

// An idle daemon stops looking once everything has been given back.
void Shard::trim_idle_ports() {
  uint64_t after_ns = UINT64_MAX;
  for (auto& [id, port] : ports_) after_ns = std::min(after_ns, port->trim_when_idle());
  trim_at_ns_ = after_ns == UINT64_MAX ? UINT64_MAX : now_ns + after_ns;
}

// Shows applications what the turn did, once each.
void Shard::flush() {
  for (const uint32_t id : dirty_) {
    Port* port = find_port(id);
    if (port == nullptr) continue;
    port->dirty = false;
    if (!port->publish()) continue;
    ring(id);  // it has something to answer now, and need not ring a shard that is awake
    world.wake(port->attachment());
  }
  dirty_.clear();
}

void Shard::violation(Port& port, const std::string& text) {
  if (std::exchange(port.closing, true)) return;
  counters.violations += 1;
  observer_.on_violation(port.id(), text);
}

void Shard::add_port(std::shared_ptr<Attachment> attachment) {
  const uint32_t id = attachment->id;
  const int doorbell = attachment->doorbell(index);
  ports_.emplace(id, std::make_unique<Port>(std::move(attachment), index, config));
  observer_.on_port(index, id, doorbell, true);
  ring(id);  // what it submitted before the doorbell was watched
}

void Shard::remove_port(uint32_t id, const std::string& reason) {
  Port* port = find_port(id);
  if (port == nullptr) return;
  port->closing = true;
  for (const auto& [name, entry] : directory.entries())
    for (const auto& endpoint : entry->endpoints)
      if (endpoint->port == port) announce_everywhere(false, *endpoint);
  directory.remove_port(port);
  clients_.on_port_gone(*port);
  servers_.on_port_gone(*port, reason);
  drain_local();  // nothing may be under way to or from a port that is no more
  observer_.on_port(index, id, port->attachment().doorbell(index), false);
  std::erase(active_, id);
  ports_.erase(id);
}

void Shard::bind(uint32_t port_id, uint32_t handle_base, std::vector<std::shared_ptr<BoundMethod>> methods) {
  Port* port = find_port(port_id);
  if (port == nullptr) return;
  for (uint32_t i = 0; i < methods.size(); ++i) port->methods.emplace(handle_base + i, std::move(methods[i]));
}

void Shard::offer(uint32_t port_id, uint32_t handle_base, std::shared_ptr<const ServiceVariant> variant) {
  Port* port = find_port(port_id);
  if (port == nullptr) return;
  ServiceEntry& entry = directory.entry(variant->layout->full_name);
  auto endpoint = std::make_shared<Endpoint>();
  endpoint->id = port_id;
  endpoint->port = port;
  endpoint->app = port->attachment().identity.app;
  endpoint->node = config.node;
  endpoint->handle_base = handle_base;
  endpoint->variant = variant_of(entry, variant->schema);
  hide_uncovered(*endpoint);
  if (!endpoint->hidden) announce_everywhere(true, *endpoint);
  entry.endpoints.push_back(std::move(endpoint));
}

void Shard::withdraw(uint32_t port_id, const std::string& service) {
  ServiceEntry* entry = directory.find(service);
  if (entry == nullptr) return;
  std::erase_if(entry->endpoints, [&](const auto& endpoint) {
    if (endpoint->id != port_id) return false;
    announce_everywhere(false, *endpoint);
    return true;
  });
}

// Endpoints of one schema share a variant, so that what was resolved for one of them holds for all.
std::shared_ptr<const ServiceVariant> Shard::variant_of(ServiceEntry& entry, std::shared_ptr<const message::Schema> schema) {
  const message::ServiceLayout* layout = schema->service(entry.name);
  MRPC_ASSERT(layout != nullptr);
  for (const auto& endpoint : entry.endpoints)
    if (endpoint->variant->fingerprint() == layout->fingerprint) return endpoint->variant;
  return std::make_shared<ServiceVariant>(ServiceVariant{std::move(schema), layout});
}

uint64_t Shard::apply_chains(std::shared_ptr<const ChainSet> set) {
  const uint64_t before = world.now_ns();
  chains.swap(set);
  orders_calls = chains->orders_calls();
  refresh_.clear();
  for (auto& [key, route] : routes) refresh_.push_back(route.get());
  refresh_at_ = 0;
  show_covered();
  return world.now_ns() - before;
}

// Gives routes that see no calls their new chains too, a few in each turn: the old ones hold programs, and snapshots show what is in force.
bool Shard::refresh_routes() {
  constexpr size_t kRoutesPerTurn = 8;
  for (size_t i = 0; i < kRoutesPerTurn && refreshing(); ++i) {
    Route& route = *refresh_[refresh_at_++];
    const ServiceEntry* entry = directory.find(route.service);
    std::erase_if(route.chains, [&](const auto& known) {
      for (const auto& endpoint : entry == nullptr ? std::vector<std::shared_ptr<Endpoint>>{} : entry->endpoints)
        if (endpoint->variant->fingerprint() == known.first.first) return false;
      return true;
    });
    for (auto& [key, chain] : std::map(route.chains)) {
      for (const auto& endpoint : entry->endpoints) {
        if (endpoint->variant->fingerprint() != key.first) continue;
        const int method = endpoint->variant->method_index(route.method);
        if (method >= 0) chain_for(route, *endpoint->variant, endpoint->variant->layout->methods[static_cast<size_t>(method)], key.second);
        break;
      }
    }
  }
  return refreshing();
}

// No call may choose an endpoint whose schema the policies in force have no programs for.
void Shard::hide_uncovered(Endpoint& endpoint) {
  endpoint.hidden = !chains->covers(*endpoint.variant->layout, endpoint.place()) ||
                    (!endpoint.remote() && !chains->covers(*endpoint.variant->layout, Place::kEndpoint));
  // Every shard hears of every offer; one of them tells.
  if (endpoint.hidden && index == 0) observer_.on_program_needed(endpoint.variant->layout->full_name, endpoint.variant->fingerprint());
}

void Shard::show_covered() {
  for (const auto& [name, entry] : directory.entries()) {
    for (const auto& endpoint : entry->endpoints) {
      const bool was_hidden = endpoint->hidden;
      hide_uncovered(*endpoint);
      if (endpoint->hidden != was_hidden && !endpoint->remote()) announce_everywhere(was_hidden, *endpoint);
    }
  }
}

void Shard::log(std::string_view policy, const mrpc_call& call, std::string_view text) {
  observer_.on_log(policy, to_view(call.client), to_view(call.service), text);
}

void Shard::try_again(const std::vector<ReplyStore::CallKey>& calls) {
  for (const auto& key : calls) {
    if ((key.first & ~kServerCall) == index) post([this, key] { resume(key); });
    else if (try_again_) try_again_(key);
  }
}

void Shard::resume(ReplyStore::CallKey call) {
  if ((call.first & kServerCall) != 0) servers_.resume(call.second, true);
  else clients_.resume(call.second, true);
}

void Shard::ring(uint32_t id) {
  Port* port = find_port(id);
  if (port == nullptr || port->active) return;
  port->active = true;
  port->attachment().rings.daemon_shard(index).asleep.store(0, std::memory_order_relaxed);
  active_.push_back(id);
}

bool Shard::prepare_sleep() {
  std::vector<uint32_t> awake;
  for (const uint32_t id : active_)
    if (Port* port = find_port(id)) port->attachment().rings.daemon_shard(index).asleep.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (const uint32_t id : active_) {
    Port* port = find_port(id);
    if (port == nullptr) continue;
    port->active = !port->closing && port->long_jobs == 0 && !port->paused && !port->submit.empty();
    if (!port->active) continue;
    port->attachment().rings.daemon_shard(index).asleep.store(0, std::memory_order_relaxed);
    awake.push_back(id);
  }
  active_.swap(awake);
  counters.sleeps += 1;
  return active_.empty() && !has_commands_.load(std::memory_order_acquire) && !local_.has_work();
}

uint64_t Shard::next_wake_ns() const {
  uint64_t at_ns = timers_.empty() ? UINT64_MAX : timers_.top().at_ns;
  if (remote_) at_ns = std::min(at_ns, remote_->next_timer_ns());
  at_ns = std::min(at_ns, trim_at_ns_);
  if (with_deliveries_ > 0 || !outboxes_.empty()) at_ns = std::min(at_ns, now_ns + kParkedPollNs);
  return at_ns;
}

}  // namespace mrpc::dataplane
