// Changes as Python sees them. Arguments are looked at with the GIL, the work is done without.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "bind/arrays.h"
#include "bind/classes.h"

namespace curator::bind {
namespace {

template <typename F>
auto without_gil(F&& work) {
  auto result = [&] {
    nb::gil_scoped_release release;
    return work();
  }();
  return std::move(good(result));
}

struct Pairs {
  Array<uint64_t> ids;
  Array<uint32_t> tenants;
  Pairs(nb::handle ids_in, nb::handle tenants_in, const char* ids_name, const char* tenants_name)
      : ids(ids_from(ids_in, ids_name)), tenants(tenants_from(tenants_in, tenants_name)) {
    same_length(ids.shape(0), tenants.shape(0), (std::string(ids_name) + " and " + tenants_name).c_str());
  }
};

struct Vectors {
  Array<uint64_t> ids;
  Rows rows;
  Vectors(const Index& index, nb::handle ids_in, nb::handle rows_in) : ids(ids_from(ids_in, "ids")), rows(rows_from(rows_in, index.options().dim)) {
    same_length(ids.shape(0), rows.shape(0), "ids and vectors");
  }
};

void build(Index& self, nb::handle ids, nb::handle vectors, nb::handle owners, nb::object grant_ids, nb::object grant_tenants) {
  if (grant_ids.is_none() != grant_tenants.is_none()) throw nb::value_error("give both of grant_ids and grant_tenants, or neither");
  const Vectors given(self, ids, vectors);
  const Pairs owned(ids, owners, "ids", "owners");
  const nb::object none = nb::list();
  const Pairs grants(grant_ids.is_none() ? none : grant_ids, grant_ids.is_none() ? none : grant_tenants, "grant_ids", "grant_tenants");
  without_gil([&] {
    auto built = self.build(span_of(given.ids), given.rows.data(), span_of(owned.tenants), span_of(grants.ids), span_of(grants.tenants));
    self.stops().learn_now(self);
    return built;
  });
}

void insert(Index& self, nb::handle ids, nb::handle vectors, nb::handle owners, bool learn) {
  const Vectors given(self, ids, vectors);
  const Pairs owned(ids, owners, "ids", "owners");
  without_gil([&] {
    auto inserted = self.insert(span_of(given.ids), given.rows.data(), span_of(owned.tenants));
    if (learn) self.stops().learn(self, Stops::kAll);
    return inserted;
  });
}

void update(Index& self, nb::handle ids, nb::handle vectors) {
  const Vectors given(self, ids, vectors);
  without_gil([&] { return self.update(span_of(given.ids), given.rows.data()); });
}

void remove(Index& self, nb::handle ids) {
  const auto given = ids_from(ids, "ids");
  without_gil([&] { return self.remove(span_of(given)); });
}

uint64_t grant(Index& self, nb::handle ids, nb::handle tenants) {
  const Pairs pairs(ids, tenants, "ids", "tenants");
  return without_gil([&] { return self.grant(span_of(pairs.ids), span_of(pairs.tenants)); });
}

uint64_t revoke(Index& self, nb::handle ids, nb::handle tenants) {
  const Pairs pairs(ids, tenants, "ids", "tenants");
  return without_gil([&] { return self.revoke(span_of(pairs.ids), span_of(pairs.tenants)); });
}

bool maintain(Index& self, uint64_t budget) {
  const bool more = self.maintain(budget);
  self.stops().learn(self, Stops::kAll);  // also while there is more: mending may take minutes, in which searches would look at everything
  return more;
}

bool learn(Index& self, std::optional<uint64_t> vectors) { return self.stops().learn(self, vectors.value_or(Stops::kAll)); }

uint64_t drop_tenant(Index& self, uint32_t tenant) {
  return without_gil([&] { return self.drop_tenant(tenant); });
}

}  // namespace

void bind_changes(nb::class_<Index>& index) {
  index.def("build", build, nb::arg("ids"), nb::arg("vectors"), nb::arg("owners"), nb::arg("grant_ids") = nb::none(),
            nb::arg("grant_tenants") = nb::none());
  index.def("insert", insert, nb::arg("ids"), nb::arg("vectors"), nb::arg("owners"), nb::kw_only(), nb::arg("learn") = true);
  index.def("update", update, nb::arg("ids"), nb::arg("vectors"));
  index.def("delete", remove, nb::arg("ids"));
  index.def("grant", grant, nb::arg("ids"), nb::arg("tenants"));
  index.def("revoke", revoke, nb::arg("ids"), nb::arg("tenants"));
  index.def("drop_tenant", drop_tenant, nb::arg("tenant"));
  index.def("learn", learn, nb::arg("vectors") = nb::none(), nb::call_guard<nb::gil_scoped_release>());
  index.def("maintain", maintain, nb::arg("budget") = 10000, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace curator::bind
