// The module _curator: see apps/vectordb/_curator.pyi.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "bind/arrays.h"
#include "bind/classes.h"

namespace curator::bind {
namespace {

template <typename T>
T chosen(const std::string& name, const char* what, std::initializer_list<std::pair<const char*, T>> known) {
  std::string names;
  for (const auto& [each, value] : known) {
    if (name == each) return value;
    names += (names.empty() ? "'" : ", '") + std::string(each) + "'";
  }
  throw nb::value_error((std::string(what) + " must be one of " + names).c_str());
}

void construct(Index* self, uint32_t dim, const std::string& metric, const std::string& dtype, uint32_t shortlist_max, uint32_t leaf_max,
               uint32_t branching, float recall, uint64_t seed) {
  Options options{dim, Metric::kL2, Element::kFloat32, shortlist_max, leaf_max, branching, recall, seed};
  options.metric = chosen<Metric>(metric, "metric", {{"l2", Metric::kL2}, {"ip", Metric::kInnerProduct}, {"cosine", Metric::kCosine}});
  options.element = chosen<Element>(dtype, "dtype", {{"float32", Element::kFloat32}, {"float16", Element::kFloat16}});
  Status checked = Index::check_options(options);
  good(checked);
  new (self) Index(options);
}

std::string metric_name(const Index& index) {
  switch (index.options().metric) {
    case Metric::kL2: return "l2";
    case Metric::kInnerProduct: return "ip";
    default: return "cosine";
  }
}

NB_MODULE(_curator, module) {
  module.doc() = "The index of the vector database; see apps/vectordb/_curator.pyi.";
  define_errors(module);
  nb::class_<Index> index(module, "Index", "Multi-tenant index over one space.");
  index.def("__init__", construct, nb::arg("dim"), nb::kw_only(), nb::arg("metric") = "l2", nb::arg("dtype") = "float32",
            nb::arg("shortlist_max") = 128, nb::arg("leaf_max") = 256, nb::arg("branching") = 16, nb::arg("recall") = 0.97f, nb::arg("seed") = 0);
  index.def_prop_ro("dim", [](const Index& self) { return self.options().dim; });
  index.def_prop_ro("metric", metric_name);
  index.def_prop_ro("dtype", [](const Index& self) { return self.options().element == Element::kFloat32 ? "float32" : "float16"; });
  bind_changes(index);
  bind_reads(module, index);
  bind_search(module, index);
}

}  // namespace
}  // namespace curator::bind
