// MergeFrom, CopyFrom, and assignment of whole messages.
#include "bind/message/codec.h"
#include "bind/message/containers.h"

namespace mrpc::bind {
namespace {

bool merge_field(MessageObject* into, const FieldInfo& field, PyObject* value) {
  const FieldLayout& layout = *field.layout;
  if (!field.is_node()) {
    if (layout.oneof >= 0) clear_oneof(into, layout.oneof, &field);
    PyObject* old = std::exchange(into->slots[layout.index], Py_NewRef(value));
    Py_XDECREF(old);
    return true;
  }
  if (layout.cardinality == Cardinality::kSingular) {
    MessageObject* child = mutable_child(into, field);
    return child != nullptr && merge(child, as_message(value));
  }
  Owned container(read_field(into, field));
  if (!container || !claim(as_node(container.get()))) return false;
  if (field.is_map()) return merge_map(as_map(container.get()), as_map(value));
  if (Py_TYPE(value) == types.numeric) return merge_numeric(as_numeric(container.get()), as_numeric(value));
  return merge_list(as_list(container.get()), as_list(value));
}

Owned unknown_of(MessageObject* self) {
  if (!self->is_view()) return Owned(Py_XNewRef(self->unknown));
  const auto ref = message::load<message::Ref>(self->fields);
  return Owned(ref.length == 0 ? nullptr : PyBytes_FromStringAndSize(reinterpret_cast<const char*>(self->image) + ref.offset, ref.length));
}

bool share_view(MessageObject* into, MessageObject* from) {
  clear_message(into);
  into->image = from->image;
  into->fields = from->fields;
  into->image_bytes = from->image_bytes;
  into->owner = Py_NewRef(from->owner);
  into->own = false;
  return true;
}

}  // namespace

bool merge(MessageObject* into, MessageObject* from) {
  if (!claim(into)) return false;
  for (uint32_t i = 0; i < from->info->fields.size(); ++i) {
    const FieldInfo& source = from->info->fields[i];
    if (!has_field(from, source)) continue;
    Owned value(read_field(from, source));
    if (!value || !merge_field(into, into->info->fields[i], value.get())) return false;
  }
  Owned unknown = unknown_of(from);
  if (!unknown) return !PyErr_Occurred();
  if (into->unknown == nullptr) return (into->unknown = unknown.release()) != nullptr;
  PyBytes_Concat(&into->unknown, unknown.get());
  return into->unknown != nullptr;
}

bool copy_into(MessageObject* into, MessageObject* from) {
  if (into == from) return true;
  if (from->is_view()) return share_view(into, from);
  clear_message(into);
  return merge(into, from);
}

bool assign_message(MessageObject* into, PyObject* value) {
  if (Py_TYPE(value) == into->info->type) return copy_into(into, as_message(value));
  if (PyObject_HasAttrString(as_object(into), "_internal_assign")) {  // datetime for a Timestamp, dict for a Struct...
    Owned done(PyObject_CallMethod(as_object(into), "_internal_assign", "O", value));
    if (done) return true;
    if (!PyDict_Check(value) && !PyErr_ExceptionMatches(PyExc_AttributeError) && !PyErr_ExceptionMatches(PyExc_TypeError)) return false;
    PyErr_Clear();
  }
  if (PyDict_Check(value)) return init_fields(into, value);
  Owned descriptor(PyObject_GetAttrString(value, "DESCRIPTOR"));
  Owned name(descriptor ? PyObject_GetAttrString(descriptor.get(), "full_name") : nullptr);
  const char* text = name && PyUnicode_Check(name.get()) ? PyUnicode_AsUTF8(name.get()) : nullptr;
  if (text == nullptr || into->info->layout->full_name != text) {
    PyErr_Format(PyExc_TypeError, "Parameter must be a %s, a dict, or a message of the same name; got %s",
                 into->info->layout->full_name.c_str(), Py_TYPE(value)->tp_name);
    return false;
  }
  Owned bytes(PyObject_CallMethod(value, "SerializePartialToString", nullptr));
  return bytes && merge_bytes(into, bytes.get(), true);
}

namespace {

void free_image(PyObject* capsule) {
  delete static_cast<std::vector<std::byte>*>(PyCapsule_GetPointer(capsule, nullptr));
}

void raise_decode_error(const std::string& text) {
  Owned module(PyImport_ImportModule("google.protobuf.message"));
  Owned type(module ? PyObject_GetAttrString(module.get(), "DecodeError") : nullptr);
  if (type) PyErr_Format(type.get(), "Error parsing message: %s", text.c_str());
}

}  // namespace

bool merge_bytes(MessageObject* into, PyObject* bytes, bool replace) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(bytes, &buffer, PyBUF_SIMPLE) < 0) return false;
  auto image = std::make_unique<std::vector<std::byte>>();
  const message::Limits limits{.message_bytes_max = UINT32_MAX};
  auto status = message::from_protobuf(*into->info->layout, {static_cast<const std::byte*>(buffer.buf), static_cast<size_t>(buffer.len)}, limits, *image);
  PyBuffer_Release(&buffer);
  if (!status) return raise_decode_error(status.error().text), false;
  const std::span<const std::byte> bytes_of_image = *image;
  Owned owner(PyCapsule_New(image.get(), nullptr, free_image));
  if (!owner) return false;
  image.release();
  Owned parsed(decode(into->info->type, bytes_of_image, owner.get()));
  if (!parsed || !claim(into)) return false;
  return replace ? copy_into(into, as_message(parsed.get())) : merge(into, as_message(parsed.get()));
}

}  // namespace mrpc::bind
