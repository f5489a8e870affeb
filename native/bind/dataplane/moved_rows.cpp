#include "bind/dataplane/moved_rows.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <bit>

#include "bind/dataplane/dict.h"

namespace nb = nanobind;

namespace mrpc::bind {
namespace {

using dataplane::CellType;
using Cell = dataplane::StateTable::SavedCell;

nb::object from_bits(const Cell& cell) {
  if (cell.type == CellType::kFloat) return nb::float_(std::bit_cast<double>(cell.bits));
  if (cell.type == CellType::kBool) return nb::bool_(cell.bits != 0);
  return nb::int_(static_cast<int64_t>(cell.bits));
}

Cell to_cell(const std::string& field, nb::handle value) {
  if (nb::isinstance<nb::bool_>(value)) return {field, CellType::kBool, nb::cast<bool>(value)};  // before int, which it is, too
  if (nb::isinstance<nb::float_>(value)) return {field, CellType::kFloat, std::bit_cast<uint64_t>(nb::cast<double>(value))};
  return {field, CellType::kInt, static_cast<uint64_t>(nb::cast<int64_t>(value))};
}

}  // namespace

nb::list from_moved_rows(const std::vector<dataplane::MovedRow>& rows) {
  nb::list out;
  for (const dataplane::MovedRow& row : rows) {
    nb::list key;
    for (const std::string& part : row.key) key.append(nb::bytes(part.data(), part.size()));  // whatever a caller's metadata holds
    nb::dict cells;
    for (const Cell& cell : row.cells) cells[cell.field.c_str()] = from_bits(cell);
    out.append(dict_of("policy", row.policy, "scope", row.scope, "key", key, "cells", cells));
  }
  return out;
}

std::vector<dataplane::MovedRow> to_moved_rows(const nb::list& documents) {
  std::vector<dataplane::MovedRow> rows;
  for (nb::handle document : documents) {
    const auto fields = nb::cast<nb::dict>(document);
    auto& row = rows.emplace_back();
    row.policy = nb::cast<std::string>(fields["policy"]);
    row.scope = nb::cast<std::vector<std::string>>(fields["scope"]);
    for (nb::handle part : nb::cast<nb::list>(fields["key"])) {
      const auto bytes = nb::cast<nb::bytes>(part);
      row.key.emplace_back(bytes.c_str(), bytes.size());
    }
    for (const auto& [name, value] : nb::cast<nb::dict>(fields["cells"])) row.cells.push_back(to_cell(nb::cast<std::string>(name), value));
  }
  return rows;
}

}  // namespace mrpc::bind
