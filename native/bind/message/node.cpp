#include "bind/message/containers.h"

#include <cstring>

namespace mrpc::bind {

namespace {

// `self` was a stub: from now on its parent has this field.
void become_present(MessageObject* self) {
  self->stub = false;
  if (self->parent == nullptr || self->parent->kind != NodeKind::kMessage) return;
  auto* parent = static_cast<MessageObject*>(self->parent);
  if (self->field->layout->oneof >= 0) clear_oneof(parent, self->field->layout->oneof, self->field);
}

}  // namespace

bool claim_slow(Node* node) {
  if (node->parent != nullptr && !claim(node->parent)) return false;
  if (node->kind == NodeKind::kMessage) {
    auto* self = static_cast<MessageObject*>(node);
    if (self->is_view() && !detach(self)) return false;
    if (self->stub) become_present(self);
  }
  if (node->kind == NodeKind::kList && !list_read_all(static_cast<ListObject*>(node))) return false;
  node->own = true;
  return true;
}

void adopt(Node* part, Node* whole, const FieldInfo* field) {
  part->parent = whole;
  part->field = field;
}

void orphan(PyObject* part) {
  if (part == nullptr || part == Py_None) return;
  PyTypeObject* type = Py_TYPE(part);
  if (is_message(part) || type == types.numeric || type == types.list || type == types.map) as_node(part)->parent = nullptr;
}

Py_ssize_t container_size(PyObject* self) {
  if (Py_TYPE(self) == types.numeric) return static_cast<Py_ssize_t>(as_numeric(self)->size());
  return Py_TYPE(self) == types.list ? PyList_GET_SIZE(as_list(self)->items) : PyDict_GET_SIZE(as_map(self)->items);
}

MessageObject* new_part(const FieldInfo& field, Node* whole) {
  // Trees grow only from the root by this function, so that recursion over them is bounded, too.
  uint32_t depth = 0;
  for (const Node* node = whole; node != nullptr; node = node->parent) depth += node->kind == NodeKind::kMessage;
  if (depth > message::Limits{}.depth_max) {
    PyErr_Format(PyExc_ValueError, "message nests deeper than %u levels", message::Limits{}.depth_max);
    return nullptr;
  }
  ClassInfo* info = message_class(field);
  MessageObject* part = info == nullptr ? nullptr : new_message(info);
  if (part != nullptr) adopt(part, whole, &field);
  return part;
}

bool ready(PyTypeObject*& slot, PyObject* module, PyType_Spec* spec, PyObject* base) {
  slot = reinterpret_cast<PyTypeObject*>(PyType_FromSpecWithBases(spec, base));
  if (slot == nullptr) return false;
  const char* name = std::strrchr(spec->name, '.') + 1;
  return PyModule_AddObjectRef(module, name, reinterpret_cast<PyObject*>(slot)) == 0;
}

}  // namespace mrpc::bind
