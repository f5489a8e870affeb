// Reads as Python sees them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "bind/arrays.h"
#include "bind/classes.h"

namespace curator::bind {
namespace {

auto ids_of(const Index& self, uint32_t tenant, std::optional<uint64_t> after, size_t limit) {
  auto ids = [&] {
    nb::gil_scoped_release release;
    return self.ids(tenant, after, limit);
  }();
  const size_t n = good(ids).size();
  return to_numpy(std::move(*ids), {n});
}

nb::object vectors(const Index& self, nb::handle ids) {
  const auto given = ids_from(ids, "ids");
  const size_t n = given.shape(0), dim = self.options().dim;
  auto rows = [&] {
    nb::gil_scoped_release release;
    return self.rows(span_of(given));
  }();
  const size_t bytes = good(rows).size();
  const nb::object flat = nb::cast(to_numpy(std::move(*rows), {bytes}));
  return flat.attr("view")(self.options().element == Element::kFloat32 ? "float32" : "float16").attr("reshape")(n, dim);
}

auto tenants(const Index& self, uint64_t id) {
  auto found = self.tenants(id);
  const size_t n = good(found).size();
  return to_numpy(std::move(*found), {n});
}

uint32_t owner(const Index& self, uint64_t id) {
  auto found = self.owner(id);
  return good(found);
}

using TreeRow = std::tuple<NodeId, std::optional<NodeId>, uint32_t, uint32_t, bool>;

void walk(const Index& self, const Part* part, std::optional<NodeId> parent, std::vector<TreeRow>& rows) {
  rows.emplace_back(part->node, parent, self.tree().node(part->node).depth, part->count, part->is_list());
  for (const Child& child : part->parts()) walk(self, child.part, part->node, rows);
}

std::vector<TreeRow> tenant_tree(const Index& self, uint32_t id) {
  const auto guard = self.read();
  std::vector<TreeRow> rows;
  const Tenant* tenant = self.tenant(id);
  const Part* root = tenant == nullptr ? nullptr : self.root(*tenant);
  if (root != nullptr) walk(self, root, std::nullopt, rows);
  return rows;
}

uint32_t count(const Index& self, uint32_t id) {
  const auto guard = self.read();
  const Tenant* tenant = self.tenant(id);
  return tenant == nullptr ? 0 : tenant->count.load(std::memory_order_relaxed);
}

bool contains(const Index& self, uint64_t id) {
  const auto guard = self.read();
  return self.find(id) != kNone;
}

}  // namespace

void bind_reads(nb::class_<Index>& index) {
  index.def("count", count, nb::arg("tenant"));
  index.def("ids", ids_of, nb::arg("tenant"), nb::arg("after") = nb::none(), nb::arg("limit") = 1000);
  index.def("owner", owner, nb::arg("id"));
  index.def("tenants", tenants, nb::arg("id"));
  index.def("vectors", vectors, nb::arg("ids"));
  index.def("tenant_tree", tenant_tree, nb::arg("tenant"));
  index.def("__contains__", contains, nb::arg("id"));
  index.def("__len__", &Index::size);
}

}  // namespace curator::bind
