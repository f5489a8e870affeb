#include "dataplane/policy/program.h"

#include <dlfcn.h>

#include <algorithm>

#include "dataplane/policy/object_check.h"

namespace mrpc::dataplane {
namespace {

constexpr struct { const char* name; ScopeKind kind; } kScopeNames[] = {
    {"call", ScopeKind::kCall},     {"client", ScopeKind::kClient}, {"server", ScopeKind::kServer}, {"service", ScopeKind::kService},
    {"method", ScopeKind::kMethod}, {"tenant", ScopeKind::kTenant}, {"global", ScopeKind::kGlobal}};
constexpr std::string_view kMetadataScope = "metadata:";

Status check_spec(const ProgramSpec& spec) {
  if (spec.abi != MRPC_POLICY_ABI)
    return invalid_argument("'" + spec.object + "' was compiled for ABI " + std::to_string(spec.abi) + ", this daemon has " +
                            std::to_string(MRPC_POLICY_ABI) + "; compile it again");
  if (spec.state.size() > kScopesMax) return invalid_argument(spec.source + ": state of more than 8 scopes");
  for (const ConfigFieldSpec& field : spec.config) {
    const uint32_t bytes = field.type <= ConfigType::kBool ? 8 : 16;
    if (field.offset % 8 != 0 || uint64_t{field.offset} + bytes > spec.config_bytes)
      return invalid_argument(spec.source + ": configuration field '" + field.name + "' lies outside its block");
  }
  return ok_status();
}

}  // namespace

Result<Scope> parse_scope(const std::vector<std::string>& parts) {
  Scope scope;
  for (const std::string& part : parts) {
    if (part.starts_with(kMetadataScope) && part.size() > kMetadataScope.size()) {
      scope.push_back({ScopeKind::kMetadata, part.substr(kMetadataScope.size())});
      continue;
    }
    const auto* known = std::find_if(std::begin(kScopeNames), std::end(kScopeNames), [&](const auto& entry) { return part == entry.name; });
    if (known == std::end(kScopeNames)) return invalid_argument("'" + part + "' is no scope of state");
    scope.push_back({known->kind, {}});
  }
  const bool has_call = std::any_of(scope.begin(), scope.end(), [](const ScopePart& part) { return part.kind == ScopeKind::kCall; });
  if (scope.empty() || (has_call && scope.size() > 1)) return invalid_argument("the scope 'call' stands alone, and a scope is not empty");
  return scope;
}

std::vector<std::string> scope_names(const Scope& scope) {
  std::vector<std::string> names;
  for (const ScopePart& part : scope) {
    if (part.kind == ScopeKind::kMetadata) names.push_back(std::string(kMetadataScope) + part.key);
    for (const auto& known : kScopeNames)
      if (known.kind == part.kind) names.emplace_back(known.name);
  }
  return names;
}

bool is_call_scope(const Scope& scope) { return scope.size() == 1 && scope[0].kind == ScopeKind::kCall; }

bool is_route_constant(const Scope& scope) {
  return std::all_of(scope.begin(), scope.end(), [](const ScopePart& part) { return is_route_constant(part); });
}

const ConfigFieldSpec* ProgramSpec::config_field(const std::string& field) const {
  for (const ConfigFieldSpec& known : config)
    if (known.name == field) return &known;
  return nullptr;
}

Result<std::shared_ptr<const Program>> Program::load(std::shared_ptr<const ProgramSpec> spec) {
  if (Status sound = check_spec(*spec); !sound) return sound.error();
  if (Status sound = check_object(spec->object); !sound) return sound.error();
  void* handle = ::dlopen(spec->object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return invalid_argument("'" + spec->object + "' cannot be loaded: " + ::dlerror());
  std::shared_ptr<Program> program(new Program(std::move(spec), handle));
  const auto* abi = static_cast<const uint32_t*>(::dlsym(handle, "mrpc_policy_abi"));
  if (abi == nullptr || *abi != MRPC_POLICY_ABI)
    return invalid_argument("'" + program->spec().object + "' is not a policy program of ABI " + std::to_string(MRPC_POLICY_ABI) + "; compile it again");
  const auto hook = [&](const char* name) { return reinterpret_cast<mrpc_hook>(::dlsym(handle, name)); };
  program->on_request = hook("mrpc_on_request");
  program->on_reply = hook("mrpc_on_reply");
  program->on_end = hook("mrpc_on_end");
  program->upgrade = hook("mrpc_upgrade");
  return std::shared_ptr<const Program>(std::move(program));
}

Program::~Program() { ::dlclose(handle_); }

}  // namespace mrpc::dataplane
