// mrpc.BytesView: content of a bytes field read where it stands. It behaves as `bytes` of the same content.
#include <cstring>

#include "bind/message/object.h"

namespace mrpc::bind {
namespace {

struct BytesViewObject {
  PyObject_HEAD
  const std::byte* data;
  Py_ssize_t length;
  PyObject* owner;    // keeps `data`
  Py_buffer buffer;   // or: an exporter keeps it
};

BytesViewObject* as_view(PyObject* object) { return reinterpret_cast<BytesViewObject*>(object); }
const char* chars(BytesViewObject* view) { return reinterpret_cast<const char*>(view->data); }

BytesViewObject* allocate() {
  auto* view = reinterpret_cast<BytesViewObject*>(types.bytes_view->tp_alloc(types.bytes_view, 0));
  if (view != nullptr) view->owner = nullptr, view->buffer.obj = nullptr;
  return view;
}

void dealloc(PyObject* self) {
  BytesViewObject* view = as_view(self);
  Py_XDECREF(view->owner);
  if (view->buffer.obj != nullptr) PyBuffer_Release(&view->buffer);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* to_bytes(PyObject* self, PyObject* = nullptr) {
  return PyBytes_FromStringAndSize(chars(as_view(self)), as_view(self)->length);
}

int get_buffer(PyObject* self, Py_buffer* buffer, int flags) {
  return PyBuffer_FillInfo(buffer, self, const_cast<std::byte*>(as_view(self)->data), as_view(self)->length, 1, flags);
}

Py_ssize_t length(PyObject* self) { return as_view(self)->length; }

PyObject* item(PyObject* self, Py_ssize_t index) {
  if (index < 0 || index >= as_view(self)->length) {
    PyErr_SetString(PyExc_IndexError, "index out of range");
    return nullptr;
  }
  return PyLong_FromLong(static_cast<unsigned char>(chars(as_view(self))[index]));
}

// A long contiguous part is again a view.
PyObject* subscript(PyObject* self, PyObject* key) {
  if (PyIndex_Check(key)) {
    const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) return nullptr;
    return item(self, index < 0 ? index + length(self) : index);
  }
  Py_ssize_t start, stop, step;
  if (!PySlice_Check(key)) return PyErr_Format(PyExc_TypeError, "byte indices must be integers or slices, not %s", Py_TYPE(key)->tp_name);
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) return nullptr;
  const Py_ssize_t count = PySlice_AdjustIndices(length(self), &start, &stop, step);
  if (step == 1) return new_bytes(as_view(self)->data + start, count, self);
  Owned bytes(to_bytes(self));
  return bytes ? PyObject_GetItem(bytes.get(), key) : nullptr;
}

PyObject* compare(PyObject* self, PyObject* other, int op) {
  Py_buffer right;
  if (!PyObject_CheckBuffer(other)) Py_RETURN_NOTIMPLEMENTED;
  if (PyObject_GetBuffer(other, &right, PyBUF_SIMPLE) < 0) {
    PyErr_Clear();
    Py_RETURN_NOTIMPLEMENTED;
  }
  const Py_ssize_t left_length = length(self), shorter = std::min(left_length, right.len);
  int order = std::memcmp(chars(as_view(self)), right.buf, static_cast<size_t>(shorter));
  if (order == 0) order = left_length < right.len ? -1 : left_length > right.len;
  PyBuffer_Release(&right);
  Py_RETURN_RICHCOMPARE(order, 0, op);
}

// That of equal bytes. Writable memory has none, as with memoryview.
Py_hash_t hash(PyObject* self) {
  if (as_view(self)->buffer.obj != nullptr && !as_view(self)->buffer.readonly) {
    PyErr_SetString(PyExc_ValueError, "cannot hash a view of writable memory; take bytes(view)");
    return -1;
  }
  return _Py_HashBytes(as_view(self)->data, length(self));
}

int contains(PyObject* self, PyObject* value) {
  Owned bytes(to_bytes(self));
  return bytes ? PySequence_Contains(bytes.get(), value) : -1;
}

// Either operand may be the view: nb_add is asked for both orders.
PyObject* add(PyObject* left, PyObject* right) {
  Owned a(Py_TYPE(left) == types.bytes_view ? to_bytes(left) : Py_NewRef(left));
  Owned b(Py_TYPE(right) == types.bytes_view ? to_bytes(right) : Py_NewRef(right));
  return a && b ? PySequence_Concat(a.get(), b.get()) : nullptr;
}

PyObject* repr(PyObject* self) {
  Owned bytes(to_bytes(self));
  return bytes ? PyObject_Repr(bytes.get()) : nullptr;
}

PyObject* reduce(PyObject* self, PyObject*) { return Py_BuildValue("O(N)", &PyBytes_Type, to_bytes(self)); }

PyObject* decode(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"encoding", "errors", nullptr};
  const char *encoding = "utf-8", *errors = "strict";
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ss:decode", const_cast<char**>(names), &encoding, &errors)) return nullptr;
  return PyUnicode_Decode(chars(as_view(self)), length(self), encoding, errors);
}

