// Rows of a chain's state, as they pass from one daemon to another when the chain moves (decision 020): by policy, scope, key, and field's name and type.
//
// Policies that look at the end of a call keep theirs: open calls end where they were judged, so what counts them belongs there.
#pragma once

#include "dataplane/policy/instance.h"

namespace mrpc::dataplane {

struct MovedRow {
  std::string policy;
  std::vector<std::string> scope;  // as parse_scope() takes it
  std::vector<std::string> key;    // a text for each part of the scope; for "method" two, service and method
  std::vector<StateTable::SavedCell> cells;
};

bool moves_state(const PolicyInstance& instance);

// Of one table of the instance; both as StateTable::save() and restore().
std::vector<MovedRow> rows_of(const PolicyInstance& instance, const StateTable& table, std::vector<StateTable::SavedRow>&& saved);
// False when the instance has no such scope.
bool put_row(const PolicyInstance& instance, const MovedRow& row, bool adds);

}  // namespace mrpc::dataplane
