// What a program may ask of the daemon (mrpc_host of abi.h), while one of its hooks runs.
#pragma once

#include "dataplane/policy/engine.h"

namespace mrpc::dataplane {

// Behind mrpc_frame::self.
struct HookCall {
  JudgedCall& call;
  ProgramEngine& engine;
  bool replying;                            // on_reply
  std::shared_ptr<const StoredReply> found;  // by answer
  bool waits = false;                       // answer said so
};

const mrpc_host& policy_host();

}  // namespace mrpc::dataplane