// Every public method of bytes, on a copy.
PyObject* get_attribute(PyObject* self, PyObject* name) {
  if (PyObject* found = PyObject_GenericGetAttr(self, name)) return found;
  const char* text = PyUnicode_AsUTF8(name);
  if (text == nullptr || text[0] == '_' || !PyErr_ExceptionMatches(PyExc_AttributeError)) return nullptr;
  PyErr_Clear();
  Owned bytes(to_bytes(self));
  return bytes ? PyObject_GetAttr(bytes.get(), name) : nullptr;
}

PyMethodDef methods[] = {
    {"decode", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(decode)), METH_VARARGS | METH_KEYWORDS, "As bytes.decode, without a copy of the bytes."},
    {"tobytes", to_bytes, METH_NOARGS, "A copy as bytes."},
    {"__bytes__", to_bytes, METH_NOARGS, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

}  // namespace

PyObject* new_bytes(const std::byte* data, Py_ssize_t length, PyObject* owner) {
  if (length <= kCopiedBytesMax) return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(data), length);
  BytesViewObject* view = allocate();
  if (view == nullptr) return nullptr;
  view->data = data;
  view->length = length;
  view->owner = Py_NewRef(owner);
  return reinterpret_cast<PyObject*>(view);
}

PyObject* check_bytes(PyObject* value) {
  if (PyBytes_CheckExact(value) || Py_TYPE(value) == types.bytes_view) return Py_NewRef(value);
  if (!PyObject_CheckBuffer(value))
    return PyErr_Format(PyExc_TypeError, "%R has type %s, but expected one of: bytes, or a C-contiguous buffer", value, Py_TYPE(value)->tp_name);
  Py_buffer buffer;
  if (PyObject_GetBuffer(value, &buffer, PyBUF_ANY_CONTIGUOUS | PyBUF_FORMAT) < 0 || !PyBuffer_IsContiguous(&buffer, 'C')) {
    if (!PyErr_Occurred()) PyBuffer_Release(&buffer);
    PyErr_Clear();
    return PyErr_Format(PyExc_TypeError, "a buffer for a bytes field must be C-contiguous; copy it first (numpy.ascontiguousarray)");
  }
  if (buffer.len <= kCopiedBytesMax) {
    PyObject* bytes = PyBytes_FromStringAndSize(static_cast<const char*>(buffer.buf), buffer.len);
    PyBuffer_Release(&buffer);
    return bytes;
  }
  BytesViewObject* view = allocate();
  if (view == nullptr) return PyBuffer_Release(&buffer), nullptr;
  view->data = static_cast<const std::byte*>(buffer.buf);
  view->length = buffer.len;
  view->buffer = buffer;
  return reinterpret_cast<PyObject*>(view);
}

std::span<const std::byte> bytes_of(PyObject* value) {
  if (Py_TYPE(value) == types.bytes_view) return {as_view(value)->data, static_cast<size_t>(as_view(value)->length)};
  return {reinterpret_cast<const std::byte*>(PyBytes_AS_STRING(value)), static_cast<size_t>(PyBytes_GET_SIZE(value))};
}


bool ready_bytes_view(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Large content of a bytes field, read in place: a read-only buffer with the manners of bytes.")},
      {Py_tp_dealloc, slot(dealloc)}, {Py_tp_repr, slot(repr)}, {Py_tp_hash, slot(hash)}, {Py_tp_richcompare, slot(compare)},
      {Py_tp_getattro, slot(get_attribute)}, {Py_tp_methods, methods}, {Py_bf_getbuffer, slot(get_buffer)},
      {Py_sq_length, slot(length)}, {Py_sq_item, slot(item)}, {Py_sq_contains, slot(contains)}, {Py_mp_length, slot(length)},
      {Py_mp_subscript, slot(subscript)}, {Py_nb_add, slot(add)}, {0, nullptr}};
  PyType_Spec spec{"mrpc.BytesView", sizeof(BytesViewObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  return ready(types.bytes_view, module, &spec);
}

}  // namespace mrpc::bind
