// Making messages, and reading and setting their fields.
#include "bind/message/containers.h"
#include "bind/message/value.h"

namespace mrpc::bind {

MessageObject* new_message(ClassInfo* info) {
  auto* self = as_message(info->type->tp_alloc(info->type, 0));  // zeroed
  if (self == nullptr) return nullptr;
  self->kind = NodeKind::kMessage;
  self->info = info;
  self->own = true;
  return self;
}

MessageObject* new_view(ClassInfo* info, const std::byte* image, const std::byte* fields, PyObject* owner) {
  MessageObject* self = new_message(info);
  if (self == nullptr) return nullptr;
  self->own = false;
  self->image = image;
  self->fields = fields;
  self->owner = Py_NewRef(owner);
  return self;
}

void drop_slot(MessageObject* self, uint32_t index) {
  PyObject* value = std::exchange(self->slots[index], nullptr);
  if (value != nullptr && self->info->fields[index].is_node()) orphan(value);
  Py_XDECREF(value);
}

void clear_message(MessageObject* self) {
  for (uint32_t i = 0; i < self->info->fields.size(); ++i) drop_slot(self, i);
  self->image = self->fields = nullptr;
  self->image_bytes = 0;
  Py_CLEAR(self->owner);
  Py_CLEAR(self->unknown);
}

namespace {

bool image_has(const MessageView& view, const FieldLayout& field) {
  if (field.has_presence) return view.present(field);
  if (field.out_of_line()) return view.ref(field).length != 0;
  uint64_t bits = 0;
  std::memcpy(&bits, view.fields + field.offset, field.element_bytes);
  return bits != 0;
}

PyObject* new_stub(MessageObject* self, const FieldInfo& field) {
  MessageObject* child = new_part(field, self);
  if (child == nullptr) return nullptr;
  child->own = false;
  child->stub = true;
  return as_object(child);
}

PyObject* view_child(MessageObject* self, const FieldInfo& field) {
  ClassInfo* info = message_class(field);
  if (info == nullptr) return nullptr;
  MessageObject* child = new_view(info, self->image, self->view().child(*field.layout).fields, self->owner);
  if (child == nullptr) return nullptr;
  adopt(child, self, &field);
  return as_object(child);
}

PyObject* new_container(MessageObject* self, const FieldInfo& field) {
  if (field.is_map()) return new_map(self, field);
  if (storage_of(field.layout->type) == Storage::kOutOfLine) return new_list(self, field);
  return new_numeric(self, field);
}

// What a view has in `field`, which is present there.
PyObject* view_value(MessageObject* self, const FieldInfo& field) {
  const FieldLayout& layout = *field.layout;
  const MessageView view = self->view();
  if (layout.cardinality != Cardinality::kSingular) return new_container(self, field);
  if (field.is_message()) return view_child(self, field);
  if (!layout.out_of_line()) return load_value(storage_of(layout.type), view.fields + layout.offset);
  const std::string_view text = view.text(layout);
  const auto length = static_cast<Py_ssize_t>(text.size());
  if (layout.type == FieldType::kString) return PyUnicode_DecodeUTF8(text.data(), length, nullptr);
  return new_bytes(reinterpret_cast<const std::byte*>(text.data()), length, self->owner);
}

}  // namespace

bool has_field(const MessageObject* self, const FieldInfo& field) {
  PyObject* value = self->slots[field.layout->index];
  if (self->is_view()) return image_has(self->view(), *field.layout);
  if (value == nullptr) return false;
  if (field.layout->cardinality != Cardinality::kSingular) return container_size(value) != 0;
  return !(field.is_message() && as_node(value)->stub);
}

PyObject* read_field(MessageObject* self, const FieldInfo& field) {
  PyObject*& slot = self->slots[field.layout->index];
  if (slot != nullptr) return Py_NewRef(slot);
  PyObject* value = nullptr;
  if (self->is_view() && image_has(self->view(), *field.layout)) value = view_value(self, field);
  else if (!field.is_node()) return Py_NewRef(field.default_value);
  else if (field.layout->cardinality != Cardinality::kSingular) value = new_container(self, field);
  else value = new_stub(self, field);
  if (value == nullptr) return nullptr;
  if (slot != nullptr) return Py_DECREF(value), Py_NewRef(slot);  // an allocation let another thread in
  slot = value;
  return Py_NewRef(value);
}

bool detach(MessageObject* self) {
  const MessageView view = self->view();
  for (const FieldInfo& field : self->info->fields) {
    if (self->slots[field.layout->index] != nullptr || !image_has(view, *field.layout)) continue;
    Owned value(read_field(self, field));
    if (!value) return false;
  }
  const auto unknown = message::load<message::Ref>(view.fields);
  if (unknown.length != 0) {
    self->unknown = PyBytes_FromStringAndSize(reinterpret_cast<const char*>(view.image) + unknown.offset, unknown.length);
    if (self->unknown == nullptr) return false;
  }
  self->image = self->fields = nullptr;
  self->image_bytes = 0;
  Py_CLEAR(self->owner);
  return true;
}

void clear_oneof(MessageObject* self, int32_t oneof, const FieldInfo* except) {
  for (const FieldInfo& field : self->info->fields)
    if (field.layout->oneof == oneof && &field != except) drop_slot(self, field.layout->index);
}

bool set_scalar(MessageObject* self, const FieldInfo& field, PyObject* value) {
  const FieldLayout& layout = *field.layout;
  Owned checked(check_value(layout, value));
  if (!checked || !claim(self)) return false;
  if (layout.oneof >= 0) clear_oneof(self, layout.oneof, &field);
  const bool absent = !layout.has_presence && is_default(layout, checked.get());
  PyObject* old = std::exchange(self->slots[layout.index], absent ? nullptr : checked.release());
  Py_XDECREF(old);
  return true;
}

MessageObject* mutable_child(MessageObject* self, const FieldInfo& field) {
  Owned child(read_field(self, field));
  if (!child || !claim(as_node(child.get()))) return nullptr;
  return as_message(child.get());  // its slot holds it
}

bool init_field(MessageObject* self, const FieldInfo& field, PyObject* value) {
  if (value == Py_None) return true;
  if (!field.is_node()) return set_scalar(self, field, value);
  if (field.layout->cardinality == Cardinality::kSingular) {
    MessageObject* child = mutable_child(self, field);
    return child != nullptr && assign_message(child, value);
  }
  Owned container(read_field(self, field));
  if (!container) return false;
  if (field.is_map()) return map_update(container.get(), value);
  if (Py_TYPE(container.get()) == types.numeric) return numeric_extend(container.get(), value);
  return list_extend(container.get(), value);
}

bool init_fields(MessageObject* self, PyObject* kwargs) {
  PyObject *name, *value;
  Py_ssize_t position = 0;
  while (PyDict_Next(kwargs, &position, &name, &value)) {
    FieldInfo* field = PyUnicode_Check(name) ? self->info->find(name) : nullptr;
    if (field == nullptr) {
      PyErr_Format(PyExc_ValueError, "Protocol message %s has no %R field.", self->info->type->tp_name, name);
      return false;
    }
    if (!init_field(self, *field, value)) return false;
  }
  return true;
}

}  // namespace mrpc::bind
