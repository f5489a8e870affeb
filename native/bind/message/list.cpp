// Repeated strings, bytes and messages: a list inside, whose changes are checked here.
#include "bind/message/containers.h"
#include "bind/message/value.h"

namespace mrpc::bind {
namespace {

bool of_messages(const ListObject* self) { return self->field->is_message(); }

ListObject* allocate(MessageObject* parent, const FieldInfo& field, Py_ssize_t count) {
  auto* self = as_list(types.list->tp_alloc(types.list, 0));
  if (self == nullptr) return nullptr;
  self->kind = NodeKind::kList;
  adopt(self, parent, &field);
  self->items = PyList_New(count);
  if (self->items == nullptr) return Py_DECREF(as_object(self)), nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(self->items, i, Py_NewRef(Py_None));
  return self;
}

void orphan_all(ListObject* self) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->items); ++i) orphan(PyList_GET_ITEM(self->items, i));
}

void adopt_all(ListObject* self) {
  if (!of_messages(self)) return;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->items); ++i) adopt(as_node(PyList_GET_ITEM(self->items, i)), self, self->field);
}

void dealloc(PyObject* object) {
  ListObject* self = as_list(object);
  if (self->items != nullptr) orphan_all(self);
  Py_XDECREF(self->items);
  Py_XDECREF(self->owner);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// What the image has as element `index`. A new reference.
PyObject* read_element(ListObject* self, Py_ssize_t index) {
  const FieldLayout& layout = *self->field->layout;
  const std::byte* at = self->elements + static_cast<size_t>(index) * layout.element_bytes;
  if (layout.type == FieldType::kMessage) {
    ClassInfo* info = message_class(*self->field);
    MessageObject* child = info == nullptr ? nullptr : new_view(info, self->image, at, self->owner);
    if (child != nullptr) adopt(child, self, self->field);
    return as_object(child);
  }
  const auto ref = message::load<message::Ref>(at);
  if (layout.type == FieldType::kBytes) return new_bytes(self->image + ref.offset, ref.length, self->owner);
  return PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(self->image) + ref.offset, ref.length, nullptr);
}

PyObject* element(ListObject* self, Py_ssize_t index) {  // borrowed
  PyObject* item = PyList_GET_ITEM(self->items, index);
  if (item != Py_None) return item;
  PyObject* value = read_element(self, index);
  if (value != nullptr) PyList_SetItem(self->items, index, value);
  return value;
}

Owned items_of(ListObject* self) { return Owned(list_read_all(self) ? Py_NewRef(self->items) : nullptr); }

// Runs the inner list's method; elements that leave the list are no longer part of it.
PyObject* edit(PyObject* object, const char* method, PyObject* args, PyObject* kwargs = nullptr) {
  ListObject* self = as_list(object);
  if (!claim(self)) return nullptr;
  Owned bound(PyObject_GetAttrString(self->items, method));
  if (!bound) return nullptr;
  orphan_all(self);
  PyObject* result = PyObject_Call(bound.get(), args, kwargs);
  adopt_all(self);
  return result;
}

PyObject* ask(PyObject* self, const char* method, PyObject* args) {
  Owned items = items_of(as_list(self));
  Owned bound(items ? PyObject_GetAttrString(items.get(), method) : nullptr);
  return bound ? PyObject_Call(bound.get(), args, nullptr) : nullptr;
}

// What is to stand in the list for `value`: itself when it is a scalar, a copy when it is a message.
PyObject* checked_element(ListObject* self, PyObject* value, bool dict_allowed) {
  if (!of_messages(self)) return check_value(*self->field->layout, value);
  ClassInfo* info = message_class(*self->field);
  if (info == nullptr) return nullptr;
  if (!dict_allowed && PyDict_Check(value)) return PyErr_Format(PyExc_TypeError, "Parameter must be a %s, got dict", info->layout->full_name.c_str());
  Owned copy(as_object(new_part(*self->field, self)));
  return copy && assign_message(as_message(copy.get()), value) ? copy.release() : nullptr;
}

