#include "program_spec.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

namespace nb = nanobind;
using namespace mrpc::dataplane;

namespace {

std::string text(const nb::handle& from, const char* key) { return nb::cast<std::string>(from[key]); }

template <typename T, size_t N>
T choice(const nb::handle& from, const char* key, const std::pair<const char*, T> (&known)[N]) {
  const std::string name = text(from, key);
  for (const auto& [its, value] : known)
    if (name == its) return value;
  throw nb::value_error(("'" + name + "' is no " + key + " of a program's specification").c_str());
}

constexpr std::pair<const char*, ConfigType> kConfigTypes[] = {
    {"int", ConfigType::kInt},   {"float", ConfigType::kFloat}, {"bool", ConfigType::kBool}, {"text", ConfigType::kText},
    {"ints", ConfigType::kInts}, {"texts", ConfigType::kTexts}, {"keys", ConfigType::kKeys}};
constexpr std::pair<const char*, CellType> kCellTypes[] = {{"int", CellType::kInt}, {"float", CellType::kFloat}, {"bool", CellType::kBool}};
constexpr std::pair<const char*, CellType> kWriteKinds[] = {{"int", CellType::kInt}, {"float", CellType::kFloat}, {"text", CellType::kInt}};

Scope scope_of(const nb::handle& from) {
  auto scope = parse_scope(nb::cast<std::vector<std::string>>(from["scope"]));
  if (!scope) throw nb::value_error(scope.error().text.c_str());
  return *scope;
}

StateFieldSpec to_state_field(const nb::handle& from) {
  StateFieldSpec field{text(from, "name"), choice(from, "type", kCellTypes), 0, {}};
  const nb::object initial = from["initial"];
  if (nb::isinstance<nb::str>(initial)) field.initial_from = nb::cast<std::string>(initial);
  else field.initial = nb::cast<double>(nb::float_(initial));
  return field;
}

std::shared_ptr<const ProgramSpec> to_spec(const nb::dict& from) {
  auto spec = std::make_shared<ProgramSpec>();
  spec->abi = nb::cast<uint32_t>(from["abi"]);
  spec->name = text(from, "name");
  spec->source = text(from, "source");
  spec->source_sha256 = text(from, "source_sha256");
  spec->object = text(from, "object");
  spec->config_bytes = nb::cast<uint32_t>(from["config_bytes"]);
  for (nb::handle item : nb::list(from["config"]))
    spec->config.push_back({text(item, "name"), choice(item, "type", kConfigTypes), nb::cast<uint32_t>(item["offset"])});
  for (nb::handle item : nb::list(from["state"])) {
    StateScopeSpec& state = spec->state.emplace_back(StateScopeSpec{scope_of(item), {}});
    for (nb::handle field : nb::list(item["fields"])) state.fields.push_back(to_state_field(field));
  }
  for (nb::handle item : nb::list(from["old"])) spec->old.push_back({scope_of(item), text(item, "name"), choice(item, "type", kCellTypes)});
  for (nb::handle item : nb::list(from["stores"])) spec->stores.push_back({text(item, "name"), scope_of(item)});
  for (nb::handle item : nb::list(from["leases"]))
    spec->leases.push_back({text(item, "name"), text(item, "rate"), text(item, "burst"), text(item, "share")});
  for (nb::handle item : nb::list(from["writes"]))
    spec->writes.push_back({text(item, "field"), choice(item, "kind", kWriteKinds), text(item, "kind") == "text"});
  for (nb::handle item : nb::list(from["reads"])) spec->reads_metadata |= nb::cast<std::string>(item).starts_with("metadata");
  spec->reads_bytes = nb::cast<bool>(from["reads_bytes"]);
  spec->needs_layout = nb::cast<bool>(from["needs_layout"]);
  spec->fault_open = text(from, "on_fault") == "open";
  return spec;
}

}  // namespace

std::vector<Binding> to_bindings(const nb::list& list) {
  std::vector<Binding> bindings;
  for (nb::handle item : list)
    bindings.push_back({text(item, "chain"), text(item, "policy"), text(item, "service"), text(item, "method"),
                        nb::cast<uint64_t>(item["fingerprint"]), to_spec(nb::cast<nb::dict>(item["spec"]))});
  return bindings;
}
