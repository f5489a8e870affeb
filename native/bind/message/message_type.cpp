// The base class of all messages: what protobuf's Message offers, except what needs google.protobuf (in Python).
#include "bind/message/codec.h"
#include "bind/message/object.h"

namespace mrpc::bind {
namespace {

PyObject* create(PyTypeObject* type, PyObject*, PyObject*) {
  if (!is_message_class(type)) return PyErr_Format(PyExc_TypeError, "%s is the base of messages; make a generated class", type->tp_name);
  auto* self = as_message(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->kind = NodeKind::kMessage;
  self->info = class_info(type);
  self->own = true;
  return as_object(self);
}

int init(PyObject* self, PyObject* args, PyObject* kwargs) {
  if (PyTuple_GET_SIZE(args) != 0) {
    PyErr_Format(PyExc_TypeError, "%s() takes keyword arguments only", Py_TYPE(self)->tp_name);
    return -1;
  }
  return kwargs == nullptr || init_fields(as_message(self), kwargs) ? 0 : -1;
}

void dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  if (as_message(object)->info != nullptr) clear_message(as_message(object));
  type->tp_free(object);
  Py_DECREF(type);
}

// ---- presence -----------------------------------------------------------------------------------------------------

FieldInfo* set_in_oneof(MessageObject* self, int32_t oneof) {
  for (FieldInfo& field : self->info->fields)
    if (field.layout->oneof == oneof && has_field(self, field)) return &field;
  return nullptr;
}

int32_t find_oneof(const ClassInfo* info, PyObject* name) {
  const char* text = PyUnicode_AsUTF8(name);
  if (text == nullptr) return PyErr_Clear(), -1;
  for (size_t i = 0; i < info->layout->oneofs.size(); ++i)
    if (info->layout->oneofs[i] == text) return static_cast<int32_t>(i);
  return -1;
}

PyObject* no_field(const MessageObject* self, PyObject* name) {
  return PyErr_Format(PyExc_ValueError, "Protocol message %s has no field %R.", self->info->layout->full_name.c_str(), name);
}

bool check_name(PyObject* name) {
  if (!PyUnicode_Check(name)) PyErr_Format(PyExc_TypeError, "field name must be str, not %s", Py_TYPE(name)->tp_name);
  return PyUnicode_Check(name);
}

PyObject* has_field_method(PyObject* object, PyObject* name) {
  MessageObject* self = as_message(object);
  if (!check_name(name)) return nullptr;
  if (const FieldInfo* field = self->info->find(name)) {
    if (field->layout->has_presence) return PyBool_FromLong(has_field(self, *field));
    return PyErr_Format(PyExc_ValueError, "Field %s.%U does not have presence.", self->info->layout->full_name.c_str(), name);
  }
  const int32_t oneof = find_oneof(self->info, name);
  return oneof < 0 ? no_field(self, name) : PyBool_FromLong(set_in_oneof(self, oneof) != nullptr);
}

PyObject* which_oneof(PyObject* object, PyObject* name) {
  MessageObject* self = as_message(object);
  if (PyBytes_Check(name)) name = PyUnicode_FromEncodedObject(name, "utf-8", nullptr);
  else Py_INCREF(name);
  Owned text(name);
  if (!text || !check_name(text.get())) return nullptr;
  const int32_t oneof = find_oneof(self->info, text.get());
  if (oneof < 0) return PyErr_Format(PyExc_ValueError, "Protocol message has no oneof %R field.", text.get());
  const FieldInfo* field = set_in_oneof(self, oneof);
  return Py_NewRef(field != nullptr ? field->name : Py_None);
}

PyObject* clear_field(PyObject* object, PyObject* name) {
  MessageObject* self = as_message(object);
  if (!check_name(name)) return nullptr;
  const FieldInfo* field = self->info->find(name);
  if (field == nullptr) {
    const int32_t oneof = find_oneof(self->info, name);
    if (oneof < 0) return no_field(self, name);
    field = set_in_oneof(self, oneof);
  }
  if (!claim(self)) return nullptr;
  if (field != nullptr) drop_slot(self, field->layout->index);
  Py_RETURN_NONE;
}

PyObject* clear(PyObject* self, PyObject*) {
  if (!claim(as_message(self))) return nullptr;
  clear_message(as_message(self));
  Py_RETURN_NONE;
}

PyObject* set_in_parent(PyObject* self, PyObject*) { return claim(as_message(self)) ? Py_NewRef(Py_None) : nullptr; }

PyObject* list_fields(PyObject* object, PyObject*) {
  MessageObject* self = as_message(object);
  Owned list(PyList_New(0));
  for (const FieldInfo& field : self->info->fields) {
    if (!has_field(self, field)) continue;
    Owned value(read_field(self, field));
    Owned pair(value ? PyTuple_Pack(2, field.name, value.get()) : nullptr);
    if (!list || !pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
  }
  return list.release();
}

bool discard_unknown(MessageObject* self);

bool discard_in(PyObject* value) {
  if (is_message(value)) return discard_unknown(as_message(value));
  if (Py_TYPE(value) != types.list && Py_TYPE(value) != types.map) return true;
  Owned items(Py_TYPE(value) == types.map ? PyObject_CallMethod(value, "values", nullptr) : Py_NewRef(value));
  Owned list(items ? PySequence_List(items.get()) : nullptr);
  for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list.get()); ++i)
    if (is_message(PyList_GET_ITEM(list.get(), i)) && !discard_unknown(as_message(PyList_GET_ITEM(list.get(), i)))) return false;
  return static_cast<bool>(list);
}

bool discard_unknown(MessageObject* self) {
  if (!claim(self)) return false;
  Py_CLEAR(self->unknown);
  for (const FieldInfo& field : self->info->fields) {
    if (!field.is_node() || !has_field(self, field)) continue;
    Owned value(read_field(self, field));
    if (!value || !discard_in(value.get())) return false;
  }
  return true;
}

PyObject* discard_unknown_method(PyObject* self, PyObject*) { return discard_unknown(as_message(self)) ? Py_NewRef(Py_None) : nullptr; }

// ---- copying --------------------------------------------------------------------------------------------------------

// A message of the class of `self`: itself, or made of google.protobuf's.
Owned same_class(PyObject* self, PyObject* other) {
  ClassInfo* info = as_message(self)->info;
  if (is_message(other) && as_message(other)->info == info) return Owned(Py_NewRef(other));
  if (PyDict_Check(other)) {
    PyErr_Format(PyExc_TypeError, "Parameter must be a %s, got dict", info->layout->full_name.c_str());
    return {};
  }
  Owned made(as_object(new_message(info)));
  return made && assign_message(as_message(made.get()), other) ? std::move(made) : Owned();
}

PyObject* copy_from(PyObject* self, PyObject* other) {
  if (self == other) Py_RETURN_NONE;
  Owned from = same_class(self, other);
  return from && claim(as_message(self)) && copy_into(as_message(self), as_message(from.get())) ? Py_NewRef(Py_None) : nullptr;
}

PyObject* merge_from(PyObject* self, PyObject* other) {
  Owned from = same_class(self, other);
  if (from && from.get() == self) {  // what it had before
    from = Owned(as_object(new_message(as_message(self)->info)));
    if (from && !merge(as_message(from.get()), as_message(self))) return nullptr;
  }
  return from && merge(as_message(self), as_message(from.get())) ? Py_NewRef(Py_None) : nullptr;
}

// ---- bytes -----------------------------------------------------------------------------------------------------------

bool protobuf_bytes(PyObject* object, std::vector<std::byte>& out) {
  MessageObject* self = as_message(object);
  if (self->is_view() && self->image_bytes != 0) {
    message::to_protobuf(*self->info->layout, {self->image, self->image_bytes}, out);
    return true;
  }
  Owned image = image_of(object);
  if (!image) return false;
  message::to_protobuf(*self->info->layout, bytes_of(image.get()), out);
  return true;
}

// The output is always deterministic.
PyObject* serialize(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"deterministic", nullptr};
  PyObject* deterministic = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$O:SerializeToString", const_cast<char**>(names), &deterministic)) return nullptr;
  std::vector<std::byte> out;
  if (!protobuf_bytes(self, out)) return nullptr;
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(out.data()), static_cast<Py_ssize_t>(out.size()));
}

