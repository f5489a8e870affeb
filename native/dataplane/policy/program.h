// A compiled policy program: what its compiler says of it, and the shared object in this process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/policy/abi.h"

namespace mrpc::dataplane {

enum class ConfigType : uint8_t { kInt, kFloat, kBool, kText, kInts, kTexts, kKeys };
enum class CellType : uint8_t { kInt, kFloat, kBool };

enum class ScopeKind : uint8_t { kCall, kClient, kServer, kService, kMethod, kTenant, kMetadata, kGlobal };
struct ScopePart {
  ScopeKind kind;
  std::string key;  // of kMetadata
  bool operator==(const ScopePart&) const = default;
};
using Scope = std::vector<ScopePart>;

// Errors: kInvalidArgument for a scope that is none.
Result<Scope> parse_scope(const std::vector<std::string>& parts);
std::vector<std::string> scope_names(const Scope& scope);  // the other way
bool is_call_scope(const Scope& scope);
// Whether all calls of one route are in one row, or equal in that part.
bool is_route_constant(const Scope& scope);
inline bool is_route_constant(const ScopePart& part) {
  return part.kind == ScopeKind::kClient || part.kind == ScopeKind::kService || part.kind == ScopeKind::kMethod || part.kind == ScopeKind::kGlobal;
}

// mrpc_service/policy/spec.py says what the fields mean.
struct ConfigFieldSpec {
  std::string name;
  ConfigType type;
  uint32_t offset;
};
struct StateFieldSpec {
  std::string name;
  CellType type;
  double initial = 0;
  std::string initial_from;  // a field of the configuration; empty: `initial`
};
struct StateScopeSpec {
  Scope scope;
  std::vector<StateFieldSpec> fields;
};
struct OldFieldSpec {
  Scope scope;
  std::string name;
  CellType type;
};
struct StoreSpec {
  std::string name;
  Scope scope;
};
struct LeaseSpec {
  std::string name, rate, burst, share;
};
struct WriteSpec {
  std::string field;
  CellType kind;  // kBool is not used
  bool text = false;
};

struct ProgramSpec {
  uint32_t abi = 0;
  std::string name, source, source_sha256, object;
  uint32_t config_bytes = 0;
  std::vector<ConfigFieldSpec> config;
  std::vector<StateScopeSpec> state;
  std::vector<OldFieldSpec> old;
  std::vector<StoreSpec> stores;
  std::vector<LeaseSpec> leases;
  std::vector<WriteSpec> writes;
  bool reads_bytes = false, reads_metadata = false, needs_layout = false, fault_open = false;

  const ConfigFieldSpec* config_field(const std::string& field) const;
};

constexpr size_t kScopesMax = 8;  // of one program's state

// The object stays mapped as long as one of these lives.
class Program {
 public:
  // Errors: kInvalidArgument with what is wrong with the object or its description.
  static Result<std::shared_ptr<const Program>> load(std::shared_ptr<const ProgramSpec> spec);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  const ProgramSpec& spec() const { return *spec_; }
  mrpc_hook on_request = nullptr, on_reply = nullptr, on_end = nullptr, upgrade = nullptr;

 private:
  Program(std::shared_ptr<const ProgramSpec> spec, void* handle) : spec_(std::move(spec)), handle_(handle) {}
  std::shared_ptr<const ProgramSpec> spec_;
  void* handle_;
};

}  // namespace mrpc::dataplane
