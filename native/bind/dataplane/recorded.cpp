#include "bind/dataplane/recorded.h"

#include <nanobind/stl/string.h>

namespace nb = nanobind;

namespace mrpc::bind {
namespace {

nb::bytes request_of(const dataplane::RecordedCall& call) {
  std::vector<std::byte> protobuf;
  if (!call.request.empty()) message::to_protobuf(*call.layout->request, call.request, protobuf);
  return nb::bytes(reinterpret_cast<const char*>(protobuf.data()), protobuf.size());
}

nb::dict from_policy(const dataplane::DryRunPolicy& policy) {
  nb::list examples;
  for (const dataplane::DryRunExample& example : policy.examples) {
    nb::dict item;
    item["client"] = example.client;
    item["service"] = example.service;
    item["method"] = example.method;
    item["text"] = example.text;
    examples.append(item);
  }
  nb::dict out;
  out["chain"] = policy.chain;
  out["policy"] = policy.policy;
  out["evaluated"] = policy.evaluated;
  out["denied"] = policy.denied;
  out["faults"] = policy.faults;
  out["newly_denied"] = policy.newly_denied;
  out["newly_passed"] = policy.newly_passed;
  out["examples"] = examples;
  return out;
}

}  // namespace

nb::dict from_dry_run(const dataplane::DryRun& run) {
  nb::list policies;
  for (const dataplane::DryRunPolicy& policy : run.policies) policies.append(from_policy(policy));
  nb::dict out;
  out["calls"] = run.calls;
  out["denied"] = run.denied;
  out["policies"] = policies;
  return out;
}

nb::list from_recorded(const dataplane::Recorder::Calls& calls, size_t limit) {
  nb::list out;
  for (auto at = calls.rbegin(); at != calls.rend() && nb::len(out) < limit; ++at) {
    const dataplane::RecordedCall& call = **at;
    nb::dict item;
    item["client"] = call.client;
    item["tenant"] = call.tenant;
    item["service"] = call.service;
    item["method"] = call.method;
    item["fingerprint"] = call.variant->fingerprint();
    item["status"] = static_cast<int>(call.status);
    item["latency_ns"] = call.latency_ns;
    item["request"] = request_of(call);
    out.append(item);
  }
  return out;
}

}  // namespace mrpc::bind