PyObject* byte_size(PyObject* self, PyObject*) {
  std::vector<std::byte> out;
  return protobuf_bytes(self, out) ? PyLong_FromSize_t(out.size()) : nullptr;
}

PyObject* consumed(PyObject* bytes) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(bytes, &buffer, PyBUF_SIMPLE) < 0) return nullptr;
  PyObject* length = PyLong_FromSsize_t(buffer.len);
  PyBuffer_Release(&buffer);
  return length;
}

PyObject* parse(PyObject* self, PyObject* bytes) { return merge_bytes(as_message(self), bytes, true) ? consumed(bytes) : nullptr; }
PyObject* merge_string(PyObject* self, PyObject* bytes) { return merge_bytes(as_message(self), bytes, false) ? consumed(bytes) : nullptr; }

PyObject* from_string(PyObject* cls, PyObject* bytes) {
  Owned self(PyObject_CallNoArgs(cls));
  return self && merge_bytes(as_message(self.get()), bytes, true) ? self.release() : nullptr;
}

// ---- operators ---------------------------------------------------------------------------------------------------------

// By bits, as google.protobuf does: NaN equals itself, -0.0 is not 0.0.
PyObject* compare(PyObject* self, PyObject* other, int op) {
  if ((op != Py_EQ && op != Py_NE) || !is_message(other) || as_message(self)->info != as_message(other)->info) Py_RETURN_NOTIMPLEMENTED;
  Owned left = image_of(self), right = left ? image_of(other) : Owned();
  return right ? PyObject_RichCompare(left.get(), right.get(), op) : nullptr;
}

