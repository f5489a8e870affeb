#include "bind/arrays.h"

#include <nanobind/stl/string.h>

namespace curator::bind {
namespace {

PyObject *unknown_id, *duplicate_id, *tenant_unloaded, *invariant_error;

PyObject* define(nb::module_& module, const char* name, PyObject* base, const char* doc) {
  const std::string full = "apps.vectordb._curator." + std::string(name);
  PyObject* const made = PyErr_NewExceptionWithDoc(full.c_str(), doc, base, nullptr);
  if (made == nullptr) throw nb::python_error();
  module.attr(name) = nb::borrow(made);
  return made;
}

nb::object numpy(const char* function, nb::handle object) { return nb::module_::import_("numpy").attr(function)(object); }

std::string kind_of(nb::handle array) { return nb::cast<std::string>(array.attr("dtype").attr("kind")); }

template <typename T>
Array<T> numbers_from(nb::handle object, const char* name, const char* dtype) {
  Array<T> fast;
  if (nb::try_cast(object, fast, false)) return fast;
  nb::object array = numpy("atleast_1d", object);
  const auto refuse = [&](const char* why) { throw nb::value_error((std::string(name) + " must be " + dtype + "[n]: " + why).c_str()); };
  if (nb::cast<size_t>(array.attr("ndim")) != 1) refuse("give one dimension");
  const std::string kind = kind_of(array);
  if (nb::len(array) > 0) {
    if (kind != "u" && kind != "i") refuse("these are not integers of 64 bits at most");
    for (const char* end : {"min", "max"}) {
      T fits;
      if (!nb::try_cast(array.attr(end)().attr("item")(), fits)) refuse("one is negative or too large");
    }
  }
  return nb::cast<Array<T>>(numpy("ascontiguousarray", array.attr("astype")(dtype)));
}

}  // namespace

void define_errors(nb::module_& module) {
  unknown_id = define(module, "UnknownId", PyExc_KeyError, "An id that the index does not hold.");
  duplicate_id = define(module, "DuplicateId", PyExc_ValueError, "An id given twice, or already held: use update().");
  tenant_unloaded = define(module, "TenantUnloaded", PyExc_RuntimeError, "The tenant's tree is not in memory: reload() it first.");
  invariant_error = define(module, "InvariantError", PyExc_AssertionError, "check() found damage; the text says where.");
}

void raise(const mrpc::Error& error) {
  const auto type = [&] {
    switch (error.code) {
      case mrpc::StatusCode::kNotFound: return unknown_id;
      case mrpc::StatusCode::kAlreadyExists: return duplicate_id;
      case mrpc::StatusCode::kFailedPrecondition: return tenant_unloaded;
      case mrpc::StatusCode::kInternal: return invariant_error;
      case mrpc::StatusCode::kUnavailable: return PyExc_OSError;
      case mrpc::StatusCode::kResourceExhausted: return PyExc_MemoryError;
      default: return PyExc_ValueError;
    }
  }();
  PyErr_SetString(type, error.text.c_str());
  throw nb::python_error();
}

Array<uint64_t> ids_from(nb::handle object, const char* name) { return numbers_from<uint64_t>(object, name, "uint64"); }
Array<uint32_t> tenants_from(nb::handle object, const char* name) { return numbers_from<uint32_t>(object, name, "uint32"); }

Rows rows_from(nb::handle object, size_t dim) {
  Rows rows;
  nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu> row;
  if (nb::try_cast(object, row, false)) {
    rows = Rows(row.data(), {1, row.shape(0)}, object);
  } else if (!nb::try_cast(object, rows, false)) {
    nb::object array = numpy("atleast_2d", object);
    const std::string kind = kind_of(array);
    if (kind != "f") throw nb::value_error(("vectors must be of floating point, not of kind '" + kind + "'").c_str());
    if (nb::cast<size_t>(array.attr("ndim")) != 2) throw nb::value_error("vectors must be [n, dim]");
    rows = nb::cast<Rows>(numpy("ascontiguousarray", array.attr("astype")("float32")));
  }
  if (rows.shape(1) != dim) {
    throw nb::value_error(("vectors have " + std::to_string(rows.shape(1)) + " dimensions, the index has " + std::to_string(dim)).c_str());
  }
  return rows;
}

}  // namespace curator::bind
