// Schema, the metaclass, and the making of message classes.
#include "bind/message/codec.h"
#include "bind/message/schema.h"
#include "bind/message/value.h"

namespace mrpc::bind {

using message::EnumLayout;
using message::Schema;

namespace {

SchemaObject* as_schema(PyObject* object) { return reinterpret_cast<SchemaObject*>(object); }

// ---- Schema ------------------------------------------------------------------------------------------------

// The classes of the files that this one imports, so that a message type is one class wherever it is used.
bool take_classes(SchemaObject* self, PyObject* dependencies) {
  Owned sequence(PySequence_Fast(dependencies, "dependencies must be a sequence of Schema"));
  if (!sequence) return false;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(sequence.get(), i);
    if (!schema_of(item) || PyDict_Update(self->classes, as_schema(item)->classes) < 0) return false;
  }
  return true;
}

PyObject* schema_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"files", "dependencies", nullptr};
  PyObject *files, *dependencies = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "S|O:Schema", const_cast<char**>(names), &files, &dependencies)) return nullptr;
  auto parsed = Schema::parse(bytes_of(files));
  if (!parsed) return PyErr_Format(PyExc_ValueError, "%s", parsed.error().text.c_str());
  Owned self(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  new (&as_schema(self.get())->schema) std::shared_ptr<const Schema>(std::move(*parsed));
  as_schema(self.get())->classes = PyDict_New();
  if (as_schema(self.get())->classes == nullptr) return nullptr;
  if (dependencies != nullptr && !take_classes(as_schema(self.get()), dependencies)) return nullptr;
  return self.release();
}

void schema_dealloc(PyObject* self) {
  as_schema(self)->schema.~shared_ptr();
  Py_XDECREF(as_schema(self)->classes);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* serialized(PyObject* self, void*) {
  const auto bytes = as_schema(self)->schema->serialized();
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(bytes.data()), static_cast<Py_ssize_t>(bytes.size()));
}

PyObject* enum_values(PyObject* self, PyObject* name) {
  const char* text = PyUnicode_AsUTF8(name);
  if (text == nullptr) return nullptr;
  const EnumLayout* layout = as_schema(self)->schema->enumeration(text);
  if (layout == nullptr) return PyErr_Format(PyExc_KeyError, "the schema has no enum %s", text);
  Owned list(PyList_New(0));
  for (const auto& [label, number] : layout->values) {
    Owned pair(Py_BuildValue("si", label.c_str(), number));
    if (!list || !pair || PyList_Append(list.get(), pair.get()) < 0) return nullptr;
  }
  return list.release();
}

// ---- classes -------------------------------------------------------------------------------------------------

bool fill_field(FieldInfo& field, const FieldLayout& layout, ClassInfo* info) {
  field.layout = &layout;
  field.info = info;
  field.name = PyUnicode_InternFromString(layout.name.c_str());
  if (field.name == nullptr) return false;
  if (layout.cardinality == Cardinality::kMap) {
    field.key = &layout.message->fields[0];
    field.value = new FieldInfo();  // as long-lived as the class
    return fill_field(*field.value, layout.message->fields[1], info);
  }
  if (!field.is_message()) field.default_value = default_value(layout);
  return field.is_message() || field.default_value != nullptr;
}

PyObject* get_field(PyObject* self, void* closure) {
  const auto& field = *static_cast<FieldInfo*>(closure);
  PyObject* value = as_message(self)->slots[field.layout->index];
  return value != nullptr ? Py_NewRef(value) : read_field(as_message(self), field);
}

bool assign_special(PyObject* self, const FieldInfo& field, PyObject* value) {
  Owned child(read_field(as_message(self), field));
  if (!child) return false;
  if (field.layout->cardinality == Cardinality::kSingular && PyObject_HasAttrString(child.get(), "_internal_assign"))
    return static_cast<bool>(Owned(PyObject_CallMethod(child.get(), "_internal_assign", "O", value)));
  PyErr_Format(PyExc_AttributeError, "Assignment not allowed to message, map, or repeated field \"%U\" in protocol message object.", field.name);
  return false;
}