bool append_checked(ListObject* self, PyObject* value, bool dict_allowed) {
  Owned item;
  if (claim(self)) item = Owned(checked_element(self, value, dict_allowed));
  if (!item || PyList_Append(self->items, item.get()) < 0) return false;
  return true;
}

PyObject* append(PyObject* self, PyObject* value) {
  return append_checked(as_list(self), value, false) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* extend(PyObject* self, PyObject* values) {
  return list_extend(self, values) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* add(PyObject* object, PyObject* args, PyObject* kwargs) {
  ListObject* self = as_list(object);
  if (!of_messages(self)) return PyErr_Format(PyExc_AttributeError, "add() is for repeated messages; use append()");
  if (PyTuple_GET_SIZE(args) != 0) return PyErr_Format(PyExc_TypeError, "add() takes keyword arguments only");
  if (!claim(self)) return nullptr;
  Owned item(as_object(new_part(*self->field, self)));
  if (!item || (kwargs != nullptr && !init_fields(as_message(item.get()), kwargs))) return nullptr;
  return PyList_Append(self->items, item.get()) < 0 ? nullptr : item.release();
}

PyObject* insert(PyObject* object, PyObject* args) {
  Py_ssize_t index;
  PyObject* value;
  if (!PyArg_ParseTuple(args, "nO:insert", &index, &value) || !claim(as_list(object))) return nullptr;
  Owned item(checked_element(as_list(object), value, false));
  return item && PyList_Insert(as_list(object)->items, index, item.get()) == 0 ? Py_NewRef(Py_None) : nullptr;
}

PyObject* pop(PyObject* self, PyObject* args) { return edit(self, "pop", args); }
PyObject* remove(PyObject* self, PyObject* args) { return edit(self, "remove", args); }
PyObject* reverse(PyObject* self, PyObject* args) { return edit(self, "reverse", args); }
PyObject* clear(PyObject* self, PyObject* args) { return edit(self, "clear", args); }
PyObject* sort(PyObject* self, PyObject* args, PyObject* kwargs) { return edit(self, "sort", args, kwargs); }
PyObject* index(PyObject* self, PyObject* args) { return ask(self, "index", args); }
PyObject* count(PyObject* self, PyObject* args) { return ask(self, "count", args); }

Py_ssize_t length(PyObject* self) { return PyList_GET_SIZE(as_list(self)->items); }

PyObject* item(PyObject* self, Py_ssize_t index) {
  if (index >= 0 && index < length(self)) return Py_XNewRef(element(as_list(self), index));
  PyErr_SetString(PyExc_IndexError, "list index out of range");
  return nullptr;
}

PyObject* subscript(PyObject* self, PyObject* key) {
  if (PyIndex_Check(key)) {
    const Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (index == -1 && PyErr_Occurred()) return nullptr;
    return item(self, index < 0 ? index + length(self) : index);
  }
  Owned items = items_of(as_list(self));
  return items ? PyObject_GetItem(items.get(), key) : nullptr;
}

// The list of checked elements for a slice, or the one for an index.
PyObject* checked_value(ListObject* self, PyObject* key, PyObject* value) {
  if (!PySlice_Check(key)) return check_value(*self->field->layout, value);
  Owned values(PySequence_List(value));
  for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(values.get()); ++i) {
    PyObject* checked = check_value(*self->field->layout, PyList_GET_ITEM(values.get(), i));
    if (checked == nullptr) return nullptr;
    PyList_SetItem(values.get(), i, checked);
  }
  return values.release();
}

int assign_subscript(PyObject* object, PyObject* key, PyObject* value) {
  ListObject* self = as_list(object);
  if (value != nullptr && of_messages(self)) {
    PyErr_Format(PyExc_TypeError, "'%s' object does not support item assignment", Py_TYPE(object)->tp_name);
    return -1;
  }
  Owned checked(value == nullptr ? nullptr : checked_value(self, key, value));
  if ((value != nullptr && !checked) || !claim(self)) return -1;
  orphan_all(self);
  const int failed = value == nullptr ? PyObject_DelItem(self->items, key) : PyObject_SetItem(self->items, key, checked.get());
  adopt_all(self);
  return failed;
}

PyObject* compare(PyObject* self, PyObject* other, int op) {
  if (op != Py_EQ && op != Py_NE) Py_RETURN_NOTIMPLEMENTED;
  if (Py_TYPE(other) != types.list && !PyList_Check(other)) Py_RETURN_NOTIMPLEMENTED;
  Owned left = items_of(as_list(self));
  Owned right = Py_TYPE(other) == types.list ? items_of(as_list(other)) : Owned(Py_NewRef(other));
  return left && right ? PyObject_RichCompare(left.get(), right.get(), op) : nullptr;
}

PyObject* repr(PyObject* self) {
  Owned items = items_of(as_list(self));
  return items ? PyObject_Repr(items.get()) : nullptr;
}

PyObject* iterate(PyObject* self) { return PySeqIter_New(self); }

PyObject* to_list(PyObject* self, PyObject* = nullptr) {
  Owned items = items_of(as_list(self));
  return items ? PySequence_List(items.get()) : nullptr;
}

PyObject* deep_copy(PyObject* self, PyObject* memo) {
  Owned list(to_list(self));
  Owned module(list ? PyImport_ImportModule("copy") : nullptr);
  return module ? PyObject_CallMethod(module.get(), "deepcopy", "OO", list.get(), memo) : nullptr;
}

PyObject* reduce(PyObject* self, PyObject*) { return Py_BuildValue("O(N)", &PyList_Type, to_list(self)); }

template <typename F>
PyCFunction with_keywords(F* function) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)); }

