#include "dataplane/policy/host.h"

#include <algorithm>
#include <cmath>

#include "dataplane/policy/message_edit.h"
#include "message/utf8.h"

namespace mrpc::dataplane {
namespace {

constexpr size_t kMetadataEditsMax = 64;
constexpr size_t kKeyBytesMax = 4096;  // of a stored reply

HookCall& hook_of(mrpc_frame* frame) { return *static_cast<HookCall*>(frame->self); }

std::span<const std::byte> request_metadata(const HookCall& self) {
  if (!self.replying && self.call.message != nullptr && self.call.facts.first) return self.call.message->metadata();
  return self.call.state.metadata;
}

int32_t metadata(mrpc_frame* frame, mrpc_text key, mrpc_text* value) {
  const HookCall& self = hook_of(frame);
  *value = {"", 0};
  if (!self.replying)
    for (auto edit = self.call.metadata_edits.rbegin(); edit != self.call.metadata_edits.rend(); ++edit)
      if (edit->first == to_view(key)) return *value = to_text(edit->second), !edit->second.empty();
  if (self.call.unknown != nullptr) self.call.unknown->ask(self.call.stage, to_view(key));
  shm::MetadataReader reader(request_metadata(self));
  for (shm::MetadataPair pair; reader.next(pair);)
    if (pair.key == to_view(key)) return *value = to_text(pair.value), 1;
  return 0;
}

int32_t set_metadata(mrpc_frame* frame, mrpc_text key, mrpc_text value) {
  HookCall& self = hook_of(frame);
  auto& edits = self.call.metadata_edits;
  if (self.call.message == nullptr || !is_settable_key(to_view(key)) || edits.size() >= kMetadataEditsMax) return MRPC_FAULT_HOST;
  uint64_t bytes = self.call.message->metadata().size() + 16 + key.size + value.size;
  for (const auto& [name, content] : edits) bytes += 16 + name.size() + content.size();
  if (bytes > abi::kMetadataBytesMax) return MRPC_FAULT_HOST;
  std::erase_if(edits, [&](const auto& edit) { return edit.first == to_view(key); });
  edits.emplace_back(to_view(key), to_view(value));
  return 0;
}

int32_t set_field(mrpc_frame* frame, uint32_t field, const mrpc_value* value) {
  HookCall& self = hook_of(frame);
  const FieldWrite* write = self.engine.write(field);
  if (write == nullptr || self.call.message == nullptr || write->of_reply != self.replying) return MRPC_FAULT_HOST;
  FieldEdit edit{write, value->integer};
  const auto type = write->path.leaf().type;
  if (write->text) {
    if (type == message::FieldType::kString && !message::valid_utf8(to_view(value->text))) return MRPC_FAULT_HOST;
    edit.value = std::string(to_view(value->text));
  } else if (type == message::FieldType::kDouble || type == message::FieldType::kFloat) {
    edit.value = value->number;
  }
  self.call.edits.push_back(std::move(edit));
  return 0;
}

uint64_t random(mrpc_frame* frame) { return hook_of(frame).call.host.random(); }

void log(mrpc_frame* frame, mrpc_text text) { hook_of(frame).engine.log(hook_of(frame).call, to_view(text)); }

int32_t answer(mrpc_frame* frame, uint32_t index, mrpc_text text) {
  HookCall& self = hook_of(frame);
  JudgedCall& call = self.call;
  const auto& stores = self.engine.program().spec().stores;
  MRPC_ASSERT(index < stores.size());
  const auto& store = self.engine.instance().store(index);
  // Neither a longer key nor a reply without a request has a place in the store: the call goes to its server, and stores nothing.
  if (self.replying || !call.facts.first || !call.facts.last || text.size > kKeyBytesMax) return MRPC_ANSWER_LEAD;
  std::string key;
  ProgramEngine::append_key(stores[index].scope, call, key);
  key.append(to_view(call.facts.service)).append(1, '/').append(to_view(call.facts.method)).append(1, '\0');
  key.append(reinterpret_cast<const char*>(&call.fingerprint), sizeof call.fingerprint).append(to_view(text));
  std::erase_if(call.state.claims, [&](const ReplyClaim& claim) { return claim.stage == call.stage && claim.index == index && !claim.leads; });
  auto found = store->answer(key, call.facts.now_ns, call.key);
  if (found.found == ReplyStore::Found::kHit) {
    self.found = std::move(found.reply);
    return MRPC_ANSWER_HIT;
  }
  const bool leads = found.found == ReplyStore::Found::kLead;
  call.state.claims.push_back({store, std::move(key), call.stage, index, leads});
  self.waits |= !leads;
  return leads ? MRPC_ANSWER_LEAD : MRPC_ANSWER_WAIT;
}

void store(mrpc_frame* frame, uint32_t index, uint64_t ttl_ns, uint64_t bytes_max) {
  HookCall& self = hook_of(frame);
  JudgedCall& call = self.call;
  auto& claims = call.state.claims;
  const auto claim = std::find_if(claims.begin(), claims.end(), [&](const ReplyClaim& c) { return c.stage == call.stage && c.index == index && c.leads; });
  if (!self.replying || claim == claims.end() || !call.facts.last || call.message == nullptr) return;
  const auto image = call.image();
  const auto kept = call.message->metadata();
  StoredReply reply{{image.begin(), image.end()}, {kept.begin(), kept.end()}, call.fingerprint};
  const uint64_t expires_ns = ttl_ns > UINT64_MAX - call.facts.now_ns ? UINT64_MAX : call.facts.now_ns + ttl_ns;
  const auto waited = claim->store->store(claim->key, std::move(reply), expires_ns, bytes_max, call.key);
  claims.erase(claim);
  call.host.try_again(waited);
}

int32_t take(mrpc_frame* frame, uint32_t index, double want) {
  const HookCall& self = hook_of(frame);
  MRPC_ASSERT(index < self.engine.program().spec().leases.size());
  return std::isfinite(want) && want >= 0 && self.engine.instance().lease(index).take(want);
}

void token(mrpc_frame* frame, uint32_t keys, mrpc_text text, mrpc_text audience, mrpc_text issuer, uint64_t leeway_ns, mrpc_token* out) {
  const HookCall& self = hook_of(frame);
  TokenVerifier* verifier = self.engine.instance().verifier(self.engine.shard(), keys);
  *out = {0, to_text("no keys are configured"), to_text(""), to_text(""), 0};
  if (verifier == nullptr) return;
  const TokenClaims& claims = verifier->verify(to_view(text), to_view(audience), to_view(issuer), leeway_ns, self.call.facts.unix_ns);
  *out = {claims.valid, to_text(claims.problem), to_text(claims.subject), to_text(claims.issuer), claims.expires_unix_s};
}

}  // namespace

const mrpc_host& policy_host() {
  static const mrpc_host host{metadata, set_metadata, set_field, random, log, answer, store, take, token};
  return host;
}

}  // namespace mrpc::dataplane