int set_field(PyObject* self, PyObject* value, void* closure) {
  const auto& field = *static_cast<FieldInfo*>(closure);
  if (value == nullptr) {
    PyErr_Format(PyExc_AttributeError, "can't delete field \"%U\"; use ClearField", field.name);
    return -1;
  }
  return (field.is_node() ? assign_special(self, field, value) : set_scalar(as_message(self), field, value)) ? 0 : -1;
}

bool add_attributes(ClassInfo* info) {
  auto* type = reinterpret_cast<PyObject*>(info->type);
  for (FieldInfo& field : info->fields) {
    info->getset.push_back({field.layout->name.c_str(), get_field, set_field, nullptr, &field});
    Owned index(PyLong_FromUnsignedLong(field.layout->index));
    if (!index || PyDict_SetItem(info->index_by_name, field.name, index.get()) < 0) return false;
  }
  for (size_t i = 0; i < info->fields.size(); ++i) {
    Owned descriptor(PyDescr_NewGetSet(info->type, &info->getset[i]));
    if (!descriptor || PyObject_SetAttr(type, info->fields[i].name, descriptor.get()) < 0) return false;
    std::string constant = info->fields[i].layout->name + "_FIELD_NUMBER";
    for (char& c : constant) c = 'a' <= c && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    Owned number(PyLong_FromUnsignedLong(info->fields[i].layout->number));
    if (!number || PyObject_SetAttrString(type, constant.c_str(), number.get()) < 0) return false;
  }
  return true;
}

ClassInfo* make_info(SchemaObject* schema, const MessageLayout& layout) {
  auto info = std::make_unique<ClassInfo>();
  info->layout = &layout;
  info->schema = schema;
  info->index_by_name = PyDict_New();
  if (info->index_by_name == nullptr) return nullptr;
  info->fields.resize(layout.fields.size());
  info->getset.reserve(layout.fields.size());
  for (size_t i = 0; i < layout.fields.size(); ++i)
    if (!fill_field(info->fields[i], layout.fields[i], info.get())) return nullptr;
  return info.release();
}

// The class as Python makes it, with room for the slots.
PyTypeObject* make_type(const char* name, PyObject* bases, PyObject* name_space, size_t field_count) {
  Owned no_slots(PyTuple_New(0));
  if (!no_slots || PyDict_SetItemString(name_space, "__slots__", no_slots.get()) < 0) return nullptr;
  auto* type = reinterpret_cast<PyTypeObject*>(
      PyObject_CallFunction(reinterpret_cast<PyObject*>(types.meta), "sOO", name, bases, name_space));
  if (type == nullptr) return nullptr;
  type->tp_basicsize = static_cast<Py_ssize_t>(sizeof(MessageObject) + field_count * sizeof(PyObject*));
  type->tp_dealloc = types.message->tp_dealloc;  // nothing of subtype_dealloc is needed: no dict, no slots, no finalizer
  return type;
}

PyObject* make_class(SchemaObject* schema, const MessageLayout& layout, PyObject* bases, PyObject* name_space) {
  const size_t dot = layout.full_name.rfind('.');
  const std::string name = dot == std::string::npos ? layout.full_name : layout.full_name.substr(dot + 1);
  PyTypeObject* type = make_type(name.c_str(), bases, name_space, layout.fields.size());
  ClassInfo* info = type == nullptr ? nullptr : make_info(schema, layout);
  if (info == nullptr) return nullptr;
  // From here on nothing is taken back: see ClassInfo.
  Py_INCREF(schema);
  info->type = type;
  reinterpret_cast<MessageClass*>(type)->info = info;
  auto* object = reinterpret_cast<PyObject*>(type);
  if (!add_attributes(info) || PyDict_SetItemString(schema->classes, layout.full_name.c_str(), object) < 0) return nullptr;
  return Py_NewRef(object);
}

