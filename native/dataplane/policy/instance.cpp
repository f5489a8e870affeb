#include "dataplane/policy/instance.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace mrpc::dataplane {
namespace {

const char* type_name(ConfigType type) {
  constexpr const char* kNames[] = {"an integer", "a number", "true or false", "a text", "a list of integers", "a list of texts", "a key set"};
  return kNames[static_cast<size_t>(type)];
}

Error wrong_type(const ConfigFieldSpec& field) { return invalid_argument("'" + field.name + "' must be " + type_name(field.type)); }

std::optional<int64_t> as_integer(const ConfigValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return *integer;
  const auto* number = std::get_if<double>(&value);
  if (number == nullptr || *number != static_cast<double>(static_cast<int64_t>(std::clamp(*number, -9e18, 9e18)))) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<double> as_number(const ConfigValue& value) {
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* number = std::get_if<double>(&value)) return *number;
  return std::nullopt;
}

// Lists come as texts, whatever is in them.
std::optional<std::vector<int64_t>> as_integers(const std::vector<std::string>& texts) {
  std::vector<int64_t> items;
  for (const std::string& text : texts) {
    int64_t item = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), item);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    items.push_back(item);
  }
  return items;
}

template <typename T>
void sort_once_each(std::vector<T>& items) {
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

Error at(const std::string& chain, const std::string& policy, const Error& error) {
  return {error.code, "chain '" + chain + "', policy '" + policy + "': " + error.text};
}

Status agree(const ProgramSpec& one, const ProgramSpec& other) {
  const bool same = one.source_sha256 == other.source_sha256 && one.config_bytes == other.config_bytes &&
                    one.config.size() == other.config.size() && one.state.size() == other.state.size() &&
                    one.stores.size() == other.stores.size() && one.leases.size() == other.leases.size() && one.old.size() == other.old.size();
  if (!same) return invalid_argument("its bindings are of different versions of '" + one.source + "'; compile all of them anew");
  return ok_status();
}

}  // namespace

template <typename T>
void ConfigBlock::put_at(uint32_t offset, const T& value) {
  MRPC_ASSERT(uint64_t{offset} + sizeof value <= words_.size() * 8);
  std::memcpy(reinterpret_cast<std::byte*>(words_.data()) + offset, &value, sizeof value);
}

int64_t ConfigBlock::integer(uint32_t offset) const { return static_cast<int64_t>(words_[offset / 8]); }
double ConfigBlock::number(uint32_t offset) const { return std::bit_cast<double>(words_[offset / 8]); }
std::string_view ConfigBlock::text(uint32_t offset) const {
  mrpc_text text;
  std::memcpy(&text, data() + offset, sizeof text);
  return to_view(text);
}

Result<std::unique_ptr<const ConfigBlock>> ConfigBlock::build(const ProgramSpec& spec, const EngineConfig& values) {
  auto block = std::make_unique<ConfigBlock>();
  block->words_.resize((spec.config_bytes + 7) / 8);
  for (const ConfigFieldSpec& field : spec.config) {
    const auto value = values.find(field.name);
    if (value == values.end()) return invalid_argument("'" + field.name + "' has no value");
    if (Status put = block->put(field, value->second); !put) return put.error();
  }
  return std::unique_ptr<const ConfigBlock>(std::move(block));
}

