// Python dictionaries of fields, in one expression.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>

namespace mrpc::bind {

inline void put_all(nanobind::dict&) {}

template <typename Value, typename... Rest>
void put_all(nanobind::dict& into, const char* name, Value&& value, Rest&&... rest) {
  into[name] = std::forward<Value>(value);
  put_all(into, std::forward<Rest>(rest)...);
}

// dict_of("a", 1, "b", text): {"a": 1, "b": text}.
template <typename... Fields>
nanobind::dict dict_of(Fields&&... fields) {
  nanobind::dict made;
  put_all(made, std::forward<Fields>(fields)...);
  return made;
}

}  // namespace mrpc::bind
