// Numpy arrays to spans and back. What is already of the right type is not copied.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace curator::bind {

namespace nb = nanobind;

template <typename T>
using Array = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Rows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

[[noreturn]] void raise(const mrpc::Error& error);  // as the exceptions of _curator.pyi
void define_errors(nb::module_& module);
template <typename T>
T& good(mrpc::Result<T>& result) {
  if (!result.ok()) raise(result.error());
  return result.value();
}

// Numbers, or a single one. `name` is for the message.
Array<uint64_t> ids_from(nb::handle object, const char* name);
Array<uint32_t> tenants_from(nb::handle object, const char* name);
// [n, dim], or a single vector as [1, dim].
Rows rows_from(nb::handle object, size_t dim);
template <typename T>
std::span<const T> span_of(const Array<T>& array) { return {array.data(), array.shape(0)}; }
inline void same_length(size_t a, size_t b, const char* what) {
  if (a != b) throw nb::value_error((std::string(what) + " differ in length: " + std::to_string(a) + " and " + std::to_string(b)).c_str());
}

// Takes the vector over.
template <typename T>
nb::ndarray<nb::numpy, T> to_numpy(std::vector<T> values, std::initializer_list<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* what) noexcept { delete static_cast<std::vector<T>*>(what); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape, owner);
}

}  // namespace curator::bind
