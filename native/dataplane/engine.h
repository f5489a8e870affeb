// The seam between the datapath and what judges calls. An engine is one policy on one edge of one shard: it owns its state, runs
// to completion, allocates nothing per call unless it refuses, and never blocks. Policy programs will be engines too.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "message/image.h"

namespace mrpc::dataplane {

struct CallInfo {
  std::string_view client, service, method;
  uint64_t now_ns = 0;
};

// Empty: the call goes on. Otherwise it ends with this status.
struct Verdict {
  std::optional<Error> denial;
  bool forwards() const { return !denial.has_value(); }
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual Verdict on_request(const CallInfo& call, const message::MessageView& request) = 0;
  // Whether on_request looks into `bytes` fields, whose content otherwise stays in the sender's heap.
  virtual bool reads_bytes() const { return false; }
  // Takes over what `old`, the engine of the same name and kind that ran on this edge before, knew.
  virtual void adopt(const Engine& old) { (void)old; }
  // Its state, for a successor process; whatever restore() of the same kind accepts.
  virtual std::vector<std::byte> save() const { return {}; }
  virtual Status restore(std::span<const std::byte> saved) { (void)saved; return ok_status(); }
};

using ConfigValue = std::variant<bool, double, std::string, std::vector<std::string>>;
using EngineConfig = std::map<std::string, ConfigValue>;

// Makes an engine for requests of `request`, whose schema is the server's. Errors: kInvalidArgument with what is wrong with
// the configuration, kFailedPrecondition when the message lacks a field that it names.
using EngineFactory = std::function<Result<std::unique_ptr<Engine>>(const EngineConfig&, const message::MessageLayout& request)>;
using EngineCatalog = std::map<std::string, EngineFactory>;

// Every engine that this build offers, by the name that a chain uses.
EngineCatalog native_engines();

}  // namespace mrpc::dataplane
