// mrpc_service._dataplane: the data plane as the Python control plane sees it. No logic: dictionaries in and out.
// The shape is written down, typed, in mrpc_service/dataplane_api.py.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>

#include "bind/dataplane/dict.h"
#include "bind/dataplane/layout.h"
#include "bind/dataplane/moved_rows.h"
#include "bind/dataplane/recorded.h"
#include "dataplane/dataplane.h"
#include "program_spec.h"

namespace nb = nanobind;
using namespace mrpc::dataplane;
using mrpc::bind::dict_of;
using namespace nb::literals;

namespace {

[[noreturn]] void raise(const mrpc::Error& error) {
  switch (error.code) {
    case mrpc::StatusCode::kInvalidArgument:
    case mrpc::StatusCode::kFailedPrecondition: throw nb::value_error(error.text.c_str());
    default: throw std::runtime_error(error.text);
  }
}

std::vector<AppRecord> to_apps(const nb::list& list) {
  std::vector<AppRecord> apps;
  for (nb::handle item : list) {
    const auto record = nb::cast<nb::dict>(item);
    const auto hash = nb::cast<nb::bytes>(record["token_sha256"]);
    AppRecord app{nb::cast<std::string>(record["name"]), nb::cast<uint32_t>(record["uid"]), {}};
    for (nb::handle tenant : nb::cast<nb::list>(record["act_as"])) app.act_as.insert(nb::cast<std::string>(tenant));
    if (hash.size() != app.token.size()) throw nb::value_error("token_sha256 must be 32 bytes");
    std::memcpy(app.token.data(), hash.c_str(), app.token.size());
    apps.push_back(std::move(app));
  }
  return apps;
}

ConfigValue to_config_value(nb::handle value) {
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::int_>(value)) {
    int64_t integer = 0;
    if (!nb::try_cast(value, integer)) throw nb::value_error("an integer of the configuration is over 64 bits");
    return integer;
  }
  if (nb::isinstance<nb::float_>(value)) return nb::cast<double>(value);
  if (nb::isinstance<nb::str>(value)) return nb::cast<std::string>(value);
  std::vector<std::string> texts;
  for (nb::handle item : nb::cast<nb::list>(nb::list(value))) texts.push_back(nb::cast<std::string>(nb::str(item)));
  return texts;
}

std::string text_or(const nb::dict& from, const char* key, const char* otherwise) {
  if (!from.contains(key) || from[key].is_none()) return otherwise;
  return nb::cast<std::string>(from[key]);
}

ChainSide to_side(const std::string& side) {
  if (side == "any") return ChainSide::kAny;
  if (side == "client") return ChainSide::kClient;
  if (side == "server") return ChainSide::kServer;
  throw nb::value_error("a chain's side must be client, server or any");
}

std::vector<ChainSpec> to_chains(const nb::list& list) {
  std::vector<ChainSpec> chains;
  for (nb::handle item : list) {
    const auto document = nb::cast<nb::dict>(item);
    ChainSpec chain{nb::cast<std::string>(document["name"]), text_or(document, "client", "*"), text_or(document, "service", "*"),
                    text_or(document, "method", "*"), {}, to_side(text_or(document, "side", "any"))};
    if (document.contains("judged_by")) chain.judged_by = nb::cast<std::vector<std::string>>(document["judged_by"]);
    for (nb::handle entry : nb::cast<nb::list>(document["policies"])) {
      const auto policy = nb::cast<nb::dict>(entry);
      PolicySpec spec{nb::cast<std::string>(policy["name"]), nb::cast<std::string>(policy["use"]), {}};
      if (policy.contains("config"))
        for (auto [key, value] : nb::cast<nb::dict>(policy["config"]))
          spec.config.emplace(nb::cast<std::string>(key), to_config_value(value));
      chain.policies.push_back(std::move(spec));
    }
    chains.push_back(std::move(chain));
  }
  return chains;
}

nb::dict from_event(const ControlEvent& event) {
  return dict_of("kind", event.kind, "app", event.app, "principal", event.principal, "label", event.label, "role", event.role,
                 "service", event.service, "peer", event.peer, "text", event.text, "attachment", event.attachment,
                 "fingerprint", event.fingerprint, "uid", event.uid, "pid", event.pid);
}

