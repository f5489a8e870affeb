#include "dataplane/policy/engine.h"

#include <algorithm>
#include <cstring>

#include "dataplane/policy/host.h"
#include "dataplane/policy/message_edit.h"
#include "dataplane/policy/row_key.h"

namespace mrpc::dataplane {
namespace {

constexpr double kLogsPerSecond = 20, kLogBurst = 100;  // of one policy on one route
constexpr size_t kLogBytesMax = 1024;

std::string_view text_of(const ScopePart& part, const JudgedCall& call) {
  switch (part.kind) {
    case ScopeKind::kClient: return to_view(call.facts.client);
    case ScopeKind::kServer: return to_view(call.facts.server);
    case ScopeKind::kService: return to_view(call.facts.service);
    case ScopeKind::kTenant: return to_view(call.facts.tenant);
    case ScopeKind::kMetadata: {
      for (const auto& [key, value] : call.metadata_edits)
        if (key == part.key) return value;
      if (call.unknown != nullptr) call.unknown->ask(call.stage, part.key);
      shm::MetadataReader reader(call.message == nullptr ? std::span<const std::byte>{} : call.message->metadata());
      for (shm::MetadataPair pair; reader.next(pair);)
        if (pair.key == part.key) return pair.value;
      return {};
    }
    default: return {};
  }
}

// Takes the next part off `key`, as append_part made it, if it is `text`.
bool skip_part(std::string_view& key, std::string_view text) {
  uint32_t bytes = 0;
  if (key.size() < sizeof bytes) return false;
  std::memcpy(&bytes, key.data(), sizeof bytes);
  if (bytes != text.size() || key.substr(sizeof bytes, bytes) != text) return false;
  key.remove_prefix(sizeof bytes + bytes);
  return true;
}

// Whether the call differs from others of its route by just this.
bool varies_as(std::span<const ScopePart> parts, const JudgedCall& call, std::string_view varying) {
  for (const ScopePart& part : parts)
    if (!is_route_constant(part) && !skip_part(varying, text_of(part, call))) return false;
  return varying.empty();
}

const char* fault_text(int32_t code) {
  switch (code) {
    case MRPC_FAULT_DIVISION: return "division by zero";
    case MRPC_FAULT_OVERFLOW: return "a number out of range";
    case MRPC_FAULT_INDEX: return "an index out of range";
    case MRPC_FAULT_FUEL: return "more than 100,000 steps of loops";
    case MRPC_FAULT_BOUNDS: return "a field outside of the message";
    case MRPC_FAULT_TEXT: return "a text that is too long";
    case MRPC_FAULT_HOST: return "metadata or a field that cannot be set to this value";
    default: return "a verdict that there is not";
  }
}

}  // namespace

ProgramEngine::ProgramEngine(std::shared_ptr<const PolicyInstance> instance, std::shared_ptr<const Program> program, uint32_t shard)
    : instance_(std::move(instance)), program_(std::move(program)), shard_(shard) {
  request_hook_ = program_->on_request;
  reply_hook_ = program_->on_reply;
  end_hook_ = program_->on_end;
  call_cells_ = instance_->call_cells();
  form_.config = instance_->config().data();
  form_.cells = instance_->cells().data();
  form_.old_cells = instance_->old_cells().data();
  form_.host = &policy_host();
  scope_count_ = static_cast<uint32_t>(instance_->scopes().size());
  for (uint32_t i = 0; i < scope_count_; ++i) {
    const InstanceScope& scope = instance_->scopes()[i];
    if (!scope.table) continue;
    scopes_[i].table = scope.table.get();
    scopes_[i].parts = scope.table->scope();
    scopes_[i].version = scope.map->version;
    concurrent_ |= scope.table->concurrent();
  }
}

Result<std::unique_ptr<Engine>> ProgramEngine::make(std::shared_ptr<const PolicyInstance> instance, std::shared_ptr<const Program> program,
                                                    const RouteInfo& route, const message::MethodLayout& method, uint32_t shard) {
  std::unique_ptr<ProgramEngine> engine(new ProgramEngine(std::move(instance), std::move(program), shard));
  if (Status resolved = engine->resolve_writes(method); !resolved) return resolved.error();
  const ProgramSpec& spec = engine->program_->spec();
  engine->whole_ = spec.reads_bytes || !spec.writes.empty() || !spec.stores.empty();
  engine->find_constant_rows(route);
  return std::unique_ptr<Engine>(std::move(engine));
}

Status ProgramEngine::resolve_writes(const message::MethodLayout& method) {
  for (const WriteSpec& write : program_->spec().writes) {
    const bool of_reply = write.field.starts_with("reply.");
    const size_t dot = write.field.find('.');
    if (dot == std::string::npos) return Error{StatusCode::kFailedPrecondition, "'" + write.field + "' is no field that can be written"};
    auto path = message::resolve_path(of_reply ? *method.reply : *method.request, std::string_view(write.field).substr(dot + 1));
    if (!path) return Error{StatusCode::kFailedPrecondition, path.error().text};
    const message::FieldLayout& leaf = path->leaf();
    const bool holds_text = leaf.type == message::FieldType::kString || leaf.type == message::FieldType::kBytes;
    if (leaf.cardinality != message::Cardinality::kSingular || leaf.type == message::FieldType::kMessage || leaf.oneof >= 0 || holds_text != write.text)
      return Error{StatusCode::kFailedPrecondition, "field '" + write.field + "' cannot be written, or is of another type"};
    writes_.push_back({std::move(*path), of_reply, write.text});
  }
  return ok_status();
}

void ProgramEngine::append_key(const Scope& scope, const JudgedCall& call, std::string& key) {
  for (const ScopePart& part : scope) {
    if (part.kind == ScopeKind::kMethod) append_part(key, to_view(call.facts.service));
    append_part(key, part.kind == ScopeKind::kMethod ? to_view(call.facts.method) : text_of(part, call));
  }
}

void ProgramEngine::find_constant_rows(const RouteInfo& route) {
  for (ScopeRow& scope : scopes_) {
    if (scope.table == nullptr) continue;
    if (!is_route_constant(scope.table->scope())) {
      ++rows_kept_;
      continue;
    }
    std::string key;
    for (const ScopePart& part : scope.table->scope()) {
      if (part.kind == ScopeKind::kClient) append_part(key, route.client);
      if (part.kind == ScopeKind::kService || part.kind == ScopeKind::kMethod) append_part(key, route.service);
      if (part.kind == ScopeKind::kMethod) append_part(key, route.method);
      if (part.kind == ScopeKind::kGlobal) append_part(key, {});
    }
    scope.row = RowPin(*scope.table, key);
    scope.constant = true;
  }
}

// Finds, at the call's first message, the rows and cells that are its own.
void ProgramEngine::prepare(JudgedCall& call) {
  for (uint32_t i = 0; i < call_cells_; ++i) call.state.cells[first_cell_ + i] = instance_->call_initial(i);
  uint32_t kept = first_row_;
  for (ScopeRow& scope : std::span(scopes_).first(scope_count_)) {
    if (scope.table == nullptr || scope.constant) continue;
    if (scope.row.get() == nullptr || !varies_as(scope.parts, call, scope.varying)) find_row(scope, call);
    call.state.rows[kept++] = scope.row.again();
  }
}

void ProgramEngine::find_row(ScopeRow& scope, const JudgedCall& call) {
  std::string key;
  append_key(scope.table->scope(), call, key);
  scope.row = RowPin(*scope.table, key);
  scope.varying.clear();
  for (const ScopePart& part : scope.parts)
    if (!is_route_constant(part)) append_part(scope.varying, text_of(part, call));
}

void ProgramEngine::carry(CallState& state, std::span<const std::string> keys) {
  uint32_t kept = first_row_;
  for (const ScopeRow& scope : scopes_) {
    if (scope.table == nullptr || scope.constant) continue;
    state.rows[kept] = RowPin(*scope.table, keys[kept]);
    ++kept;
  }
}

Action ProgramEngine::on_request(JudgedCall& call) {
  if (call.facts.first && (rows_kept_ != 0 || call_cells_ != 0)) prepare(call);
  return request_hook_ == nullptr ? Action::kForward : run(request_hook_, call, false);
}

Action ProgramEngine::on_reply(JudgedCall& call) { return run(reply_hook_, call, true); }

void ProgramEngine::on_end(JudgedCall& call) {
  run(end_hook_, call, false);
  call.verdict.denial.reset();
}

// Whether one of them is not yet as this program's version has it.
bool ProgramEngine::take_rows(StateTable::Row** held) {
  if (concurrent_)
    for (const uint8_t i : instance_->take_order()) scopes_[i].table->take(*held[i]);
  bool stale = false;
  for (uint32_t i = 0; i < scope_count_; ++i) stale |= held[i] != nullptr && held[i]->version < scopes_[i].version;
  return stale;
}

Action ProgramEngine::run(mrpc_hook hook, JudgedCall& call, bool replying) {
  uint8_t* rows[kScopesMax];
  StateTable::Row* held[kScopesMax];
  uint32_t kept = first_row_;
  for (uint32_t i = 0; i < scope_count_; ++i) {
    const ScopeRow& scope = scopes_[i];
    if (scope.table == nullptr) held[i] = nullptr;
    else held[i] = scope.constant ? scope.row.get() : call.state.rows[kept++].get();
    rows[i] = reinterpret_cast<uint8_t*>(held[i] == nullptr ? call.state.cells.get() + first_cell_ : held[i]->cells.data());
  }
  const bool stale = take_rows(held);
  mrpc_verdict verdict;
  verdict.code = verdict.line = 0;
  verdict.value = 0;
  verdict.text_size = 0;
  HookCall self{call, *this, replying, nullptr};
  const auto image = call.image();
  mrpc_frame frame = form_;
  frame.call = &call.facts;
  frame.image = reinterpret_cast<const uint8_t*>(image.data());
  frame.image_bytes = image.size();
  frame.rows = rows;
  frame.self = &self;
  frame.verdict = &verdict;
  if (stale) bring_up(frame, held);
  const int32_t kind = hook(&frame);
  if (concurrent_)
    for (const uint8_t i : instance_->take_order()) scopes_[i].table->release(*held[i]);
  return conclude(kind, verdict, call, self, replying);
}

void ProgramEngine::init_row(StateTable::Row& row, const CellMap& map) const {
  for (const CellMap::Field& field : map.fields)
    if (field.since > row.version) row.cells[field.cell] = field.initial;
}

// Rows that are new, or that another version touched last. mrpc_upgrade sees one row at a time, and no other.
void ProgramEngine::bring_up(mrpc_frame& frame, StateTable::Row** held) {
  for (const uint8_t i : instance_->take_order()) {
    StateTable::Row& row = *held[i];
    const CellMap& map = *instance_->scopes()[i].map;
    if (row.version >= map.version) continue;
    init_row(row, map);
    if (row.version != 0 && program_->upgrade != nullptr) {
      uint8_t* rows[kScopesMax] = {};
      rows[i] = frame.rows[i];
      mrpc_frame upgrade = frame;
      upgrade.rows = rows;
      upgrade.image = nullptr;
      upgrade.image_bytes = 0;
      if (program_->upgrade(&upgrade) == MRPC_FAULT) ++faults_;
      row.cells[StateTable::kZeroCell] = 0;
    }
    row.version = map.version;
  }
}

Action ProgramEngine::conclude(int32_t kind, const mrpc_verdict& verdict, JudgedCall& call, HookCall& self, bool replying) {
  const std::string_view text(verdict.text, std::min<uint32_t>(verdict.text_size, MRPC_TEXT_MAX));
  switch (kind) {
    case MRPC_FORWARD: return call.edits.empty() ? Action::kForward : apply_edits(verdict, call, Action::kForward);
    case MRPC_DENY: {
      const bool is_code = verdict.code > 0 && verdict.code <= kStatusCodeMax;
      call.verdict.denial = Error{is_code ? static_cast<StatusCode>(verdict.code) : StatusCode::kUnknown, std::string(text)};
      return Action::kDeny;
    }
    case MRPC_REPLY:
      if (!self.found) break;
      call.verdict.reply = std::move(self.found);
      return Action::kReply;
    case MRPC_DELAY:
      call.verdict.delay_ns = verdict.value;
      return apply_edits(verdict, call, verdict.value == 0 ? Action::kForward : Action::kDelay);
    case MRPC_ROUTE:
      if (replying) break;
      call.verdict.choice = Verdict::Choice{std::string(text), verdict.value};
      return apply_edits(verdict, call, Action::kForward);
    case MRPC_HOLD:
      if (!self.waits) break;
      return Action::kHold;
    case MRPC_FAULT: return fault(verdict, call);
    default: break;
  }
  mrpc_verdict unknown{};
  return fault(unknown, call);
}

Action ProgramEngine::apply_edits(const mrpc_verdict& verdict, JudgedCall& call, Action then) {
  if (call.edits.empty()) return then;
  const Status edited = edit_fields(*call.message, *call.layout, call.edits, call.limits);
  call.edits.clear();
  call.facts.message_bytes = call.message->header.image_bytes;
  if (edited) return then;
  mrpc_verdict refused{};
  refused.code = MRPC_FAULT_HOST;
  refused.line = verdict.line;
  return fault(refused, call);
}

// What a program cannot compute: the call is denied, or let pass, as the program says; operators hear of it either way.
Action ProgramEngine::fault(const mrpc_verdict& verdict, JudgedCall& call) {
  ++faults_;
  call.edits.clear();
  const ProgramSpec& spec = program_->spec();
  const std::string text = spec.source + ":" + std::to_string(verdict.line) + ": " + fault_text(verdict.code);
  log(call, "fault: " + text);
  if (spec.fault_open) return Action::kForward;
  call.verdict.denial = Error{StatusCode::kInternal, text};
  return Action::kDeny;
}

void ProgramEngine::log(JudgedCall& call, std::string_view text) {
  if (call.facts.now_ns > logged_ns_) {
    const double passed_s = static_cast<double>(call.facts.now_ns - logged_ns_) / 1e9;
    log_tokens_ = logged_ns_ == 0 ? kLogBurst : std::min(kLogBurst, log_tokens_ + passed_s * kLogsPerSecond);
    logged_ns_ = call.facts.now_ns;
  }
  if (log_tokens_ < 1) return;
  log_tokens_ -= 1;
  call.host.log(instance_->chain() + "/" + instance_->policy(), call.facts, text.substr(0, kLogBytesMax));
}

}  // namespace mrpc::dataplane
