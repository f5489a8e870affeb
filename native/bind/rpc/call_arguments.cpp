#include "bind/rpc/call_arguments.h"

#include <array>

#include "base/clock.h"

namespace mrpc::bind {
namespace {

constexpr size_t kArguments = 6;
constexpr std::array<const char*, kArguments> kNames = {"request",     "timeout",        "metadata",
                                                        "credentials", "wait_for_ready", "compression"};
std::array<PyObject*, kArguments> interned_names;

// Call sites' keywords are interned, so comparing pointers finds nearly all of them.
int index_of(PyObject* name) {
  for (size_t i = 0; i < kArguments; ++i)
    if (interned_names[i] == name) return static_cast<int>(i);
  for (size_t i = 0; i < kArguments; ++i)
    if (PyUnicode_CompareWithASCIIString(name, kNames[i]) == 0) return static_cast<int>(i);
  return -1;
}

}  // namespace

bool init_call_arguments() {
  for (size_t i = 0; i < kArguments; ++i)
    if (!(interned_names[i] = PyUnicode_InternFromString(kNames[i]))) return false;
  return true;
}

uint64_t deadline_after(double seconds) {
  constexpr double kForeverSeconds = 1e9;
  if (!(seconds > 0)) seconds = 0;
  if (seconds > kForeverSeconds) seconds = kForeverSeconds;
  return monotonic_ns() + static_cast<uint64_t>(seconds * 1e9);
}

bool CallArguments::parse(PyObject* const* args, size_t count, PyObject* names) {
  PyObject** const slots[kArguments] = {&request, &timeout, &metadata, &credentials, &wait_for_ready, &compression};
  if (count > kArguments) {
    PyErr_Format(PyExc_TypeError, "a call takes at most %zu arguments (%zu given)", kArguments, count);
    return false;
  }
  for (size_t i = 0; i < count; ++i) *slots[i] = args[i];
  const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    const int index = index_of(name);
    if (index < 0 || *slots[index]) {
      PyErr_Format(PyExc_TypeError, "%s argument '%U'", index < 0 ? "a call has no" : "a call was given twice the", name);
      return false;
    }
    *slots[index] = args[count + static_cast<size_t>(i)];
  }
  if (!request) PyErr_SetString(PyExc_TypeError, "a call needs a request");
  return request != nullptr;
}

bool CallArguments::deadline(uint64_t& deadline_ns) const {
  deadline_ns = 0;
  if (!timeout || timeout == Py_None) return true;
  const double seconds = PyFloat_AsDouble(timeout);
  if (seconds == -1.0 && PyErr_Occurred()) return false;
  deadline_ns = deadline_after(seconds);
  return true;
}

}  // namespace mrpc::bind