nb::list from_attachments(const Snapshot& snapshot) {
  nb::list out;
  for (const AttachmentView& view : snapshot.attachments) {
    const Attachment& attachment = *view.attachment;
    const auto& identity = attachment.identity;
    out.append(dict_of("id", attachment.id, "app", identity.app, "principal", identity.principal, "uid", identity.uid, "pid", identity.pid,
                       "label", identity.label, "role", attachment.role == mrpc::abi::Role::kServer ? "server" : "client",
                       "send_bytes", attachment.send_bytes_committed(), "receive_bytes", attachment.receive_bytes_in_use.load(),
                       "receive_committed_bytes", attachment.receive_bytes_committed(), "open_calls", view.open_calls));
  }
  return out;
}

nb::list from_services(const Snapshot& snapshot) {
  nb::dict by_name;
  for (const EndpointView& endpoint : snapshot.endpoints) {
    const char* name = endpoint.service.c_str();
    if (!by_name.contains(name)) by_name[name] = dict_of("service", name, "methods", endpoint.methods, "endpoints", nb::list());
    nb::cast<nb::list>(by_name[name]["endpoints"])
        .append(dict_of("attachment", endpoint.attachment, "peer", endpoint.attachment == 0 ? nb::cast(endpoint.node) : nb::none(),
                        "app", endpoint.app, "node", endpoint.node, "open_calls", endpoint.open_calls));
  }
  return nb::list(by_name.values());
}

nb::dict from_latency(const Histogram& histogram) {
  std::vector<uint64_t> bounds;
  for (uint32_t i = 0; i < Histogram::kBuckets; ++i) bounds.push_back(Histogram::bound_ns(i));
  const std::vector<uint64_t> counts(histogram.counts().begin(), histogram.counts().end());
  return dict_of("bounds_ns", bounds, "counts", counts, "sum_ns", histogram.sum_ns());
}

nb::list from_edges(const Snapshot& snapshot) {
  nb::list out;
  for (const EdgeView& edge : snapshot.edges) {
    nb::dict codes;
    for (uint32_t code = 0; code < edge.stats.codes.size(); ++code)
      if (edge.stats.codes[code] != 0) codes[nb::int_(code)] = edge.stats.codes[code];
    nb::list policies;
    for (const PolicyView& policy : edge.policies) {
      policies.append(dict_of("chain", policy.chain, "policy", policy.policy, "use", policy.use, "evaluations", policy.evaluations,
                              "denied", policy.denied, "ns_total", policy.ns_total, "faults", policy.faults, "rows", policy.rows,
                              "evicted", policy.evicted));
    }
    out.append(dict_of("client", edge.client, "server", edge.server, "service", edge.service, "method", edge.method,
                       "calls", edge.stats.calls, "in_flight", edge.stats.in_flight, "denied", edge.stats.denied,
                       "request_bytes", edge.stats.request_bytes, "reply_bytes", edge.stats.reply_bytes, "codes", codes,
                       "latency", from_latency(edge.stats.latency), "policies", policies));
  }
  return out;
}

nb::list from_peers(const Snapshot& snapshot) {
  nb::list out;
  for (const PeerView& peer : snapshot.peers) {
    out.append(dict_of("id", peer.id, "address", peer.address, "node", peer.node, "state", peer.up ? "up" : "down",
                       "direction", peer.accepted ? "accepted" : "joined", "error", peer.error, "services", peer.services));
  }
  return out;
}