Status ConfigBlock::put(const ConfigFieldSpec& field, const ConfigValue& value) {
  switch (field.type) {
    case ConfigType::kInt: {
      const auto integer = as_integer(value);
      if (!integer) return wrong_type(field);
      return put_at(field.offset, *integer), ok_status();
    }
    case ConfigType::kFloat: {
      const auto number = as_number(value);
      if (!number) return wrong_type(field);
      return put_at(field.offset, *number), ok_status();
    }
    case ConfigType::kBool: {
      const bool* flag = std::get_if<bool>(&value);
      if (flag == nullptr) return wrong_type(field);
      return put_at(field.offset, int64_t{*flag}), ok_status();
    }
    case ConfigType::kText:
    case ConfigType::kKeys: {
      const auto* text = std::get_if<std::string>(&value);
      if (text == nullptr) return wrong_type(field);
      return put_at(field.offset, to_text(texts_.emplace_back(*text))), ok_status();
    }
    case ConfigType::kInts: {
      const auto* texts = std::get_if<std::vector<std::string>>(&value);
      auto items = texts == nullptr ? std::nullopt : as_integers(*texts);
      if (!items) return wrong_type(field);
      sort_once_each(*items);
      const auto& kept = ints_.emplace_back(std::move(*items));
      return put_at(field.offset, mrpc_list{kept.data(), kept.size()}), ok_status();
    }
    case ConfigType::kTexts: {
      const auto* texts = std::get_if<std::vector<std::string>>(&value);
      if (texts == nullptr) return wrong_type(field);
      std::vector<std::string> items = *texts;
      sort_once_each(items);
      auto& kept = lists_.emplace_back();
      for (std::string& item : items) kept.push_back(to_text(texts_.emplace_back(std::move(item))));
      return put_at(field.offset, mrpc_list{kept.data(), kept.size()}), ok_status();
    }
  }
  return wrong_type(field);
}

Result<std::shared_ptr<PolicyInstance>> PolicyInstance::make(std::string chain, std::string policy, const EngineConfig& config, Programs programs,
                                                             uint32_t shards, const PolicyInstance* before) {
  std::shared_ptr<PolicyInstance> made(new PolicyInstance(std::move(chain), std::move(policy), std::move(programs)));
  if (!made->has_program()) return made;  // nothing on offer that it selects
  for (const auto& [key, program] : made->programs_)
    if (Status same = agree(made->spec(), program->spec()); !same) return at(made->chain_, made->policy_, same.error());
  auto block = ConfigBlock::build(made->spec(), config);
  if (!block) return at(made->chain_, made->policy_, block.error());
  made->config_ = std::move(*block);
  if (before != nullptr && !before->has_program()) before = nullptr;
  if (Status built = made->build_state(shards, before); !built) return at(made->chain_, made->policy_, built.error());
  made->adopt_stores(before);
  if (Status built = made->build_verifiers(shards); !built) return at(made->chain_, made->policy_, built.error());
  return made;
}

Status PolicyInstance::build_state(uint32_t shards, const PolicyInstance* before) {
  for (const StateScopeSpec& scope : spec().state)
    if (Status built = build_scope(scope, shards > 1, before); !built) return built;
  for (uint8_t i = 0; i < scopes_.size(); ++i)
    if (scopes_[i].table) take_order_.push_back(i);
  std::sort(take_order_.begin(), take_order_.end(),
            [this](uint8_t a, uint8_t b) { return std::less<>{}(scopes_[a].table.get(), scopes_[b].table.get()); });
  place_old_fields();
  return ok_status();
}

Status PolicyInstance::build_scope(const StateScopeSpec& scope, bool concurrent, const PolicyInstance* before) {
  for (const StateScopeSpec& other : spec().state)
    if (&other != &scope && other.scope == scope.scope) return invalid_argument("two groups of state have one scope");
  InstanceScope& made = scopes_.emplace_back();
  std::vector<uint64_t> initials;
  for (const StateFieldSpec& field : scope.fields) {
    const auto bits = initial_of(field);
    if (!bits) return bits.error();
    initials.push_back(*bits);
  }
  if (is_call_scope(scope.scope)) {
    for (size_t i = 0; i < scope.fields.size(); ++i) cells_.push_back(static_cast<uint16_t>(i * 8));
    call_initials_ = std::move(initials);
    call_cells_ = static_cast<uint32_t>(scope.fields.size());
    return ok_status();
  }
  if (before != nullptr)
    for (const InstanceScope& known : before->scopes_)
      if (known.table && known.table->scope() == scope.scope) made.table = known.table;
  if (!made.table) made.table = std::make_shared<StateTable>(scope.scope, concurrent);
  std::vector<StateTable::Name> old;
  for (const OldFieldSpec& field : spec().old)
    if (field.scope == scope.scope) old.push_back({field.name, field.type});
  auto map = made.table->map(spec().source_sha256, scope.fields, initials, old);
  if (!map) return map.error();
  made.map = std::move(*map);
  for (const CellMap::Field& field : made.map->fields) cells_.push_back(static_cast<uint16_t>(field.cell * 8));
  return ok_status();
}

