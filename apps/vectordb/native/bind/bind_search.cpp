// Searches as Python sees them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>

#include "bind/arrays.h"
#include "bind/classes.h"
#include "search.h"

namespace curator::bind {
namespace {

auto search_one(const Index& index, nb::handle vector, size_t k, nb::handle tenants, const nb::kwargs&) {
  const Rows rows = rows_from(vector, index.options().dim);
  const auto who = tenants_from(tenants, "tenants");
  same_length(rows.shape(0), 1, "vector and 1");
  auto hits = [&] {
    nb::gil_scoped_release release;
    return search(index, rows.data(), k, span_of(who));
  }();
  std::vector<uint64_t> ids;
  std::vector<float> distances;
  for (const Hit& hit : good(hits)) ids.push_back(hit.id), distances.push_back(hit.distance);
  const size_t n = ids.size();
  return std::pair(to_numpy(std::move(ids), {n}), to_numpy(std::move(distances), {n}));
}

auto search_many(const Index& index, nb::handle vectors, size_t k, nb::handle tenants, const nb::kwargs&) {
  const Rows rows = rows_from(vectors, index.options().dim);
  const auto who = tenants_from(tenants, "tenants");
  const size_t n = rows.shape(0);
  if (who.shape(0) != 1) same_length(n, who.shape(0), "vectors and tenants");
  std::vector<uint64_t> ids(n * k);
  std::vector<float> distances(n * k);
  std::vector<uint32_t> counts(n);
  for (size_t i = 0; i < n; ++i) {
    auto hits = search(index, rows.data() + i * rows.shape(1), k, span_of(who).subspan(who.shape(0) == 1 ? 0 : i, 1));
    for (const Hit& hit : good(hits)) ids[i * k + counts[i]] = hit.id, distances[i * k + counts[i]++] = hit.distance;
  }
  return std::tuple(to_numpy(std::move(ids), {n, k}), to_numpy(std::move(distances), {n, k}), to_numpy(std::move(counts), {n}));
}

}  // namespace

void bind_search(nb::module_&, nb::class_<Index>& index) {
  index.def("search", search_one, nb::arg("vector"), nb::arg("k"), nb::arg("tenants"), nb::arg("settings"));
  index.def("search_many", search_many, nb::arg("vectors"), nb::arg("k"), nb::arg("tenants"), nb::arg("settings"));
}

}  // namespace curator::bind
