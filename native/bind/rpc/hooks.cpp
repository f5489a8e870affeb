#include "bind/rpc/hooks.h"

#include <unistd.h>

namespace mrpc::bind {

Hooks& hooks() {
  static Hooks instance;
  return instance;
}

PyObject* raise_status(StatusCode code, std::string_view details, PyObject* initial, PyObject* trailing, std::string_view rich) {
  PyRef text(text_object(details));
  PyRef rich_bytes(PyBytes_FromStringAndSize(rich.data(), static_cast<Py_ssize_t>(rich.size())));
  if (!text || !rich_bytes) return nullptr;
  PyRef error(PyObject_CallFunction(hooks().make_error, "iOOOO", static_cast<int>(code), text.get(), initial, trailing,
                                    rich_bytes.get()));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

PyObject* raise(const Error& error) {
  PyRef none(PyTuple_New(0));
  return none ? raise_status(error.code, error.text, none.get(), none.get(), {}) : nullptr;
}

bool signal_raised() {
  if (gettid() != getpid()) return false;  // Python runs handlers on the main thread, which after fork() is the one that forked
  PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0;
  PyGILState_Release(state);
  return raised;
}

}  // namespace mrpc::bind
