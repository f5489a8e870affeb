#include "dataplane/simulation.h"

#include <cstdio>

namespace mrpc::dataplane::testing {
namespace {

constexpr uint64_t kMs = 1'000'000;
constexpr int kSteps = 400, kClients = 2;
constexpr uint64_t kCallsMax = 60;  // of one client: what it sends is never overwritten

Config config_of(Draw& draw, const std::string& node, uint32_t shards) {
  Config config;
  config.node = node;
  config.shards = shards;
  config.ring_slots = draw.one_in(2) ? 128 : 1024;
  config.send_quota_bytes = 32 << 20;
  config.receive_quota_bytes = draw.one_in(3) ? 2 << 20 : 32 << 20;
  config.parked_calls_max = draw.one_in(3) ? 6 : 4096;
  config.parked_bytes_max = draw.one_in(3) ? 1 << 20 : 64 << 20;
  config.message_bytes_max = draw.one_in(3) ? 256 << 10 : 64 << 20;
  config.layout_version += node == "near" && draw.one_in(3);
  return config;
}

size_t frames_of(Draw& draw) { return draw.one_in(3) ? 3 : 16384; }

transport::FakeFaults faults_of(Draw& draw) {
  transport::FakeFaults faults;
  faults.seed = draw.next() | 1;
  faults.loss_per_mille = draw.one_in(2) ? 0 : static_cast<uint32_t>(draw.below(200));
  faults.duplicate_per_mille = draw.one_in(2) ? 0 : static_cast<uint32_t>(draw.below(200));
  return faults;
}

std::string client_of(const std::string& name) { return name.substr(0, name.find('-')); }
uint64_t number_of(const std::string& name) { return std::stoull(name.substr(name.find('-') + 1)); }
std::string call_of(const std::string& name) { return name.substr(0, name.find('/')); }

}  // namespace

Simulation::Simulation(uint64_t seed, bool traced)
    : draw_(seed), traced_(traced), shards_(1 + static_cast<uint32_t>(draw_.below(2))), ordered_(draw_.one_in(4)), network_(faults_of(draw_)) {
  near_ = std::make_unique<SimDaemon>(network_, config_of(draw_, "near", shards_), frames_of(draw_));
  start_far();
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    near_servers_.push_back(start_server(*near_, shard, "near-app"));
    for (int i = 0; i < kClients; ++i) clients_.push_back(start_client(shard));
    const auto link = near_->shards[shard]->connect_peer("fake:" + std::to_string(shard));
    REQUIRE(link.ok());
    links_.push_back(*link);
  }
}

void Simulation::trace(const char* what, const std::string& who, uint64_t number) {
  if (traced_) std::fprintf(stderr, "%9.3f ms  %s %s %llu\n", static_cast<double>(now_) / kMs - 1000, what, who.c_str(), static_cast<unsigned long long>(number));
}

void Simulation::start_far() {
  far_servers_.clear();
  far_.reset();
  far_ = std::make_unique<SimDaemon>(network_, config_of(draw_, "far", shards_), frames_of(draw_));
  far_->world.now = now_;
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    REQUIRE(far_->shards[shard]->listen("fake:" + std::to_string(shard)).ok());
    far_servers_.push_back(start_server(*far_, shard, "far-app"));
  }
}

SimServer Simulation::start_server(SimDaemon& daemon, uint32_t shard, const std::string& name) {
  return {std::make_unique<SimApp>(next_id_++, abi::Role::kServer, name, daemon, shard), {}, {}};
}

SimClient Simulation::start_client(uint32_t shard) {
  const uint32_t id = next_id_++;
  return {std::make_unique<SimApp>(id, abi::Role::kClient, "c" + std::to_string(id), *near_, shard), {}};
}

std::vector<SimServer*> Simulation::servers() {
  std::vector<SimServer*> all;
  for (auto* some : {&near_servers_, &far_servers_})
    for (SimServer& server : *some) all.push_back(&server);
  return all;
}

void Simulation::run() {
  for (int i = 0; i < kSteps; ++i) step();
  come_to_rest();
  check_accounts();
}

void Simulation::step() {
  const uint64_t what = draw_.below(100);
  SimClient& client = draw_.any(clients_);
  SimServer& server = *servers()[draw_.below(2 * shards_)];
  if (what < 30) return turn(*draw_.any(draw_.one_in(2) ? near_->shards : far_->shards));
  if (what < 42) return pass_time();
  if (what < 55) return open(client);
  if (what < 64) return go_on(client);
  if (what < 74) return hear(client, 1 + draw_.below(8));
  if (what < 84) return serve(server, 1 + draw_.below(8));
  if (what < 91) return answer(server, false);
  if (what < 94) return cancel(client);
  if (what < 96) return swap_policy(draw_.one_in(2) ? *near_ : *far_);
  if (what < 98) return disturb();
  SimDaemon& daemon = draw_.one_in(2) ? *near_ : *far_;
  if (daemon.world.long_jobs.empty()) return;
  const auto job = std::move(daemon.world.long_jobs.front());
  daemon.world.long_jobs.pop_front();
  job();
}

