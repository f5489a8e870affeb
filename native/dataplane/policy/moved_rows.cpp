#include "dataplane/policy/moved_rows.h"

#include <cstring>

#include "dataplane/policy/row_key.h"

namespace mrpc::dataplane {
namespace {

std::vector<std::string> split_key(std::string_view key) {
  std::vector<std::string> parts;
  uint32_t bytes = 0;
  while (key.size() >= sizeof bytes) {
    std::memcpy(&bytes, key.data(), sizeof bytes);
    key.remove_prefix(sizeof bytes);
    parts.emplace_back(key.substr(0, bytes));
    key.remove_prefix(std::min<size_t>(bytes, key.size()));
  }
  return parts;
}

std::string join_key(const std::vector<std::string>& parts) {
  std::string key;
  for (const std::string& part : parts) append_part(key, part);
  return key;
}

}  // namespace

bool moves_state(const PolicyInstance& instance) {
  return instance.has_program() && instance.programs().begin()->second->on_end == nullptr;
}

std::vector<MovedRow> rows_of(const PolicyInstance& instance, const StateTable& table, std::vector<StateTable::SavedRow>&& saved) {
  std::vector<MovedRow> rows;
  for (auto& row : saved) rows.push_back({instance.policy(), scope_names(table.scope()), split_key(row.key), std::move(row.cells)});
  return rows;
}

bool put_row(const PolicyInstance& instance, const MovedRow& row, bool adds) {
  for (size_t i = 0; i < instance.scopes().size(); ++i) {
    const InstanceScope& scope = instance.scopes()[i];
    if (!scope.table || scope_names(scope.table->scope()) != row.scope) continue;
    scope.table->restore(*scope.map, instance.spec().state[i].fields, {join_key(row.key), row.cells}, adds);
    return true;
  }
  return false;
}

}  // namespace mrpc::dataplane
