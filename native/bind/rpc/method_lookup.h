// Finding a method's classes for programs that name it by path and (de)serialisers, as code generated for gRPC does.
#pragma once

#include "bind/rpc/python.h"

namespace mrpc::bind {

// (schema, service's full name, request class, reply class) of `path` in the schema that message class `cls` was made by; None
// when that schema has no such method. nullptr with an exception set (TypeError: no message class).
PyObject* find_method(PyObject* cls, const char* path);

}  // namespace mrpc::bind