PyObject* message_class_method(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"full_name", "module", "bases", "qualname", "doc", nullptr};
  const char *full_name, *module;
  PyObject *bases = nullptr, *qualname = nullptr, *doc = Py_None;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ss|O!OO:message_class", const_cast<char**>(names), &full_name, &module, &PyTuple_Type, &bases, &qualname, &doc)) return nullptr;
  const MessageLayout* layout = as_schema(self)->schema->message(full_name);
  if (layout == nullptr) return PyErr_Format(PyExc_KeyError, "the schema has no message %s", full_name);
  Owned name_space(Py_BuildValue("{sssO}", "__module__", module, "__doc__", doc));
  if (!name_space || (qualname != nullptr && PyDict_SetItemString(name_space.get(), "__qualname__", qualname) < 0)) return nullptr;
  Owned default_bases(PyTuple_Pack(1, types.message));
  return make_class(as_schema(self), *layout, bases == nullptr ? default_bases.get() : bases, name_space.get());
}

// A subclass written by hand shares its base's fields.
PyObject* meta_new(PyTypeObject* meta, PyObject* args, PyObject* kwargs) {
  PyObject* object = PyType_Type.tp_new(meta, args, kwargs);
  if (object == nullptr) return nullptr;
  PyTypeObject* base = reinterpret_cast<PyTypeObject*>(object)->tp_base;
  if (base != nullptr && is_message_class(base)) reinterpret_cast<MessageClass*>(object)->info = class_info(base);
  return object;
}

PyMethodDef schema_methods[] = {
    {"message_class", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(message_class_method)), METH_VARARGS | METH_KEYWORDS,
     "Makes the class of one message. It lives as long as the process."},
    {"enum_values", enum_values, METH_O, "The (name, number) pairs of an enum, in declaration order."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef schema_getset[] = {
    {"serialized", serialized, nullptr, "The google.protobuf.FileDescriptorSet that it was made of.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

template <typename F>
void* slot(F* function) { return reinterpret_cast<void*>(function); }

}  // namespace

FieldInfo* ClassInfo::find(PyObject* name) {
  PyObject* index = PyDict_GetItemWithError(index_by_name, name);
  if (index == nullptr) return PyErr_Clear(), nullptr;
  return &fields[PyLong_AsUnsignedLong(index)];
}

ClassInfo* message_class(const FieldInfo& field) {
  if (field.message != nullptr) return field.message;
  const std::string& name = field.layout->message->full_name;
  PyObject* type = PyDict_GetItemString(field.info->schema->classes, name.c_str());
  if (type == nullptr) {
    PyErr_Format(PyExc_TypeError, "no class was made for message %s; import the module that was generated for it", name.c_str());
    return nullptr;
  }
  return const_cast<FieldInfo&>(field).message = class_info(reinterpret_cast<PyTypeObject*>(type));
}

const MessageLayout* layout_of(PyObject* object) {
  auto* type = reinterpret_cast<PyTypeObject*>(object);
  if (!PyType_Check(object) || !is_message_class(type)) return nullptr;
  return class_info(type)->layout;
}

std::shared_ptr<const Schema> schema_of(PyObject* object) {
  if (Py_TYPE(object) == types.schema) return as_schema(object)->schema;
  PyErr_Format(PyExc_TypeError, "expected a mrpc Schema, got %s", Py_TYPE(object)->tp_name);
  return nullptr;
}

bool ready_schema(PyObject* module) {
  PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The layouts of a google.protobuf.FileDescriptorSet, and the classes made for them.")},
                         {Py_tp_new, slot(schema_new)}, {Py_tp_dealloc, slot(schema_dealloc)},
                         {Py_tp_methods, schema_methods}, {Py_tp_getset, schema_getset}, {0, nullptr}};
  PyType_Spec spec{"mrpc._native.Schema", sizeof(SchemaObject), 0, Py_TPFLAGS_DEFAULT, slots};
  PyType_Slot meta_slots[] = {{Py_tp_new, slot(meta_new)}, {0, nullptr}};
  PyType_Spec meta{"mrpc._native.MessageMeta", sizeof(MessageClass), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, meta_slots};
  return ready(types.schema, module, &spec) && ready(types.meta, module, &meta, reinterpret_cast<PyObject*>(&PyType_Type));
}

}  // namespace mrpc::bind