nb::dict from_transport(const Snapshot& snapshot) {
  mrpc::transport::TcpStats sum;
  for (const ShardView& shard : snapshot.shards) {
    sum.garbage_closed += shard.tcp.garbage_closed;
    sum.refused += shard.tcp.refused;
    sum.frames_in += shard.tcp.frames_in;
    sum.frames_out += shard.tcp.frames_out;
    sum.bytes_in += shard.tcp.bytes_in;
    sum.bytes_out += shard.tcp.bytes_out;
    sum.bytes_saved += shard.tcp.bytes_saved;
    sum.reconnects += shard.tcp.reconnects;
    sum.resumed += shard.tcp.resumed;
  }
  return dict_of("garbage_closed", sum.garbage_closed, "refused", sum.refused, "frames_in", sum.frames_in, "frames_out", sum.frames_out,
                 "bytes_in", sum.bytes_in, "bytes_out", sum.bytes_out, "bytes_saved", sum.bytes_saved, "reconnects", sum.reconnects,
                 "resumed", sum.resumed);
}

nb::list from_shards(const Snapshot& snapshot) {
  nb::list out;
  for (const ShardView& shard : snapshot.shards) {
    const ShardCounters& counted = shard.counters;
    out.append(dict_of("index", shard.index, "turns", counted.turns, "slots", counted.slots, "calls", counted.calls, "frames", counted.frames,
                       "sleeps", counted.sleeps, "violations", counted.violations, "long_jobs", counted.long_jobs,
                       "client_calls", shard.client_calls, "server_calls", shard.server_calls));
  }
  return out;
}

nb::bytes from_schema(const mrpc::message::Schema& schema) {
  return nb::bytes(reinterpret_cast<const char*>(schema.serialized().data()), schema.serialized().size());
}

// Runs `fn` without the GIL and returns what it returned.
template <typename Fn>
auto unlocked(Fn&& fn) {
  const nb::gil_scoped_release released;
  return fn();
}

class PyDataplane {
 public:
  explicit PyDataplane(Config config) : node_(config.node), plane_(std::make_unique<Dataplane>(std::move(config))) {}
  ~PyDataplane() {
    const nb::gil_scoped_release released;
    plane_.reset();
  }

