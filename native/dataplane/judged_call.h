// What a chain and its engines see of one call: at one hook (JudgedCall), and from its first message to its end (CallState).
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dataplane/message_block.h"
#include "dataplane/policy/abi.h"
#include "dataplane/policy/reply_store.h"
#include "dataplane/policy/state_table.h"

namespace mrpc::dataplane {

class Chain;

enum class Action : uint8_t {
  kForward,
  kDeny,   // verdict.denial
  kReply,  // verdict.reply: no server is asked
  kDelay,  // verdict.delay_ns, then behind this stage
  kHold,   // until Chain's user is told to try again, then at this stage
};

struct Verdict {
  std::optional<Error> denial;
  std::shared_ptr<const StoredReply> reply;
  uint64_t delay_ns = 0;
  struct Choice {  // of an endpoint, made while judging: the last one counts
    std::string app;     // empty: by hash
    uint64_t hash = 0;
  };
  std::optional<Choice> choice;
};

// A stored reply that a call fetches for others (leads), or waits for.
struct ReplyClaim {
  std::shared_ptr<ReplyStore> store;
  std::string key;
  uint32_t stage = 0, index = 0;  // of the chain; of the program's stores
  bool leads = false;
};

struct CallState {
  std::shared_ptr<Chain> chain;  // by which it entered; before what points into it
  uint32_t passed = 0;           // stages that let its first message pass: on_end is theirs
  std::string judged;            // chains that its caller's daemon has judged it by, believed; separated by commas
  uint64_t left_out = 0;         // Stage::group of theirs: they judge nothing of the call
  std::string tenant;
  std::vector<RowPin> rows;
  std::unique_ptr<uint64_t[]> cells;
  std::vector<std::byte> metadata;  // the request's, when an engine asks for it later
  std::vector<ReplyClaim> claims;
};

// What engines ask of the shard that runs them.
class EngineHost {
 public:
  virtual ~EngineHost() = default;
  virtual uint64_t random() = 0;
  // To operators. `policy` is "chain/policy".
  virtual void log(std::string_view policy, const mrpc_call& call, std::string_view text) = 0;
  // Calls that waited for a reply: each runs its hook again, on its shard.
  virtual void try_again(const std::vector<ReplyStore::CallKey>& calls) = 0;
};

// In a dry run: what of the request's metadata is not known, and which stages asked for it.
struct Unknown {
  std::span<const std::string> keys;
  bool all = false;
  std::map<uint32_t, std::set<std::string>> asked;  // stage -> keys

  void ask(uint32_t stage, std::string_view key) {
    if (all || std::find(keys.begin(), keys.end(), key) != keys.end()) asked[stage].emplace(key);
  }
};

struct FieldEdit {
  const struct FieldWrite* field;
  std::variant<int64_t, double, std::string> value;
};

// One judgement: a message of a call on its way through a chain, or its end.
struct JudgedCall {
  JudgedCall(EngineHost& host_, CallState& state_) : host(host_), state(state_) {}

  EngineHost& host;
  CallState& state;
  ReplyStore::CallKey key{};
  mrpc_call facts{};
  Message* message = nullptr;  // null at the end; its image is verified, in the server's schema
  const message::MessageLayout* layout = nullptr;
  uint64_t fingerprint = 0;    // of that schema
  message::Limits limits{};
  uint32_t stage = 0;          // that judges, or stopped
  Verdict verdict;
  Unknown* unknown = nullptr;
  std::vector<FieldEdit> edits;                                 // take effect behind the stage that made them
  std::vector<std::pair<std::string, std::string>> metadata_edits;  // in effect; written into the message when its judgement is over

  std::span<const std::byte> image() const { return message == nullptr ? std::span<const std::byte>{} : message->inline_image(); }
};

inline mrpc_text to_text(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view to_view(mrpc_text text) { return {text.data, text.size}; }

}  // namespace mrpc::dataplane