void Simulation::turn(Shard& shard) {
  for (const auto& [id, port] : shard.ports()) shard.ring(id);
  shard.turn();
}

void Simulation::turn(SimDaemon& daemon) {
  for (; !daemon.world.long_jobs.empty(); daemon.world.long_jobs.pop_front()) daemon.world.long_jobs.front()();
  for (const auto& shard : daemon.shards) turn(*shard);
}

void Simulation::pass_time() {
  const uint64_t most_ns[] = {20'000, 200'000, 3 * kMs, 60 * kMs};
  now_ += draw_.below(most_ns[draw_.below(draw_.one_in(8) ? 4 : 3)]);
  near_->world.now = far_->world.now = now_;
}

void Simulation::open(SimClient& client) {
  const uint64_t id = client.calls.size() + 1;
  if (!client.app->has_room() || id > kCallsMax) return;
  SimClient::Call call;
  call.name = "c" + std::to_string(client.app->id()) + "-" + std::to_string(id);
  call.streams = draw_.one_in(4);
  const auto size = ordered_ || !draw_.one_in(3) ? Size::kSmall : static_cast<Size>(1 + draw_.below(3));
  const uint64_t deadline_ns = draw_.one_in(4) ? now_ + draw_.below(draw_.one_in(2) ? 500'000 : 100 * kMs) + 1 : 0;
  trace(call.streams ? "opens a stream" : "calls", call.name, static_cast<uint64_t>(size));
  client.app->submit(SlotKind::kOpen, id, call.name + "/0", size, call.streams ? 0 : abi::kEnd, 0, deadline_ns, Rig::kHandles + call.streams);
  call.said = 1;
  call.half_closed = !call.streams;
  client_said_[call.name] = {1, !call.streams};
  client.calls.emplace(id, std::move(call));
}

// One more message of a stream, or its end.
void Simulation::go_on(SimClient& client) {
  for (auto& [id, call] : client.calls) {
    if (call.ended || call.half_closed || !client.app->has_room()) continue;
    if (call.credit <= 1 || draw_.one_in(4)) {
      call.half_closed = client_said_[call.name].half_closed = true;
      client.app->submit(SlotKind::kHalfClose, id);
    } else if (draw_.one_in(2)) {
      const auto size = ordered_ || !draw_.one_in(6) ? Size::kSmall : static_cast<Size>(1 + draw_.below(3));
      const std::string name = call.name + "/" + std::to_string(call.said);
      client.app->submit(SlotKind::kMessage, id, name, size, 0, call.said);
      call.credit -= 1;
      client_said_[call.name].messages = ++call.said;
    }
  }
}

void Simulation::cancel(SimClient& client) {
  if (client.calls.empty() || !client.app->has_room()) return;
  auto& [id, call] = *std::next(client.calls.begin(), static_cast<int64_t>(draw_.below(client.calls.size())));
  if (call.ended || call.cancelled) return;
  trace("cancels", call.name);
  call.cancelled = true;
  client.app->submit(SlotKind::kCancel, id);
}

void Simulation::hear(SimClient& client, size_t arrivals_max) {
  if (!client.app->has_room()) return;
  for (size_t i = 0; i < arrivals_max; ++i) {
    const auto arrival = client.app->take(draw_.one_in(3));
    if (!arrival) break;
    on_arrival(client, *arrival);
  }
  if (draw_.one_in(2)) client.app->give_back();
}

void Simulation::on_arrival(SimClient& client, const Arrival& arrival) {
  const auto known = client.calls.find(arrival.slot.call_id);
  REQUIRE_MESSAGE(known != client.calls.end(), "something came for a call that was never made");
  SimClient::Call& call = known->second;
  INFO("call " << call.name);
  REQUIRE_MESSAGE(!call.ended, "something came for a call that has ended");
  switch (arrival.kind()) {
    case SlotKind::kStatus: return end(call, arrival);
    case SlotKind::kCredit: call.credit += arrival.slot.aux; return;
    case SlotKind::kMessage:
      REQUIRE(call.streams);
      REQUIRE(arrival.slot.sequence == call.heard);
      REQUIRE(SimApp::name_of(arrival) == call.name + "/r" + std::to_string(call.heard));
      call.heard += 1;
      if (client.app->has_room()) client.app->submit(SlotKind::kCredit, known->first, 0, 1);
      return;
    default: FAIL("a client hears what no client should");
  }
}

void Simulation::end(SimClient::Call& call, const Arrival& arrival) {
  trace("ends", call.name, static_cast<uint64_t>(arrival.code()));
  call.ended = arrival.code();
  over_.insert(call.name);
  codes[arrival.slot.code] += 1;
  if (arrival.code() != StatusCode::kOk) return;
  REQUIRE(handed_over_[call.name] == 1);
  if (call.streams) REQUIRE(call.heard == server_said_.at(call.name));
  else REQUIRE(SimApp::name_of(arrival) == call.name + "/0");
}

void Simulation::serve(SimServer& server, size_t arrivals_max) {
  if (!server.app->has_room()) return;
  for (size_t i = 0; i < arrivals_max; ++i) {
    const auto arrival = server.app->take(draw_.one_in(3));
    if (!arrival) break;
    on_arrival(server, *arrival);
  }
  if (draw_.one_in(2)) server.app->give_back();
}

void Simulation::on_arrival(SimServer& server, const Arrival& arrival) {
  const uint64_t id = arrival.slot.call_id;
  const std::string name = SimApp::name_of(arrival);
  INFO("server " << server.app->id() << ", message " << name);
  if (arrival.kind() == SlotKind::kOpen) {
    REQUIRE(name == call_of(name) + "/0");
    REQUIRE_MESSAGE(++handed_over_[call_of(name)] == 1, "a call was handed over twice");
    uint64_t& last = server.last_of[client_of(name)];
    // One that its link was closed under ends; what is left of it may come after what goes over the next link.
    if (ordered_) REQUIRE_MESSAGE((number_of(name) > last || over_.contains(call_of(name))), "a call has overtaken another");
    last = std::max(last, number_of(name));
    SimServer::Call call{.name = call_of(name)};
    call.streams = arrival.slot.handle == Rig::kOffered + 1;
    REQUIRE(server.calls.emplace(id, std::move(call)).second);
    return;
  }
  const auto known = server.calls.find(id);
  if (known == server.calls.end()) return;  // it has been answered
  SimServer::Call& call = known->second;
  switch (arrival.kind()) {
    case SlotKind::kMessage:
      REQUIRE(name == call.name + "/" + std::to_string(call.heard));
      call.heard += 1;
      if (server.app->has_room()) server.app->submit(SlotKind::kCredit, id, 0, 1);
      return;
    case SlotKind::kHalfClose:
      REQUIRE(client_said_.at(call.name).half_closed);
      REQUIRE(client_said_.at(call.name).messages == call.heard);
      call.half_closed = true;
      return;
    case SlotKind::kCredit: call.credit += arrival.slot.aux; return;
    case SlotKind::kCancel: server.calls.erase(known); return;
    default: FAIL("a server hears what no server should");
  }
}

// Something of what its calls wait for; `at_once`: their end.
void Simulation::answer(SimServer& server, bool at_once) {
  for (auto at = server.calls.begin(); at != server.calls.end();) {
    auto& [id, call] = *at;
    if (!server.app->has_room()) return;
    const auto size = ordered_ || !draw_.one_in(6) ? Size::kSmall : static_cast<Size>(1 + draw_.below(3));
    const bool ends = at_once || draw_.one_in(3);
    if (!ends && call.streams && call.credit > 0) {
      server.app->submit(SlotKind::kMessage, id, call.name + "/r" + std::to_string(call.said), size, 0, call.said);
      call.said += 1;
      call.credit -= 1;
    }
    if (!ends) {
      ++at;
      continue;
    }
    trace("answered", call.name);
    if (draw_.one_in(8)) server.app->submit(SlotKind::kStatus, id, 0, 0, StatusCode::kNotFound);
    else if (call.streams) server.app->submit(SlotKind::kStatus, id);
    else server.app->submit(SlotKind::kStatus, id, call.name + "/0", size, 0, 0);
    if (call.streams) server_said_[call.name] = call.said;
    at = server.calls.erase(at);
  }
}

void Simulation::swap_policy(SimDaemon& daemon) {
  static const Mode kModes[] = {kPass, kPass, kRouteHash, kRefuseLater, kRefuse, kRefuseReply, kPauseReply, kPause};
  const Mode mode = kModes[draw_.below(ordered_ ? 6 : 8)];
  trace("swaps a policy", daemon.config.node, mode);
  const int64_t value = mode == kRouteHash ? static_cast<int64_t>(draw_.next() >> 1) : static_cast<int64_t>(draw_.below(30 * kMs));
  daemon.chains = chain_of(*daemon.chains, {{"p", probe(), mode, value}}, ChainSide::kAny, shards_);
  for (const auto& shard : daemon.shards) shard->post([&shard = *shard, set = daemon.chains] { shard.apply_chains(set); });
}

void Simulation::disturb() {
  const uint64_t shard = draw_.below(shards_);
  switch (draw_.below(6)) {
    case 0:
    case 1:
      trace("the network is cut, or heals");
      return network_.set_cut(draw_.one_in(2));
    case 2:
      trace("the far daemon starts anew");
      return start_far();
    case 3: {
      trace("the link is made anew");
      near_->shards[shard]->remove_peer(links_[shard]);
      links_[shard] = *near_->shards[shard]->connect_peer("fake:" + std::to_string(shard));
      return;
    }
    case 4: {
      SimServer& server = draw_.one_in(2) ? near_servers_[shard] : far_servers_[shard];
      SimDaemon& daemon = server.app->daemon();
      trace("a server dies", daemon.config.node, server.app->id());
      daemon.shards[shard]->remove_port(server.app->id(), "killed");
      server = start_server(daemon, static_cast<uint32_t>(shard), daemon.config.node + "-app");
      return;
    }
    default: {
      SimClient& client = clients_[shard * kClients];
      trace("a client dies", "", client.app->id());
      near_->shards[shard]->remove_port(client.app->id(), "killed");
      for (const auto& [id, call] : client.calls) over_.insert(call.name);
      client = start_client(static_cast<uint32_t>(shard));
      return;
    }
  }
}

bool Simulation::at_rest() {
  for (const SimClient& client : clients_)
    for (const auto& [id, call] : client.calls)
      if (!call.ended) return false;
  for (SimDaemon* daemon : {near_.get(), far_.get()})
    for (const auto& shard : daemon->shards)
      if (shard->clients().open_calls() + shard->servers().open_calls() != 0) return false;
  return true;
}

void Simulation::come_to_rest() {
  trace("comes to rest");
  network_.set_cut(false);
  for (int round = 0, quiet = 0; quiet < 20; ++round) {
    if (round == 5000)
      for (const SimClient& client : clients_)
        for (const auto& [id, call] : client.calls) CHECK_MESSAGE(call.ended, "never ended: ", call.name);
    REQUIRE_MESSAGE(round < 5000, "the daemons do not come to rest");
    now_ += quiet > 0 ? 20 * kMs : kMs;  // until links that were closed have given up what nobody acknowledges
    near_->world.now = far_->world.now = now_;
    turn(*near_);
    turn(*far_);
    for (SimServer* server : servers()) {
      serve(*server, SIZE_MAX);
      answer(*server, true);
      server->app->give_back();
    }
    for (SimClient& client : clients_) {
      hear(client, SIZE_MAX);
      client.app->give_back();
    }
    quiet = at_rest() ? quiet + 1 : 0;
  }
}

void Simulation::check_accounts() {
  for (SimDaemon* daemon : {near_.get(), far_.get()}) {
    INFO("daemon " << daemon->config.node);
    CHECK(daemon->observed.violations.empty());
    for (const auto& shard : daemon->shards) check_accounts(*shard);
    if (daemon->chains->instances.empty()) continue;
    CHECK(std::max<int64_t>(0, PolicyRig::state_of(*daemon->chains, "p", "in_flight")) == 0);
  }
  for (const SimClient& client : clients_) CHECK(client.app->blocks_held() == 0);
  for (const SimServer* server : servers()) CHECK(server->app->blocks_held() == 0);
}

void Simulation::check_accounts(Shard& shard) {
  INFO("shard " << shard.index);
  for (const auto& [id, port] : shard.ports()) {
    INFO("attachment " << id);
    CHECK(port->attachment().receive_bytes_in_use == 0);
    CHECK(port->untaken() == 0);
    CHECK(port->parked_bytes() == 0);
    CHECK(port->pinned_bytes.empty());
    CHECK(port->checking_bytes == 0);
    CHECK(port->long_jobs == 0);
    CHECK(port->client_calls.size() + port->server_calls.size() == 0);
  }
  for (const auto& [key, route] : shard.routes) {
    INFO("route " << key.first << " " << key.second);
    CHECK(route->parked_calls == 0);
    CHECK(route->parked_bytes == 0);
    for (const auto& [server, stats] : route->servers) CHECK(stats->in_flight == 0);
  }
  for (const auto& [name, entry] : shard.directory.entries())
    for (const auto& endpoint : entry->endpoints) CHECK(endpoint->open_calls == 0);
  CHECK_FALSE(shard.works_long());
}

}  // namespace mrpc::dataplane::testing
