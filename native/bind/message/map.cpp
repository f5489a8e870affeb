// Map fields: a dict inside, whose keys and values are checked here. As in protobuf, reading a missing key of a map of
// messages makes the message, and of a map of scalars puts the default there.
#include "bind/message/containers.h"
#include "bind/message/value.h"

namespace mrpc::bind {
namespace {

bool of_messages(const MapObject* self) { return self->field->value->is_message(); }

MapObject* allocate(MessageObject* parent, const FieldInfo& field) {
  auto* self = as_map(types.map->tp_alloc(types.map, 0));
  if (self == nullptr) return nullptr;
  self->kind = NodeKind::kMap;
  adopt(self, parent, &field);
  self->items = PyDict_New();
  if (self->items == nullptr) return Py_DECREF(as_object(self)), nullptr;
  return self;
}

template <typename F>
void for_values(MapObject* self, F&& call) {
  PyObject *key, *value;
  for (Py_ssize_t position = 0; PyDict_Next(self->items, &position, &key, &value);) call(value);
}

void orphan_all(MapObject* self) { for_values(self, orphan); }
void adopt_all(MapObject* self) {
  if (of_messages(self)) for_values(self, [&](PyObject* value) { adopt(as_node(value), self, self->field->value); });
}

void dealloc(PyObject* object) {
  MapObject* self = as_map(object);
  if (self->items != nullptr) orphan_all(self);
  Py_XDECREF(self->items);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

Owned checked_key(MapObject* self, PyObject* key) { return Owned(check_value(*self->field->key, key)); }

Owned load_part(const MessageView& entry, const FieldInfo& field, MapObject* self, PyObject* owner) {
  const FieldLayout& layout = *field.layout;
  if (layout.type == FieldType::kMessage) {
    ClassInfo* info = message_class(field);
    MessageObject* child = info == nullptr ? nullptr : new_view(info, entry.image, entry.child(layout).fields, owner);
    if (child != nullptr) adopt(child, self, &field);
    return Owned(as_object(child));
  }
  if (!layout.out_of_line()) return Owned(load_value(storage_of(layout.type), entry.fields + layout.offset));
  const std::string_view text = entry.text(layout);
  const auto length = static_cast<Py_ssize_t>(text.size());
  if (layout.type == FieldType::kBytes) return Owned(new_bytes(reinterpret_cast<const std::byte*>(text.data()), length, owner));
  return Owned(PyUnicode_DecodeUTF8(text.data(), length, nullptr));
}

bool read_entries(MapObject* self, MessageObject* parent) {
  const FieldLayout& layout = *self->field->layout;
  const FieldInfo key_field{.layout = self->field->key};
  const uint32_t count = parent->view().ref(layout).length;
  for (uint32_t i = 0; i < count; ++i) {
    const MessageView entry = parent->view().element(layout, i);
    Owned key = load_part(entry, key_field, self, parent->owner);
    Owned value = key ? load_part(entry, *self->field->value, self, parent->owner) : Owned();
    if (!value || PyDict_SetItem(self->items, key.get(), value.get()) < 0) return false;
  }
  return true;
}

bool put(MapObject* self, PyObject* key, PyObject* value) {
  Owned checked = checked_key(self, key);
  Owned item(checked ? check_value(*self->field->value->layout, value) : nullptr);
  return item && claim(self) && PyDict_SetItem(self->items, checked.get(), item.get()) == 0;
}

// The value of `key`, made when it is missing. Borrowed.
PyObject* get_or_make(MapObject* self, PyObject* key) {
  Owned checked = checked_key(self, key);
  if (!checked) return nullptr;
  PyObject* found = PyDict_GetItemWithError(self->items, checked.get());
  if (found != nullptr || PyErr_Occurred() || !claim(self)) return found;
  Owned made(of_messages(self) ? as_object(new_part(*self->field->value, self)) : Py_NewRef(self->field->value->default_value));
  if (!made || PyDict_SetItem(self->items, checked.get(), made.get()) < 0) return nullptr;
  return made.get();  // the dict holds it
}

PyObject* subscript(PyObject* self, PyObject* key) { return Py_XNewRef(get_or_make(as_map(self), key)); }

int remove_key(MapObject* self, PyObject* key) {
  Owned checked = checked_key(self, key);
  if (!checked || !claim(self)) return -1;
  orphan(PyDict_GetItemWithError(self->items, checked.get()));
  return PyDict_DelItem(self->items, checked.get());
}

int assign_subscript(PyObject* object, PyObject* key, PyObject* value) {
  MapObject* self = as_map(object);
  if (value == nullptr) return remove_key(self, key);
  if (!of_messages(self)) return put(self, key, value) ? 0 : -1;
  PyErr_SetString(PyExc_ValueError, "May not set values directly, call my_map[key].CopyFrom(value)");
  return -1;
}

int contains(PyObject* self, PyObject* key) {
  Owned checked = checked_key(as_map(self), key);
  if (!checked && PyErr_ExceptionMatches(PyExc_TypeError)) return PyErr_Clear(), 0;  // it cannot be there
  return checked ? PyDict_Contains(as_map(self)->items, checked.get()) : -1;
}

PyObject* get(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"key", "default", nullptr};
  PyObject *key, *fallback = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:get", const_cast<char**>(names), &key, &fallback)) return nullptr;
  Owned checked = checked_key(as_map(self), key);
  if (!checked) return nullptr;
  PyObject* found = PyDict_GetItemWithError(as_map(self)->items, checked.get());
  return PyErr_Occurred() ? nullptr : Py_NewRef(found != nullptr ? found : fallback);
}

// pop, popitem, clear: run on the dict, and let go of what left it.
PyObject* edit(PyObject* object, const char* method, PyObject* args) {
  MapObject* self = as_map(object);
  if (!claim(self)) return nullptr;
  Owned bound(PyObject_GetAttrString(self->items, method));
  if (!bound) return nullptr;
  orphan_all(self);
  PyObject* result = PyObject_Call(bound.get(), args, nullptr);
  adopt_all(self);
  return result;
}

PyObject* pop(PyObject* self, PyObject* args) { return edit(self, "pop", args); }
PyObject* popitem(PyObject* self, PyObject* args) { return edit(self, "popitem", args); }
PyObject* clear(PyObject* self, PyObject* args) { return edit(self, "clear", args); }

PyObject* setdefault(PyObject* object, PyObject* args) {
  PyObject *key, *fallback;
  if (!PyArg_ParseTuple(args, "OO:setdefault", &key, &fallback)) return nullptr;
  const int found = contains(object, key);
  if (found < 0 || (found == 0 && assign_subscript(object, key, fallback) < 0)) return nullptr;
  return subscript(object, key);
}

PyObject* update(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* values = nullptr;
  if (!PyArg_ParseTuple(args, "|O:update", &values)) return nullptr;
  Owned dict(PyDict_New());
  Owned filled(dict ? PyObject_GetAttrString(dict.get(), "update") : nullptr);
  Owned plain(values != nullptr && Py_TYPE(values) == types.map ? Py_NewRef(as_map(values)->items) : nullptr);
  Owned call_args(plain ? PyTuple_Pack(1, plain.get()) : Py_NewRef(args));
  Owned done(filled && call_args ? PyObject_Call(filled.get(), call_args.get(), kwargs) : nullptr);
  return done && map_update(self, dict.get()) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* merge_from(PyObject* self, PyObject* other) {
  if (Py_TYPE(other) != types.map) return PyErr_Format(PyExc_TypeError, "MergeFrom takes a map of the same type");
  return map_update(self, other) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* get_or_create(PyObject* self, PyObject* key) {
  if (of_messages(as_map(self))) return subscript(self, key);
  return PyErr_Format(PyExc_AttributeError, "get_or_create() is for maps of messages");
}

PyObject* keys(PyObject* self, PyObject*) { return PyObject_CallMethod(as_map(self)->items, "keys", nullptr); }
PyObject* values(PyObject* self, PyObject*) { return PyObject_CallMethod(as_map(self)->items, "values", nullptr); }
PyObject* items(PyObject* self, PyObject*) { return PyObject_CallMethod(as_map(self)->items, "items", nullptr); }
PyObject* iterate(PyObject* self) { return PyObject_GetIter(as_map(self)->items); }
PyObject* repr(PyObject* self) { return PyObject_Repr(as_map(self)->items); }
Py_ssize_t length(PyObject* self) { return PyDict_GET_SIZE(as_map(self)->items); }

PyObject* compare(PyObject* self, PyObject* other, int op) {
  PyObject* right = Py_TYPE(other) == types.map ? as_map(other)->items : other;
  if ((op != Py_EQ && op != Py_NE) || !PyDict_Check(right)) Py_RETURN_NOTIMPLEMENTED;
  return PyObject_RichCompare(as_map(self)->items, right, op);
}

PyObject* deep_copy(PyObject* self, PyObject* memo) {
  Owned module(PyImport_ImportModule("copy"));
  return module ? PyObject_CallMethod(module.get(), "deepcopy", "OO", as_map(self)->items, memo) : nullptr;
}

PyObject* reduce(PyObject* self, PyObject*) { return Py_BuildValue("O(O)", &PyDict_Type, as_map(self)->items); }

template <typename F>
PyCFunction with_keywords(F* function) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)); }

PyMethodDef methods[] = {
    {"get", with_keywords(get), METH_VARARGS | METH_KEYWORDS, "The value of a key, or a default; adds nothing."},
    {"get_or_create", get_or_create, METH_O, "The message of a key, made when it is missing."},
    {"keys", keys, METH_NOARGS, nullptr},
    {"values", values, METH_NOARGS, nullptr},
    {"items", items, METH_NOARGS, nullptr},
    {"pop", pop, METH_VARARGS, nullptr},
    {"popitem", popitem, METH_VARARGS, nullptr},
    {"clear", clear, METH_VARARGS, nullptr},
    {"setdefault", setdefault, METH_VARARGS, nullptr},
    {"update", with_keywords(update), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"MergeFrom", merge_from, METH_O, "Takes over every entry of another map."},
    {"__deepcopy__", deep_copy, METH_O, nullptr},
    {"__reduce__", reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

bool set_entry(MapObject* self, PyObject* key, PyObject* value) {
  if (!of_messages(self)) return put(self, key, value);
  PyObject* message = get_or_make(self, key);
  return message != nullptr && claim(as_node(message)) && assign_message(as_message(message), value);
}

}  // namespace

PyObject* new_map(MessageObject* parent, const FieldInfo& field) {
  MapObject* self = allocate(parent, field);
  if (self != nullptr && parent->is_view() && !read_entries(self, parent)) return Py_DECREF(as_object(self)), nullptr;
  return as_object(self);
}

bool map_update(PyObject* self, PyObject* source) {
  Owned entries(Py_TYPE(source) == types.map ? PyDict_Copy(as_map(source)->items) : PyDict_New());
  if (!entries || (Py_TYPE(source) != types.map && PyDict_Update(entries.get(), source) < 0)) return false;
  PyObject *key, *value;
  for (Py_ssize_t position = 0; PyDict_Next(entries.get(), &position, &key, &value);)
    if (!set_entry(as_map(self), key, value)) return false;
  return true;
}

bool merge_map(MapObject* into, MapObject* from) { return map_update(as_object(into), as_object(from)); }

bool ready_map(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("A map field: a dict whose keys and values are checked.")},
      {Py_tp_dealloc, slot(dealloc)}, {Py_tp_repr, slot(repr)}, {Py_tp_hash, slot(PyObject_HashNotImplemented)},
      {Py_tp_richcompare, slot(compare)}, {Py_tp_iter, slot(iterate)}, {Py_tp_methods, methods}, {Py_sq_contains, slot(contains)},
      {Py_mp_length, slot(length)}, {Py_mp_subscript, slot(subscript)}, {Py_mp_ass_subscript, slot(assign_subscript)}, {0, nullptr}};
  PyType_Spec spec{"mrpc.Map", sizeof(MapObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_MAPPING, slots};
  return ready(types.map, module, &spec);
}

}  // namespace mrpc::bind
