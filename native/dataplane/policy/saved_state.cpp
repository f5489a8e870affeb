#include "dataplane/policy/saved_state.h"

#include <cstring>

namespace mrpc::dataplane {
namespace {

class Writer {
 public:
  template <typename T>
  void put(T value) requires std::is_integral_v<T> {
    const auto* at = reinterpret_cast<const std::byte*>(&value);
    out.insert(out.end(), at, at + sizeof value);
  }
  void put(const std::string& text) {
    put(static_cast<uint32_t>(text.size()));
    const auto bytes = std::as_bytes(std::span(text));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::byte> out;
};

// After the first thing that cannot be, everything reads as zero, and `good` is false.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}
  template <typename T>
  T get() {
    T value{};
    if (check(sizeof value)) {
      std::memcpy(&value, rest_.data(), sizeof value);
      rest_ = rest_.subspan(sizeof value);
    }
    return value;
  }
  std::string text() {
    const auto bytes = get<uint32_t>();
    if (!check(bytes)) return {};
    std::string made(reinterpret_cast<const char*>(rest_.data()), bytes);
    rest_ = rest_.subspan(bytes);
    return made;
  }
  bool good() const { return good_; }
  bool finished() const { return good_ && rest_.empty(); }

 private:
  bool check(size_t bytes) { return good_ = good_ && bytes <= rest_.size(); }
  std::span<const std::byte> rest_;
  bool good_ = true;
};

std::string name_of(const Scope& scope) {
  std::string name;
  for (const ScopePart& part : scope) name += static_cast<char>('a' + static_cast<int>(part.kind)) + part.key + '\0';
  return name;
}

StateTable::SavedRow read_row(Reader& reader) {
  StateTable::SavedRow row{reader.text(), {}};
  const auto cells = reader.get<uint32_t>();
  for (uint32_t i = 0; i < cells && reader.good(); ++i) {
    std::string field = reader.text();
    const auto type = static_cast<CellType>(reader.get<uint8_t>());
    row.cells.push_back({std::move(field), type, reader.get<uint64_t>()});
  }
  return row;
}

}  // namespace

std::vector<std::byte> save_state(const PolicyInstance& instance) {
  Writer writer;
  uint32_t tables = 0;
  for (const InstanceScope& scope : instance.scopes()) tables += scope.table != nullptr;
  writer.put(tables);
  for (const InstanceScope& scope : instance.scopes()) {
    if (!scope.table) continue;
    const auto rows = scope.table->save();
    writer.put(name_of(scope.table->scope()));
    writer.put(static_cast<uint32_t>(rows.size()));
    for (const auto& row : rows) {
      writer.put(row.key);
      writer.put(static_cast<uint32_t>(row.cells.size()));
      for (const auto& cell : row.cells) {
        writer.put(cell.field);
        writer.put(static_cast<uint8_t>(cell.type));
        writer.put(cell.bits);
      }
    }
  }
  return std::move(writer.out);
}

Status restore_state(const PolicyInstance& instance, std::span<const std::byte> saved) {
  Reader reader(saved);
  const auto tables = reader.get<uint32_t>();
  for (uint32_t i = 0; i < tables && reader.good(); ++i) {
    const std::string name = reader.text();
    const auto rows = reader.get<uint32_t>();
    for (uint32_t j = 0; j < rows && reader.good(); ++j) {
      const auto row = read_row(reader);
      if (!reader.good()) break;
      for (size_t k = 0; k < instance.scopes().size(); ++k) {
        const InstanceScope& scope = instance.scopes()[k];
        if (scope.table && name_of(scope.table->scope()) == name) scope.table->restore(*scope.map, instance.spec().state[k].fields, row);
      }
    }
  }
  if (!reader.finished()) return invalid_argument("the saved state of policy '" + instance.policy() + "' is cut off or overlong");
  return ok_status();
}

}  // namespace mrpc::dataplane