  void start() {
    if (auto s = unlocked([&] { return plane_->start(); }); !s) raise(s.error());
  }
  void stop(double grace_s) {
    unlocked([&] { plane_->stop(static_cast<uint64_t>(std::max(0.0, grace_s) * 1e9)); });
  }
  void set_identities(const nb::list& apps) { plane_->registrar().set_apps(to_apps(apps)); }
  void set_service_owners(std::map<std::string, std::string> owners) { plane_->registrar().set_owners(std::move(owners)); }
  int events_fd() { return plane_->events().fd(); }
  nb::list drain_events() {
    nb::list out;
    for (const ControlEvent& event : plane_->events().drain()) out.append(from_event(event));
    return out;
  }
  nb::dict apply_chains(const nb::list& documents, const nb::list& programs) {
    auto chains = to_chains(documents);
    auto bindings = to_bindings(programs);
    auto applied = unlocked([&] { return plane_->apply_chains(std::move(chains), std::move(bindings)); });
    if (!applied) raise(applied.error());
    nb::list shards;
    for (const ShardApplied& shard : applied->shards)
      shards.append(dict_of("index", shard.index, "pause_ns", shard.pause_ns, "calls_in_flight", shard.calls_in_flight,
                            "rows_carried", shard.rows_carried));
    return dict_of("shards", shards, "epoch", applied->epoch, "pause_ns_max", applied->pause_ns_max);
  }
  nb::dict dry_run(const nb::list& documents, const nb::list& programs) {
    auto chains = to_chains(documents);
    auto bindings = to_bindings(programs);
    const auto run = unlocked([&] { return plane_->dry_run(std::move(chains), std::move(bindings)); });
    if (!run) raise(run.error());
    return mrpc::bind::from_dry_run(run.value());
  }
  void configure_recorder(uint32_t calls_max, double sample, const nb::list& redact) {
    constexpr uint32_t kCallsMax = 16384;
    if (!(sample >= 0 && sample <= 1)) throw nb::value_error("sample must be from 0 to 1");
    if (calls_max > kCallsMax) throw nb::value_error("calls_max must be at most 16384");
    RecorderConfig config{.calls_max = calls_max, .sample = sample};
    for (nb::handle name : redact) config.redact.insert(nb::cast<std::string>(name));
    unlocked([&] { plane_->configure_recorder(config); });
  }
  nb::list recorded(size_t limit) {
    return mrpc::bind::from_recorded(unlocked([&] { return plane_->recorded(); }), limit);
  }
  void add_bindings(const nb::list& programs) {
    auto bindings = to_bindings(programs);
    if (auto added = unlocked([&] { return plane_->add_bindings(std::move(bindings)); }); !added) raise(added.error());
  }
  void give_up_bindings(const std::string& service, uint64_t fingerprint, const std::string& reason) {
    if (auto done = unlocked([&] { return plane_->give_up_bindings(service, fingerprint, reason); }); !done) raise(done.error());
  }
  nb::list leases() {
    nb::list out;
    for (const LeaseView& lease : unlocked([&] { return plane_->leases(); }))
      out.append(dict_of("chain", lease.chain, "policy", lease.policy, "lease", lease.lease, "rate_per_s", lease.rate_per_s,
                         "burst", lease.burst, "share", lease.share, "taken", lease.use.taken, "refused", lease.use.refused,
                         "left", lease.use.left));
    return out;
  }
  void grant_lease(const std::string& chain, const std::string& policy, const std::string& lease, double tokens, bool shared) {
    unlocked([&] { plane_->grant_lease(chain, policy, lease, tokens, shared); });
  }
  nb::list policy_rows(const std::string& chain) {
    return mrpc::bind::from_moved_rows(unlocked([&] { return plane_->policy_rows(chain); }));
  }
  size_t put_policy_rows(const std::string& chain, const nb::list& documents, bool adds) {
    const auto rows = mrpc::bind::to_moved_rows(documents);
    return unlocked([&] { return plane_->put_policy_rows(chain, rows, adds); });
  }
  std::string listen(const std::string& address) {
    auto bound = unlocked([&] { return plane_->listen(address); });
    if (!bound) raise(bound.error());
    return *bound;
  }
  uint64_t add_peer(const std::string& address) {
    auto id = unlocked([&] { return plane_->add_peer(address); });
    if (!id) raise(id.error());
    return *id;
  }
  void remove_peer(uint64_t id) {
    unlocked([&] { plane_->remove_peer(id); });
  }
  nb::dict snapshot() {
    const Snapshot taken = unlocked([&] { return plane_->snapshot(); });
    return dict_of("node", node_, "uptime_ns", taken.uptime_ns, "epoch", taken.epoch, "chain_pauses", from_latency(taken.pauses),
                   "attachments", from_attachments(taken), "services", from_services(taken), "edges", from_edges(taken),
                   "peers", from_peers(taken), "shards", from_shards(taken), "transport", from_transport(taken));
  }
  void freeze(double bound_s) {
    if (auto s = unlocked([&] { return plane_->freeze(static_cast<uint64_t>(std::max(0.0, bound_s) * 1e9)); }); !s) raise(s.error());
  }
  nb::tuple frozen(uint32_t version) {
    auto frozen = unlocked([&] { return plane_->frozen(version); });
    if (!frozen) raise(frozen.error());
    kept_ = frozen->keep;
    return nb::make_tuple(nb::bytes(frozen->bytes.data(), frozen->bytes.size()), frozen->fds);
  }
  void thaw() {
    unlocked([&] { plane_->thaw(); });
    kept_.reset();
  }
  void abandon() {
    unlocked([&] { plane_->abandon(); });
    kept_.reset();
  }
  void take_over(const nb::bytes& state, const std::vector<int>& fds) {
    std::vector<mrpc::Fd> owned;
    for (const int fd : fds) owned.emplace_back(fd);
    const auto bytes = std::as_bytes(std::span(state.c_str(), state.size()));
    if (auto s = unlocked([&] { return plane_->take_over(bytes, std::move(owned)); }); !s) raise(s.error());
  }
  nb::bytes schema(const std::string& service) {
    const auto found = unlocked([&] { return plane_->schema(service); });
    if (!found) throw nb::key_error(service.c_str());
    return from_schema(*found);
  }
  nb::list schemas() {
    nb::list out;
    for (const auto& variant : unlocked([&] { return plane_->schemas(); })) {
      std::vector<std::string> methods;
      for (const auto& method : variant->layout->methods) methods.push_back(method.name);
      out.append(dict_of("service", variant->layout->full_name, "fingerprint", variant->fingerprint(), "methods", methods,
                         "schema", from_schema(*variant->schema)));
    }
    return out;
  }

