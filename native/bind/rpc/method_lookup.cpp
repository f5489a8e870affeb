#include "bind/rpc/method_lookup.h"

#include "bind/message/codec.h"
#include "bind/message/schema.h"

namespace mrpc::bind {
namespace {

PyObject* describe(SchemaObject* schema, const message::ServiceLayout& service, const message::MethodLayout& method) {
  PyObject* request = PyDict_GetItemString(schema->classes, method.request->full_name.c_str());
  PyObject* reply = PyDict_GetItemString(schema->classes, method.reply->full_name.c_str());
  if (!request || !reply) Py_RETURN_NONE;  // a module with one of them has not been imported
  return Py_BuildValue("(OsOO)", schema, service.full_name.c_str(), request, reply);
}

}  // namespace

PyObject* find_method(PyObject* cls, const char* path) {
  if (!layout_of(cls)) return PyErr_Format(PyExc_TypeError, "%R is no message class", cls);
  SchemaObject* schema = class_info(reinterpret_cast<PyTypeObject*>(cls))->schema;
  for (const auto& service : schema->schema->services())
    for (const message::MethodLayout& method : service->methods)
      if (method.path == path) return describe(schema, *service, method);
  Py_RETURN_NONE;
}

}  // namespace mrpc::bind