template <typename F>
PyCFunction with_keywords(F* function) { return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)); }

PyMethodDef methods[] = {
    {"HasField", has_field_method, METH_O, "Whether a field with presence, or any field of a oneof, is set."},
    {"ClearField", clear_field, METH_O, "Makes a field, or whichever of a oneof is set, unset."},
    {"Clear", clear, METH_NOARGS, "Makes every field unset."},
    {"WhichOneof", which_oneof, METH_O, "The name of the field of a oneof that is set, or None."},
    {"SetInParent", set_in_parent, METH_NOARGS, "Makes a sub-message present in its parent."},
    {"DiscardUnknownFields", discard_unknown_method, METH_NOARGS, "Drops unknown fields, also of sub-messages."},
    {"_list_fields", list_fields, METH_NOARGS, "(name, value) of every field that is set, by number."},
    {"CopyFrom", copy_from, METH_O, "Becomes a copy of another message of the same type."},
    {"MergeFrom", merge_from, METH_O, "Takes over what is set in another message of the same type."},
    {"SerializeToString", with_keywords(serialize), METH_VARARGS | METH_KEYWORDS, "Protobuf bytes; always deterministic."},
    {"SerializePartialToString", with_keywords(serialize), METH_VARARGS | METH_KEYWORDS, "As SerializeToString."},
    {"ParseFromString", parse, METH_O, "Becomes the message in protobuf bytes; returns their length."},
    {"MergeFromString", merge_string, METH_O, "Merges the message in protobuf bytes; returns their length."},
    {"FromString", from_string, METH_O | METH_CLASS, "The message in protobuf bytes."},
    {"ByteSize", byte_size, METH_NOARGS, "The length of its protobuf bytes."},
    {nullptr, nullptr, 0, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

}  // namespace

bool ready_message(PyObject* module) {
  PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("Base of all message classes.")},
                         {Py_tp_new, slot(create)}, {Py_tp_init, slot(init)}, {Py_tp_dealloc, slot(dealloc)},
                         {Py_tp_hash, slot(PyObject_HashNotImplemented)}, {Py_tp_richcompare, slot(compare)},
                         {Py_tp_methods, methods}, {0, nullptr}};
  PyType_Spec spec{"mrpc._native.Message", sizeof(MessageObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  return ready(types.message, module, &spec);
}

}  // namespace mrpc::bind
