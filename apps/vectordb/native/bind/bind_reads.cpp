// Reads as Python sees them.
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
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
  auto found = [&] {
    nb::gil_scoped_release release;  // it may wait for a writer
    return self.tenants(id);
  }();
  const size_t n = good(found).size();
  return to_numpy(std::move(*found), {n});
}

uint32_t owner(const Index& self, uint64_t id) {
  auto found = [&] {
    nb::gil_scoped_release release;
    return self.owner(id);
  }();
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

auto centroid(const Index& self, uint32_t node) {
  auto found = [&] {
    nb::gil_scoped_release release;
    return self.centroid(node);
  }();
  const size_t n = good(found).size();
  return to_numpy(std::move(*found), {n});
}

nb::dict stats(const Index& self) {
  const Stats stats = [&] {
    nb::gil_scoped_release release;
    return self.stats();
  }();
  nb::dict named;
  const auto put = [&](const char* name, size_t value) { named[name] = value; };
  put("vectors", stats.vectors), put("grants", stats.grants), put("tenants", stats.tenants), put("unloaded", stats.unloaded);
  put("nodes", stats.nodes), put("leaves", stats.leaves), put("shortlists", stats.shortlists), put("depth", stats.depth);
  put("leaf_splits", stats.leaf_splits), put("leaf_merges", stats.leaf_merges), put("reclusters", stats.reclusters);
  put("waiting", stats.waiting), put("taught", !self.stops().due(self));
  put("bytes_vectors", stats.bytes_vectors), put("bytes_codes", stats.bytes_codes), put("bytes_ids", stats.bytes_ids);
  put("bytes_access", stats.bytes_access), put("bytes_tree", stats.bytes_tree), put("bytes_tenants", stats.bytes_tenants);
  put("bytes_total", stats.bytes_vectors + stats.bytes_codes + stats.bytes_ids + stats.bytes_access + stats.bytes_tree + stats.bytes_tenants);
  return named;
}

void check(const Index& self) {
  Status found = [&] {
    nb::gil_scoped_release release;
    return self.check();
  }();
  good(found);
}

nb::bytes unload(Index& self, uint32_t tenant) {
  auto blob = [&] {
    nb::gil_scoped_release release;
    return self.unload(tenant);
  }();
  const std::string& bytes = good(blob);
  return nb::bytes(bytes.data(), bytes.size());
}

void reload(Index& self, uint32_t tenant, nb::bytes blob) {
  Status done = [&] {
    nb::gil_scoped_release release;
    return self.reload(tenant, {blob.c_str(), blob.size()});
  }();
  good(done);
}

std::unique_ptr<Cut> cut(const Index& self) {
  auto cut = [&] {
    nb::gil_scoped_release release;
    return self.cut();
  }();
  return std::move(good(cut));
}

void save(const Cut& self, const std::filesystem::path& path) {
  Status done = [&] {
    nb::gil_scoped_release release;
    return self.save(path.string());
  }();
  good(done);
}

std::unique_ptr<Index> load(const std::filesystem::path& path) {
  auto loaded = [&] {
    nb::gil_scoped_release release;
    return Index::load(path.string());
  }();
  return std::move(good(loaded));
}

}  // namespace

void bind_reads(nb::module_& module, nb::class_<Index>& index) {
  nb::class_<Cut>(module, "Cut", "An index as of one moment.").def("save", save, nb::arg("path"));
  index.def("count", count, nb::arg("tenant"));
  index.def("ids", ids_of, nb::arg("tenant"), nb::arg("after") = nb::none(), nb::arg("limit") = 1000);
  index.def("owner", owner, nb::arg("id"));
  index.def("tenants", tenants, nb::arg("id"));
  index.def("vectors", vectors, nb::arg("ids"));
  index.def("tenant_tree", tenant_tree, nb::arg("tenant"));
  index.def("centroid", centroid, nb::arg("node"));
  index.def("stats", stats);
  index.def_prop_ro("taught", [](const Index& self) { return !self.stops().due(self); });
  index.def("check", check);
  index.def("unload", unload, nb::arg("tenant"));
  index.def("reload", reload, nb::arg("tenant"), nb::arg("blob"));
  index.def("cut", cut, nb::keep_alive<0, 1>());
  index.def_static("load", load, nb::arg("path"));
  index.def("__contains__", contains, nb::arg("id"));
  index.def("__len__", &Index::size);
}

}  // namespace curator::bind
