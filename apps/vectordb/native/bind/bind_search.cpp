// Searches as Python sees them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include "bind/arrays.h"
#include "bind/classes.h"
#include "search.h"

namespace curator::bind {
namespace {

// A predicate is for the index that made it: slots mean nothing elsewhere.
struct PredicateOf {
  const Index* index;
  Predicate predicate;
};

// One tenant is the common case, and spared the way through numpy.
class Tenants {
 public:
  explicit Tenants(nb::handle object) {
    if (nb::try_cast(object, one_, false)) return;
    given_ = tenants_from(object, "tenants");
    many_ = true;
  }
  std::span<const TenantId> all() const { return many_ ? span_of(given_) : std::span<const TenantId>(&one_, 1); }

 private:
  uint32_t one_ = 0;
  bool many_ = false;
  Array<uint32_t> given_;
};

struct Settings {
  bool exact;
  std::optional<uint32_t> budget, patience;
  std::optional<float> recall;
  const PredicateOf* where;
};

Ask ask_from(const Index& index, size_t k, const Settings& settings) {
  if (settings.budget == 0) throw nb::value_error("budget must be at least 1");
  if (settings.patience == 0) throw nb::value_error("patience must be at least 1");
  if (settings.recall && !(*settings.recall > 0)) throw nb::value_error("recall must be above 0 and at most 1");
  if (settings.where != nullptr && settings.where->index != &index) throw nb::value_error("where: this predicate was made by another index");
  const Ask ask{k, settings.exact, settings.budget.value_or(0), settings.patience.value_or(0), settings.recall.value_or(0),
                settings.where == nullptr ? nullptr : &settings.where->predicate};
  const Status checked = check_ask(ask);
  if (!checked) raise(checked.error());
  return ask;
}

auto search_one(const Index& index, nb::handle vector, size_t k, nb::handle tenants, bool exact, std::optional<uint32_t> budget,
                std::optional<uint32_t> patience, std::optional<float> recall, const PredicateOf* where) {
  const Ask ask = ask_from(index, k, {exact, budget, patience, recall, where});
  const Rows rows = rows_from(vector, index.options().dim);
  const Tenants who(tenants);
  same_length(rows.shape(0), 1, "vector and 1");
  auto hits = [&] {
    nb::gil_scoped_release release;
    return search(index, rows.data(), ask, who.all());
  }();
  std::vector<uint64_t> ids;
  std::vector<float> distances;
  for (const Hit& hit : good(hits)) ids.push_back(hit.id), distances.push_back(hit.distance);
  const size_t n = ids.size();
  return std::pair(to_numpy(std::move(ids), {n}), to_numpy(std::move(distances), {n}));
}

auto search_many_bound(const Index& index, nb::handle vectors, size_t k, nb::handle tenants, bool exact, std::optional<uint32_t> budget,
                 std::optional<uint32_t> patience, std::optional<float> recall, const PredicateOf* where, uint32_t threads) {
  const Ask ask = ask_from(index, k, {exact, budget, patience, recall, where});
  const Rows rows = rows_from(vectors, index.options().dim);
  const Tenants who(tenants);
  const size_t n = rows.shape(0);
  if (who.all().size() != 1) same_length(n, who.all().size(), "vectors and tenants");
  if (threads == 0) throw nb::value_error("threads must be at least 1");
  auto found = [&] {
    nb::gil_scoped_release release;
    return search_many(index, rows.data(), n, ask, who.all(), threads);
  }();
  Found& columns = good(found);
  return std::tuple(to_numpy(std::move(columns.ids), {n, k}), to_numpy(std::move(columns.distances), {n, k}),
                    to_numpy(std::move(columns.counts), {n}));
}

Expression expression_from(nb::handle what, size_t depth, size_t& size) {
  constexpr const char* kShape = "an expression is a tenant, (\"and\" | \"or\", part, ...) or (\"not\", part)";
  if (depth > Expression::kDepthMax) throw nb::value_error("an expression may be 32 levels deep: make it flatter");
  if (++size > Expression::kSizeMax) throw nb::value_error("an expression may have 1024 parts: name the ids in place of it");
  Expression expression;
  if (!nb::isinstance<nb::tuple>(what)) {
    const auto tenant = tenants_from(what, "tenant of an expression");
    if (tenant.shape(0) != 1) throw nb::value_error(kShape);
    expression.tenant = tenant(0);
    return expression;
  }
  const nb::tuple parts = nb::borrow<nb::tuple>(what);
  const std::string name = parts.size() > 1 && nb::isinstance<nb::str>(parts[0]) ? nb::cast<std::string>(parts[0]) : "";
  if (name == "and") expression.kind = Expression::Kind::kAnd;
  else if (name == "or") expression.kind = Expression::Kind::kOr;
  else if (name == "not" && parts.size() == 2) expression.kind = Expression::Kind::kNot;
  else throw nb::value_error(kShape);
  for (size_t i = 1; i < parts.size(); ++i) expression.parts.push_back(expression_from(parts[i], depth + 1, size));
  return expression;
}

PredicateOf* predicate(const Index& index, nb::handle what) {
  if (nb::isinstance<nb::tuple>(what) || nb::isinstance<nb::int_>(what)) {
    size_t size = 0;
    return new PredicateOf{&index, Predicate(expression_from(what, 1, size))};
  }
  const auto ids = ids_from(what, "ids of a predicate");
  return new PredicateOf{&index, Predicate(std::vector<VectorId>(ids.data(), ids.data() + ids.shape(0)))};
}

size_t size(const PredicateOf& self) {
  auto found = [&] {
    nb::gil_scoped_release release;
    return self.predicate.size(*self.index);
  }();
  return good(found);
}

}  // namespace

void bind_search(nb::module_& module, nb::class_<Index>& index) {
  nb::class_<PredicateOf>(module, "Predicate").def("__len__", size);
  const auto def = [&](const char* name, auto function, const char* first, auto... more) {
    index.def(name, function, nb::arg(first), nb::arg("k"), nb::arg("tenants"), nb::kw_only(), nb::arg("exact") = false,
              nb::arg("budget") = nb::none(), nb::arg("patience") = nb::none(), nb::arg("recall") = nb::none(),
              nb::arg("where").none() = nb::none(), more...);
  };
  def("search", search_one, "vector");
  def("search_many", search_many_bound, "vectors", nb::arg("threads") = 1);
  index.def("predicate", predicate, nb::arg("what"), nb::keep_alive<0, 1>());
}

}  // namespace curator::bind
