#include "bind/dataplane/recorded.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind/dataplane/dict.h"

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
  for (const dataplane::DryRunExample& example : policy.examples)
    examples.append(dict_of("client", example.client, "service", example.service, "method", example.method, "text", example.text));
  const std::vector<std::string> withheld(policy.withheld.begin(), policy.withheld.end());
  return dict_of("chain", policy.chain, "policy", policy.policy, "evaluated", policy.evaluated, "denied", policy.denied,
                 "faults", policy.faults, "newly_denied", policy.newly_denied, "newly_passed", policy.newly_passed,
                 "unjudged", policy.unjudged, "withheld", withheld, "examples", examples);
}

}  // namespace

nb::dict from_dry_run(const dataplane::DryRun& run) {
  nb::list policies;
  for (const dataplane::DryRunPolicy& policy : run.policies) policies.append(from_policy(policy));
  return dict_of("calls", run.calls, "denied", run.denied, "policies", policies);
}

nb::list from_recorded(const dataplane::Recorder::Calls& calls, size_t limit) {
  nb::list out;
  for (auto at = calls.rbegin(); at != calls.rend() && nb::len(out) < limit; ++at) {
    const dataplane::RecordedCall& call = **at;
    out.append(dict_of("client", call.client, "tenant", call.tenant, "service", call.service, "method", call.method,
                       "fingerprint", call.variant->fingerprint(), "status", static_cast<int>(call.status), "latency_ns", call.latency_ns,
                       "request", request_of(call)));
  }
  return out;
}

}  // namespace mrpc::bind
