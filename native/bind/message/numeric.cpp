// Repeated scalars: packed elements with the manners of a list and the buffer protocol. Buffers given out, copies of the message
// and arrays taken by reference share one Packed; whoever changes it makes a copy of its own first.
#include <cstring>
#include <new>

#include "bind/message/containers.h"
#include "bind/message/value.h"

namespace mrpc::bind {
namespace {

struct Export {
  std::shared_ptr<Packed> packed;
  Py_ssize_t count, stride;
};

Storage storage(const NumericObject* self) { return storage_of(self->field->layout->type); }

bool accepts_buffers(const NumericObject* self) {  // elsewhere not every bit pattern is a value
  return self->field->layout->type != FieldType::kBool && self->field->layout->type != FieldType::kEnum;
}

NumericObject* allocate(MessageObject* parent, const FieldInfo& field) {
  auto* self = as_numeric(types.numeric->tp_alloc(types.numeric, 0));
  if (self == nullptr) return nullptr;
  new (&self->packed) std::shared_ptr<Packed>(std::make_shared<Packed>());
  self->kind = NodeKind::kNumeric;
  adopt(self, parent, &field);
  return self;
}

void dealloc(PyObject* self) {
  as_numeric(self)->packed.~shared_ptr();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

// Elements that this container alone may change. nullptr with an exception set.
std::vector<std::byte>* writable(NumericObject* self) {
  if (!claim(self)) return nullptr;
  if (!self->packed->owned() || self->packed.use_count() > 1) {
    auto copy = std::make_shared<Packed>();
    copy->own.assign(self->packed->data, self->packed->data + self->packed->bytes);
    self->packed = std::move(copy);
  }
  return &self->packed->own;
}

void written(NumericObject* self) {
  self->packed->data = self->packed->own.data();
  self->packed->bytes = self->packed->own.size();
}

bool append_bytes(NumericObject* self, const std::byte* data, size_t bytes) {
  std::vector<std::byte>* own = writable(self);
  if (own == nullptr) return false;
  own->insert(own->end(), data, data + bytes);
  written(self);
  return true;
}

bool append_shared(NumericObject* self, std::shared_ptr<Packed> packed) {
  if (self->packed->bytes != 0) return append_bytes(self, packed->data, packed->bytes);
  if (!claim(self)) return false;
  self->packed = std::move(packed);
  return true;
}

// 1: done, 0: not a buffer of these elements, -1: exception.
int extend_buffer(NumericObject* self, PyObject* values) {
  if (!accepts_buffers(self) || !PyObject_CheckBuffer(values)) return 0;
  auto packed = std::make_shared<Packed>();
  if (PyObject_GetBuffer(values, &packed->buffer, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) < 0) {
    packed->buffer.obj = nullptr;
    PyErr_Clear();
    return 0;
  }
  if (!same_format(storage(self), packed->buffer)) return 0;
  packed->data = static_cast<const std::byte*>(packed->buffer.buf);
  packed->bytes = static_cast<size_t>(packed->buffer.len);
  const bool large = packed->buffer.len > kCopiedBytesMax;
  const bool ok = large ? append_shared(self, std::move(packed)) : append_bytes(self, packed->data, packed->bytes);
  return ok ? 1 : -1;
}

bool pack(NumericObject* self, PyObject* values, std::vector<std::byte>& out) {
  Owned iterator(PyObject_GetIter(values));
  if (!iterator) return false;
  while (Owned item{PyIter_Next(iterator.get())}) {
    Owned checked(check_value(*self->field->layout, item.get()));
    if (!checked) return false;
    out.resize(out.size() + self->element_bytes());
    store_value(storage(self), checked.get(), out.data() + out.size() - self->element_bytes());
  }
  return !PyErr_Occurred();
}

bool assign(NumericObject* self, PyObject* values) {
  std::vector<std::byte> elements;
  if (!pack(self, values, elements) || !writable(self)) return false;
  self->packed->own = std::move(elements);
  written(self);
  return true;
}

PyObject* element(const NumericObject* self, size_t index) {
  return load_value(storage(self), self->packed->data + index * self->element_bytes());
}

PyObject* to_list(PyObject* object, PyObject* = nullptr) {
  NumericObject* self = as_numeric(object);
  const size_t count = self->size();
  Owned list(PyList_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; list && i < count; ++i) {
    PyObject* value = element(self, i);
    if (value == nullptr) return nullptr;
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), value);
  }
  return list.release();
}

// Runs a list's method on the elements and takes the outcome back.
PyObject* edit(PyObject* self, const char* method, PyObject* args, PyObject* kwargs) {
  Owned list(to_list(self));
  Owned bound(list ? PyObject_GetAttrString(list.get(), method) : nullptr);
  Owned result(bound ? PyObject_Call(bound.get(), args, kwargs) : nullptr);
  return result && assign(as_numeric(self), list.get()) ? result.release() : nullptr;
}

PyObject* ask(PyObject* self, const char* method, PyObject* args) {
  Owned list(to_list(self));
  Owned bound(list ? PyObject_GetAttrString(list.get(), method) : nullptr);
  return bound ? PyObject_Call(bound.get(), args, nullptr) : nullptr;
}

PyObject* insert(PyObject* self, PyObject* args) { return edit(self, "insert", args, nullptr); }
PyObject* pop(PyObject* self, PyObject* args) { return edit(self, "pop", args, nullptr); }
PyObject* remove(PyObject* self, PyObject* args) { return edit(self, "remove", args, nullptr); }
PyObject* reverse(PyObject* self, PyObject* args) { return edit(self, "reverse", args, nullptr); }
PyObject* sort(PyObject* self, PyObject* args, PyObject* kwargs) { return edit(self, "sort", args, kwargs); }
PyObject* index(PyObject* self, PyObject* args) { return ask(self, "index", args); }
PyObject* count(PyObject* self, PyObject* args) { return ask(self, "count", args); }

PyObject* append(PyObject* object, PyObject* value) {
  NumericObject* self = as_numeric(object);
  Owned checked(check_value(*self->field->layout, value));
  if (!checked) return nullptr;
  std::byte bytes[8];
  store_value(storage(self), checked.get(), bytes);
  return append_bytes(self, bytes, self->element_bytes()) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* extend(PyObject* self, PyObject* values) {
  return numeric_extend(self, values) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* clear(PyObject* self, PyObject*) {
  std::vector<std::byte>* own = writable(as_numeric(self));
  if (own == nullptr) return nullptr;
  own->clear();
  written(as_numeric(self));
  Py_RETURN_NONE;
}

Py_ssize_t length(PyObject* self) { return static_cast<Py_ssize_t>(as_numeric(self)->size()); }

PyObject* item(PyObject* self, Py_ssize_t index) {
  if (index >= 0 && index < length(self)) return element(as_numeric(self), static_cast<size_t>(index));
  PyErr_SetString(PyExc_IndexError, "list index out of range");
  return nullptr;
}

PyObject* subscript(PyObject* self, PyObject* key) {
  if (PyIndex_Check(key)) {
    const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) return nullptr;
    return item(self, index < 0 ? index + length(self) : index);
  }
  Owned list(to_list(self));
  return list ? PyObject_GetItem(list.get(), key) : nullptr;
}

bool whole_slice(PyObject* self, PyObject* key) {
  Py_ssize_t start, stop, step;
  if (!PySlice_Check(key) || PySlice_Unpack(key, &start, &stop, &step) < 0) return PyErr_Clear(), false;
  const Py_ssize_t count = PySlice_AdjustIndices(length(self), &start, &stop, step);
  return step == 1 && start == 0 && count == length(self);
}

int assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
  if (value != nullptr && whole_slice(self, key)) {  // values[:] = array keeps the array
    Owned other(value == self ? to_list(self) : Py_NewRef(value));
    Owned iterable(other && !PyObject_CheckBuffer(other.get()) ? PySequence_List(other.get()) : other.release());
    Owned cleared(iterable ? clear(self, nullptr) : nullptr);
    return cleared && numeric_extend(self, iterable.get()) ? 0 : -1;
  }
  Owned list(to_list(self));
  if (!list) return -1;
  const int failed = value == nullptr ? PyObject_DelItem(list.get(), key) : PyObject_SetItem(list.get(), key, value);
  return failed == 0 && assign(as_numeric(self), list.get()) ? 0 : -1;
}

PyObject* compare(PyObject* self, PyObject* other, int op) {
  if (op != Py_EQ && op != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  Owned left(to_list(self));
  Owned right(Py_TYPE(other) == types.numeric ? to_list(other) : PyList_Check(other) ? Py_NewRef(other) : nullptr);
  if (!left || (!right && PyErr_Occurred())) return nullptr;
  if (!right) Py_RETURN_NOTIMPLEMENTED;
  return PyObject_RichCompare(left.get(), right.get(), op);
}

PyObject* repr(PyObject* self) {
  Owned list(to_list(self));
  return list ? PyObject_Repr(list.get()) : nullptr;
}

PyObject* iterate(PyObject* self) {
  Owned list(to_list(self));
  return list ? PyObject_GetIter(list.get()) : nullptr;
}

PyObject* reduce(PyObject* self, PyObject*) { return Py_BuildValue("O(N)", &PyList_Type, to_list(self)); }
PyObject* deep_copy(PyObject* self, PyObject*) { return to_list(self); }

// Read-only: whoever wants to change elements does it through the container.
int get_buffer(PyObject* object, Py_buffer* buffer, int flags) {
  NumericObject* self = as_numeric(object);
  if (flags & PyBUF_WRITABLE) {
    PyErr_SetString(PyExc_BufferError, "a repeated field's buffer is read-only; copy it (numpy.array) to change it");
    return buffer->obj = nullptr, -1;
  }
  static std::byte nothing;
  const auto stride = static_cast<Py_ssize_t>(self->element_bytes());
  auto* state = new Export{self->packed, length(object), stride};
  *buffer = {.buf = const_cast<std::byte*>(state->count ? state->packed->data : &nothing), .obj = Py_NewRef(object),
             .len = state->count * stride, .itemsize = stride, .readonly = 1, .ndim = 1,
             .format = flags & PyBUF_FORMAT ? const_cast<char*>(buffer_format(storage(self))) : nullptr,
             .shape = flags & PyBUF_ND ? &state->count : nullptr,
             .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &state->stride : nullptr, .suboffsets = nullptr, .internal = state};
  return 0;
}

void release_buffer(PyObject*, Py_buffer* buffer) { delete static_cast<Export*>(buffer->internal); }

PyMethodDef methods[] = {
    {"append", append, METH_O, "Adds one element."},
    {"extend", extend, METH_O, "Adds all elements of an iterable; a large C-contiguous array of the same dtype is kept, not copied."},
    {"MergeFrom", extend, METH_O, "As extend."},
    {"insert", insert, METH_VARARGS, nullptr},
    {"pop", pop, METH_VARARGS, nullptr},
    {"remove", remove, METH_VARARGS, nullptr},
    {"reverse", reverse, METH_VARARGS, nullptr},
    {"sort", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(sort)), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"index", index, METH_VARARGS, nullptr},
    {"count", count, METH_VARARGS, nullptr},
    {"clear", clear, METH_NOARGS, nullptr},
    {"tolist", to_list, METH_NOARGS, "The elements as a list."},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {"__deepcopy__", deep_copy, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

}  // namespace

PyObject* new_numeric(MessageObject* parent, const FieldInfo& field) {
  NumericObject* self = allocate(parent, field);
  if (self == nullptr || !parent->is_view()) return as_object(self);
  const message::Ref ref = parent->view().ref(*field.layout);
  self->packed->data = parent->image + ref.offset;
  self->packed->bytes = size_t{ref.length} * field.layout->element_bytes;
  self->packed->owner = Py_NewRef(parent->owner);
  return as_object(self);
}

bool numeric_extend(PyObject* object, PyObject* values) {
  NumericObject* self = as_numeric(object);
  if (Py_TYPE(values) == types.numeric && self->field->layout->type == as_numeric(values)->field->layout->type &&
      self->field->layout->enumeration == as_numeric(values)->field->layout->enumeration)
    return merge_numeric(self, as_numeric(values));
  const int taken = extend_buffer(self, values);
  if (taken != 0) return taken > 0;
  std::vector<std::byte> elements;
  return pack(self, values, elements) && append_bytes(self, elements.data(), elements.size());
}

bool merge_numeric(NumericObject* into, NumericObject* from) {
  if (into != from) return append_shared(into, from->packed);
  const std::vector<std::byte> elements(from->packed->data, from->packed->data + from->packed->bytes);
  return append_bytes(into, elements.data(), elements.size());
}

bool ready_numeric(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("A repeated number, bool or enum: a list that is also a read-only buffer.")},
      {Py_tp_dealloc, slot(dealloc)}, {Py_tp_repr, slot(repr)}, {Py_tp_hash, slot(PyObject_HashNotImplemented)},
      {Py_tp_richcompare, slot(compare)}, {Py_tp_iter, slot(iterate)}, {Py_tp_methods, methods},
      {Py_bf_getbuffer, slot(get_buffer)}, {Py_bf_releasebuffer, slot(release_buffer)}, {Py_sq_length, slot(length)},
      {Py_sq_item, slot(item)}, {Py_mp_length, slot(length)}, {Py_mp_subscript, slot(subscript)},
      {Py_mp_ass_subscript, slot(assign_subscript)}, {0, nullptr}};
  PyType_Spec spec{"mrpc.RepeatedScalar", sizeof(NumericObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE, slots};
  return ready(types.numeric, module, &spec);
}

}  // namespace mrpc::bind
