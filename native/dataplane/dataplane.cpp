#include "dataplane/dataplane.h"

#include <x86intrin.h>

#include <algorithm>

namespace mrpc::dataplane {
namespace {

// How fast the time-stamp counter runs, over a short busy wait.
double measure_cycles_per_ns() {
  const uint64_t start_ns = monotonic_ns(), start = __rdtsc();
  while (monotonic_ns() - start_ns < 2'000'000) {
  }
  return static_cast<double>(__rdtsc() - start) / static_cast<double>(monotonic_ns() - start_ns);
}

}  // namespace

Dataplane::Dataplane(Config config) : config_(std::move(config)), attach_server_(config_, registrar_, *this, events_) {
  for (uint32_t i = 0; i < config_.shards; ++i)
    shards_.push_back(std::make_unique<ShardThread>(i, config_, world_, catalog_, *this));
  for (auto& from : shards_)
    from->shard().set_hand_over([this](uint32_t shard, int fd, std::vector<std::byte> received) {
      Shard& to = shards_[shard % shards_.size()]->shard();
      to.post([&to, fd, received = std::move(received)]() mutable { to.adopt(fd, std::move(received)); });
    });
  for (auto& from : shards_)
    from->shard().set_try_again([this](ReplyStore::CallKey key) {
      Shard& to = shards_[(key.first & ~kServerCall) % shards_.size()]->shard();
      to.post([&to, key] { to.resume(key); });
    });
}

Dataplane::~Dataplane() {
  stop(0);
  world_.finish();
}

Status Dataplane::start() {
  cycles_per_ns_ = measure_cycles_per_ns();
  if (!taken_over_) started_ns_ = monotonic_ns();
  if (Status bound = attach_server_.start(); !bound) return bound;
  for (auto& thread : shards_) {
    if (taken_over_) thread->shard().begin();
    thread->start();
  }
  running_ = true;
  return ok_status();
}

void Dataplane::stop(uint64_t grace_ns) {
  if (!std::exchange(running_, false)) return;
  for (auto& thread : shards_) thread->shard().post([&shard = thread->shard()] { shard.draining = true; });
  attach_server_.drain();
  wait_idle(grace_ns);
  attach_server_.stop();
  for (auto& thread : shards_) thread->stop();
}

void Dataplane::wait_idle(uint64_t grace_ns) {
  const uint64_t until_ns = monotonic_ns() + grace_ns;
  for (;;) {
    size_t open = 0;
    for (auto& thread : shards_)
      thread->run_and_wait([&] { open += thread->shard().clients().open_calls() + thread->shard().servers().open_calls(); });
    if (open == 0 || monotonic_ns() >= until_ns) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

Result<std::string> Dataplane::listen(const std::string& address) {
  const std::lock_guard lock(operator_mutex_);
  Result<std::string> bound = internal_error("no shard");
  shards_[0]->run_and_wait([&] { bound = shards_[0]->shard().listen(address); });
  return bound;
}

Result<uint64_t> Dataplane::add_peer(const std::string& address) {
  const std::lock_guard lock(operator_mutex_);
  std::vector<uint64_t> links;
  for (auto& thread : shards_) {
    Result<uint64_t> link = internal_error("no shard");
    thread->run_and_wait([&] { link = thread->shard().connect_peer(address); });
    if (!link) return link.error();
    links.push_back(*link);
  }
  const uint64_t id = peers_.empty() ? 1 : peers_.rbegin()->first + 1;
  peers_.emplace(id, std::move(links));
  return id;
}

void Dataplane::remove_peer(uint64_t id) {
  const std::lock_guard lock(operator_mutex_);
  const auto known = peers_.find(id);
  if (known == peers_.end()) return;
  for (size_t i = 0; i < shards_.size(); ++i)
    shards_[i]->run_and_wait([&] { shards_[i]->shard().remove_peer(known->second[i]); });
  peers_.erase(known);
}

Snapshot Dataplane::snapshot() {
  Snapshot all;
  all.uptime_ns = monotonic_ns() - started_ns_;
  for (auto& attachment : attach_server_.attachments()) all.attachments.push_back({std::move(attachment), 0});
  const std::lock_guard lock(operator_mutex_);
  all.epoch = chains_->epoch;
  all.pauses = pauses_;
  std::erase_if(retired_, [](const auto& instance) { return instance.use_count() == 1; });
  for (auto& thread : shards_) thread->run_and_wait([&] { collect(*thread, all); });
  return all;
}

void Dataplane::collect(ShardThread& thread, Snapshot& into) {
  Shard& shard = thread.shard();
  for (AttachmentView& view : into.attachments) {
    const auto port = shard.ports().find(view.attachment->id);
    if (port != shard.ports().end()) view.open_calls += port->second->client_calls.size() + port->second->server_calls.size();
  }
  for (const auto& [key, route] : shard.routes) {
    std::vector<PolicyView> policies;
    if (!route->chains.empty())
      for (const Stage& stage : route->chains.rbegin()->second->stages())
        policies.push_back({stage.chain, stage.policy, stage.use, stage.evaluations, stage.denied,
                            static_cast<uint64_t>(static_cast<double>(stage.cycles) / cycles_per_ns_), stage.faults(),
                            stage.instance ? stage.instance->rows() : 0, stage.instance ? stage.instance->evicted() : 0});
    for (const auto& [server, stats] : route->servers)
      into.edges.push_back({route->client, server, route->service, route->method, *stats, policies});
  }
  ShardView view{shard.index, shard.counters, shard.clients().open_calls(), shard.servers().open_calls(), {}};
  if (shard.tcp_stats() != nullptr) view.tcp = *shard.tcp_stats();
  into.shards.push_back(view);
  if (shard.index != 0) return;
  into.peers = shard.peers();
  for (const auto& [name, entry] : shard.directory.entries()) {
    for (const auto& endpoint : entry->endpoints) {
      EndpointView seen{name, endpoint->app, endpoint->node, endpoint->id, endpoint->open_calls, {}};
      for (const auto& method : endpoint->variant->layout->methods) seen.methods.push_back(method.name);
      into.endpoints.push_back(std::move(seen));
    }
  }
}

std::shared_ptr<const message::Schema> Dataplane::schema(const std::string& service) {
  if (auto local = attach_server_.schema_of(service)) return local;
  std::shared_ptr<const message::Schema> found;
  shards_[0]->run_and_wait([&] { found = shards_[0]->shard().schema_of(service); });
  return found;
}

std::vector<std::shared_ptr<const ServiceVariant>> Dataplane::schemas() {
  std::map<std::pair<std::string, uint64_t>, std::shared_ptr<const ServiceVariant>> found;
  shards_[0]->run_and_wait([&] {
    for (const auto& [name, entry] : shards_[0]->shard().directory.entries())
      for (const auto& endpoint : entry->endpoints) found.try_emplace({name, endpoint->variant->fingerprint()}, endpoint->variant);
  });
  std::vector<std::shared_ptr<const ServiceVariant>> out;
  for (auto& [key, variant] : found) out.push_back(std::move(variant));
  return out;
}

void Dataplane::on_violation(uint32_t attachment, const std::string& text) {
  attach_server_.end_attachment(attachment, {StatusCode::kInvalidArgument, "the shared-memory protocol was broken: " + text});
}

void Dataplane::on_event(const std::string& kind, const std::string& peer, const std::string& service, const std::string& text) {
  ControlEvent event;
  event.kind = kind;
  event.peer = peer;
  event.service = service;
  event.text = text;
  events_.push(std::move(event));
}

void Dataplane::on_port(uint32_t shard, uint32_t attachment, int doorbell, bool added) { shards_[shard]->watch(attachment, doorbell, added); }

void Dataplane::on_posted(uint32_t shard) { shards_[shard]->wake(); }

void Dataplane::add_port(std::shared_ptr<Attachment> attachment) {
  for (auto& thread : shards_) thread->shard().post([&shard = thread->shard(), attachment] { shard.add_port(attachment); });
}

void Dataplane::remove_port(std::shared_ptr<Attachment> attachment, const std::string& reason) {
  // The attachment is kept until every shard has let go of it.
  for (auto& thread : shards_)
    thread->shard().post([&shard = thread->shard(), attachment, reason] { shard.remove_port(attachment->id, reason); });
}

void Dataplane::bind(uint32_t port, uint32_t shard, uint32_t handle_base, std::vector<std::shared_ptr<BoundMethod>> methods) {
  Shard& to = shards_[shard]->shard();
  to.post([&to, port, handle_base, methods = std::move(methods)]() mutable { to.bind(port, handle_base, std::move(methods)); });
}

void Dataplane::offer(uint32_t port, uint32_t handle_base, std::shared_ptr<const ServiceVariant> variant) {
  for (auto& thread : shards_)
    thread->shard().post([&shard = thread->shard(), port, handle_base, variant] { shard.offer(port, handle_base, variant); });
}

void Dataplane::withdraw(uint32_t port, const std::string& service) {
  for (auto& thread : shards_) thread->shard().post([&shard = thread->shard(), port, service] { shard.withdraw(port, service); });
}

}  // namespace mrpc::dataplane