// In the order of the spec's `old`, which may mix scopes.
void PolicyInstance::place_old_fields() {
  std::vector<size_t> seen(scopes_.size());
  for (const OldFieldSpec& field : spec().old) {
    uint16_t offset = StateTable::kZeroCell * 8;
    for (size_t i = 0; i < scopes_.size(); ++i)
      if (scopes_[i].table && spec().state[i].scope == field.scope) offset = static_cast<uint16_t>(scopes_[i].map->old[seen[i]++] * 8);
    old_cells_.push_back(offset);
  }
}

Result<uint64_t> PolicyInstance::initial_of(const StateFieldSpec& field) const {
  double number = field.initial;
  if (!field.initial_from.empty()) {
    const ConfigFieldSpec* from = spec().config_field(field.initial_from);
    if (from == nullptr || from->type > ConfigType::kBool)
      return invalid_argument("state '" + field.name + "' begins with '" + field.initial_from + "', which is no number of the configuration");
    if (from->type != ConfigType::kFloat && field.type != CellType::kFloat) return static_cast<uint64_t>(config_->integer(from->offset));
    number = from->type == ConfigType::kFloat ? config_->number(from->offset) : static_cast<double>(config_->integer(from->offset));
  }
  if (field.type == CellType::kFloat) return std::bit_cast<uint64_t>(number);
  if (!(number >= -9.2e18 && number <= 9.2e18)) return invalid_argument("state '" + field.name + "' begins with a number that is too large");
  return static_cast<uint64_t>(static_cast<int64_t>(number));
}

void PolicyInstance::adopt_stores(const PolicyInstance* before) {
  for (const StoreSpec& store : spec().stores) {
    auto& made = stores_.emplace_back();
    for (size_t i = 0; before != nullptr && i < before->stores_.size(); ++i)
      if (before->spec().stores[i].name == store.name && before->spec().stores[i].scope == store.scope) made = before->stores_[i];
    if (!made) made = std::make_shared<ReplyStore>();
  }
  for (const LeaseSpec& lease : spec().leases) {
    auto& made = leases_.emplace_back();
    for (size_t i = 0; before != nullptr && i < before->leases_.size(); ++i)
      if (before->spec().leases[i].name == lease.name) made = before->leases_[i];
    if (!made) made = std::make_shared<LeaseAccount>();
  }
}

// Here, where it may take its time and fail, and not at a call.
Status PolicyInstance::build_verifiers(uint32_t shards) {
  for (const ConfigFieldSpec& field : spec().config) {
    if (field.type != ConfigType::kKeys) continue;
    auto& made = verifiers_[field.offset];
    for (uint32_t i = 0; i < shards; ++i) {
      auto verifier = TokenVerifier::from_jwks(config_->text(field.offset));
      if (!verifier) return invalid_argument("'" + field.name + "': " + verifier.error().text);
      made.push_back(std::move(*verifier));
    }
  }
  return ok_status();
}

TokenVerifier* PolicyInstance::verifier(uint32_t shard, uint32_t offset) const {
  const auto known = verifiers_.find(offset);
  return known == verifiers_.end() || shard >= known->second.size() ? nullptr : known->second[shard].get();
}

std::shared_ptr<const Program> PolicyInstance::program(std::string_view service, std::string_view method, uint64_t fingerprint) const {
  for (const auto& key : {ProgramKey{service, method, fingerprint}, ProgramKey{"", "", 0}})
    if (const auto known = programs_.find(key); known != programs_.end()) return known->second;
  return nullptr;
}

double PolicyInstance::number(const std::string& field) const {
  const ConfigFieldSpec* known = spec().config_field(field);
  if (known == nullptr || known->type > ConfigType::kBool) return 0;
  return known->type == ConfigType::kFloat ? config_->number(known->offset) : static_cast<double>(config_->integer(known->offset));
}

uint64_t PolicyInstance::rows() const {
  uint64_t sum = 0;
  for (const InstanceScope& scope : scopes_) sum += scope.table ? scope.table->rows() : 0;
  return sum;
}

uint64_t PolicyInstance::evicted() const {
  uint64_t sum = 0;
  for (const InstanceScope& scope : scopes_) sum += scope.table ? scope.table->evicted() : 0;
  return sum;
}

}  // namespace mrpc::dataplane
