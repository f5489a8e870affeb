// The seam between the datapath and what judges calls. An engine is one policy on one route of one shard: it runs to completion,
// allocates nothing for a call that it simply lets pass, and never blocks. Compiled policy programs are engines (policy/engine.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "dataplane/judged_call.h"
#include "message/image.h"

namespace mrpc::dataplane {

class Engine {
 public:
  virtual ~Engine() = default;
  // For each message of the request; the first one decides about the call.
  virtual Action on_request(JudgedCall& call) = 0;
  // For each message of the reply.
  virtual Action on_reply(JudgedCall&) { return Action::kForward; }
  // Once for each call that on_request let pass, however it ended.
  virtual void on_end(JudgedCall&) {}
  virtual bool judges_replies() const { return false; }
  virtual bool wants_end() const { return false; }
  // Whether it looks into `bytes` fields, whose content otherwise stays in the sender's heap, or changes or keeps messages.
  virtual bool reads_bytes() const { return false; }
  virtual bool reads_metadata() const { return false; }
  // What it keeps in the CallState: rows of scopes that differ from call to call, and cells of the call's own.
  virtual uint32_t rows_kept() const { return 0; }
  virtual uint32_t cells_kept() const { return 0; }
  virtual void place(uint32_t first_row, uint32_t first_cell) { (void)first_row, (void)first_cell; }
  // Of a call that the predecessor process had let pass: pins its rows, by their keys, as on_request did there.
  virtual void carry(CallState& state, std::span<const std::string> keys) { (void)state, (void)keys; }
  virtual uint64_t faults() const { return 0; }
  // Takes over what `old`, the engine of the same name and kind that ran on this route before, knew.
  virtual void adopt(const Engine& old) { (void)old; }
  // Its state, for a successor process; whatever restore() of the same kind accepts.
  virtual std::vector<std::byte> save() const { return {}; }
  virtual Status restore(std::span<const std::byte> saved) { (void)saved; return ok_status(); }
};

using ConfigValue = std::variant<bool, int64_t, double, std::string, std::vector<std::string>>;
using EngineConfig = std::map<std::string, ConfigValue>;

// Makes an engine for requests of `request`, whose schema is the server's. Errors: kInvalidArgument with what is wrong with
// the configuration, kFailedPrecondition when the message lacks a field that it names.
using EngineFactory = std::function<Result<std::unique_ptr<Engine>>(const EngineConfig&, const message::MessageLayout& request)>;
using EngineCatalog = std::map<std::string, EngineFactory>;

// Every engine that this build offers, by the name that a chain uses.
EngineCatalog native_engines();

}  // namespace mrpc::dataplane
