// The little of CPython's API that the call path wraps. Calls go through types written against that API, not through nanobind: a
// binding layer's argument parsing would cost more than the call itself.
#pragma once

#include <Python.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include "base/result.h"

namespace mrpc::bind {

// Owns one reference. Used with the GIL held.
class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject* owned) : object_(owned) {}
  PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef& operator=(PyRef&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(object_); }
  static PyRef borrow(PyObject* object) { return PyRef(Py_XNewRef(object)); }

  explicit operator bool() const { return object_ != nullptr; }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }

 private:
  PyObject* object_ = nullptr;
};

// The GIL is not held while one of these lives. A daemon thread that wants it back while the interpreter ends gets it no more:
// CPython would unwind the thread through these frames, whose destructors need the GIL. Such a thread rests here for good.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    while (_Py_IsFinalizing() && gettid() != getpid()) pause();
    PyEval_RestoreThread(state_);
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// For a thread that waits without the GIL: takes it back for a moment to let Python run its signal handlers. Those run on the
// main thread only; on others this does nothing. True: a handler raised (Ctrl-C); the exception is set for when the GIL is back.
bool signal_raised();

inline PyObject* text_object(std::string_view text) {
  return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

// Sets the exception (mrpc.RpcError) that `error` means. Returns nullptr, so that callers can return it.
PyObject* raise(const Error& error);

}  // namespace mrpc::bind