 private:
  std::string node_;
  std::unique_ptr<Dataplane> plane_;
  std::shared_ptr<void> kept_;  // of what frozen() gave
};

}  // namespace

NB_MODULE(_dataplane, module) {
  nb::class_<PyDataplane>(module, "Dataplane")
      .def("__init__",
           [](PyDataplane* self, std::string socket_path, std::string node, uint32_t shards, uint64_t message_bytes_max,
              uint64_t send_quota_bytes, uint64_t receive_quota_bytes, uint64_t spin_us) {
             Config config;
             config.socket_path = std::move(socket_path);
             config.node = std::move(node);
             config.shards = shards;
             config.message_bytes_max = message_bytes_max;
             config.send_quota_bytes = send_quota_bytes;
             config.receive_quota_bytes = receive_quota_bytes;
             config.spin_ns = spin_us * 1000;
             if (shards < 1 || shards > 32) throw nb::value_error("shards must be from 1 to 32");
             if (message_bytes_max > mrpc::abi::kMessageBytesLimit) throw nb::value_error("message_bytes_max is over 1 GiB");
             new (self) PyDataplane(std::move(config));
           },
           nb::kw_only(), "socket_path"_a, "node"_a, "shards"_a, "message_bytes_max"_a, "send_quota_bytes"_a, "receive_quota_bytes"_a,
           "spin_us"_a = 0)
      .def("start", &PyDataplane::start)
      .def("stop", &PyDataplane::stop, "grace_s"_a)
      .def("set_identities", &PyDataplane::set_identities, "apps"_a)
      .def("set_service_owners", &PyDataplane::set_service_owners, "owners"_a)
      .def("events_fd", &PyDataplane::events_fd)
      .def("drain_events", &PyDataplane::drain_events)
      .def("apply_chains", &PyDataplane::apply_chains, "chains"_a, "bindings"_a = nb::list())
      .def("dry_run", &PyDataplane::dry_run, "chains"_a, "bindings"_a)
      .def("policy_rows", &PyDataplane::policy_rows, "chain"_a)
      .def("put_policy_rows", &PyDataplane::put_policy_rows, "chain"_a, "rows"_a, "adds"_a)
      .def("configure_recorder", &PyDataplane::configure_recorder, "calls_max"_a, "sample"_a, "redact"_a)
      .def("recorded", &PyDataplane::recorded, "limit"_a)
      .def("add_bindings", &PyDataplane::add_bindings, "bindings"_a)
      .def("give_up_bindings", &PyDataplane::give_up_bindings, "service"_a, "fingerprint"_a, "reason"_a)
      .def("leases", &PyDataplane::leases)
      .def("grant_lease", &PyDataplane::grant_lease, "chain"_a, "policy"_a, "lease"_a, "tokens"_a, "shared"_a)
      .def("listen", &PyDataplane::listen, "address"_a)
      .def("add_peer", &PyDataplane::add_peer, "address"_a)
      .def("remove_peer", &PyDataplane::remove_peer, "peer_id"_a)
      .def("snapshot", &PyDataplane::snapshot)
      .def("schema", &PyDataplane::schema, "service"_a)
      .def("schemas", &PyDataplane::schemas)
      .def("freeze", &PyDataplane::freeze, "bound_s"_a)
      .def("frozen", &PyDataplane::frozen, "version"_a)
      .def("thaw", &PyDataplane::thaw)
      .def("abandon", &PyDataplane::abandon)
      .def("take_over", &PyDataplane::take_over, "state"_a, "fds"_a);
  module.def("message_layout", &mrpc::bind::message_layout, "schema"_a, "message"_a);
  module.def("message_image", &mrpc::bind::message_image, "schema"_a, "message"_a, "protobuf"_a);
  module.attr("TAKEOVER_VERSIONS") = nb::make_tuple(kTakeoverOldest, kTakeoverVersion);
}
