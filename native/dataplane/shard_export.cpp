// What of a shard survives its process (takeover_state.h). Runs on the shard's thread, between two turns.
#include "dataplane/shard.h"

namespace mrpc::dataplane {
namespace {

std::string as_text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void export_engines(const Route& route, const Chain& chain, TakeoverState& into) {
  for (const Stage& stage : chain.stages())
    into.engines.push_back({route.client, route.path, stage.chain, stage.policy, stage.use, stage.evaluations, stage.denied,
                            as_text(stage.engine->save())});
}

}  // namespace

void Shard::export_state(TakeoverState& into) {
  for (const auto& [id, port] : ports_)
    for (const uint64_t offset : port->blocks_out()) into.receive_blocks.push_back({id, index, offset});
  for (const auto& [key, route] : routes)
    for (const auto& [fingerprint, chain] : route->chains) export_engines(*route, *chain, into);
  for (const auto& [link, peer] : peers_) into.peers.push_back({index, peer.accepted, peer.address, peer.node});
  clients_.calls().for_each([&](uint64_t id, const ClientCall& call) {
    into.calls.push_back({index, 0, call.port->id(), call.half_closed, call.app_call, call.endpoint->link, id, call.deadline_ns,
                          call.started_ns, call.chain->epoch(), call.request_sequence, call.reply_sequence, call.send_credit,
                          call.method->route->path, call.endpoint->app});
  });
  servers_.calls().for_each([&](uint64_t id, const ServerCall& call) {
    into.calls.push_back({index, 1, call.port->id(), 0, id, call.link, call.link_call, 0, call.started_ns,
                          call.chain ? call.chain->epoch() : chains->epoch, call.request_sequence, call.reply_sequence,
                          call.send_credit, call.layout->path, call.endpoint->app});
  });
}

}  // namespace mrpc::dataplane
