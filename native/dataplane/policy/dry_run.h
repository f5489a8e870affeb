// What chains would have said to calls that were recorded: each is judged again at the time at which it came, and ended when it ended, by chains
// with state of their own.
//
// What a recorder leaves out (recorder.h) policies find absent. One that asks for metadata which was left out cannot be judged: its verdict
// counts as none, and the call goes on behind it. Only the first message of a request is judged: replies and the rest of streams
// are not recorded. No reply is stored either: every call that could have found one goes on.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/chain.h"
#include "dataplane/policy/recorder.h"

namespace mrpc::dataplane {

struct DryRunExample {
  std::string client, service, method, text;
};

struct DryRunPolicy {
  std::string chain, policy;
  uint64_t evaluated = 0, denied = 0, faults = 0;
  uint64_t newly_denied = 0;  // were let pass then
  uint64_t newly_passed = 0;  // were denied then, by a policy of this chain and name
  uint64_t unjudged = 0;      // it asked for metadata that is not kept; neither denied nor passed
  std::set<std::string> withheld = {};  // of what keys
  std::vector<DryRunExample> examples = {};  // of what it newly denied
};

struct DryRun {
  uint64_t calls = 0, denied = 0;  // that some policy of the chains judges
  std::vector<DryRunPolicy> policies;  // in the order of the chains
};

constexpr size_t kDryRunExamplesMax = 5;

// `set` has instances that nothing else uses. `now_ns` and `unix_ns` are one moment by both clocks. Errors: of a chain that does not fit.
Result<DryRun> dry_run(const ChainSet& set, const EngineCatalog& catalog, Recorder::Calls calls, uint64_t now_ns, uint64_t unix_ns);

}  // namespace mrpc::dataplane