PyMethodDef methods[] = {
    {"append", append, METH_O, "Adds one element; a message is copied."},
    {"extend", extend, METH_O, "Adds all elements of an iterable; messages are copied."},
    {"MergeFrom", extend, METH_O, "As extend."},
    {"add", with_keywords(add), METH_VARARGS | METH_KEYWORDS, "Adds a message made of the keyword arguments, and returns it."},
    {"insert", insert, METH_VARARGS, nullptr},
    {"pop", pop, METH_VARARGS, nullptr},
    {"remove", remove, METH_VARARGS, nullptr},
    {"reverse", reverse, METH_VARARGS, nullptr},
    {"sort", with_keywords(sort), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"index", index, METH_VARARGS, nullptr},
    {"count", count, METH_VARARGS, nullptr},
    {"clear", clear, METH_VARARGS, nullptr},
    {"__deepcopy__", deep_copy, METH_O, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

}  // namespace

PyObject* new_list(MessageObject* parent, const FieldInfo& field) {
  if (!parent->is_view()) return as_object(allocate(parent, field, 0));
  const message::Ref ref = parent->view().ref(*field.layout);
  ListObject* self = allocate(parent, field, ref.length);
  if (self == nullptr) return nullptr;
  self->image = parent->image;
  self->elements = parent->image + ref.offset;
  self->owner = Py_NewRef(parent->owner);
  return as_object(self);
}

bool list_read_all(ListObject* self) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->items); ++i)
    if (element(self, i) == nullptr) return false;
  return true;
}

bool list_extend(PyObject* object, PyObject* values) {
  Owned items(PySequence_List(values));  // also when `values` is this list
  if (!items) return false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i)
    if (!append_checked(as_list(object), PyList_GET_ITEM(items.get(), i), true)) return false;
  return true;
}

bool merge_list(ListObject* into, ListObject* from) { return list_extend(as_object(into), as_object(from)); }

bool ready_list(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("A repeated string, bytes or message field: a list whose elements are checked.")},
      {Py_tp_dealloc, slot(dealloc)}, {Py_tp_repr, slot(repr)}, {Py_tp_hash, slot(PyObject_HashNotImplemented)},
      {Py_tp_richcompare, slot(compare)}, {Py_tp_iter, slot(iterate)}, {Py_tp_methods, methods}, {Py_sq_length, slot(length)},
      {Py_sq_item, slot(item)}, {Py_mp_length, slot(length)}, {Py_mp_subscript, slot(subscript)},
      {Py_mp_ass_subscript, slot(assign_subscript)}, {0, nullptr}};
  PyType_Spec spec{"mrpc.Repeated", sizeof(ListObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE, slots};
  return ready(types.list, module, &spec);
}

}  // namespace mrpc::bind
