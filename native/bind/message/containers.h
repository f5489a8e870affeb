// What the encoder, the merger and the containers' own files share.
#pragma once

#include "bind/message/object.h"

namespace mrpc::bind {

// The elements of a repeated scalar (not string, not bytes): packed, shared between containers until one changes
// them, and either owned, or in memory that something else keeps.
struct Packed {
  std::vector<std::byte> own;
  PyObject* owner = nullptr;  // keeps `data`
  Py_buffer buffer{};         // or: an exporter keeps it
  const std::byte* data = nullptr;
  size_t bytes = 0;

  Packed() = default;
  Packed(const Packed&) = delete;
  ~Packed() {
    Py_XDECREF(owner);
    if (buffer.obj != nullptr) PyBuffer_Release(&buffer);
  }
  bool owned() const { return owner == nullptr && buffer.obj == nullptr; }
};

struct NumericObject : Node {
  std::shared_ptr<Packed> packed;

  size_t element_bytes() const { return field->layout->element_bytes; }
  size_t size() const { return packed->bytes / field->layout->element_bytes; }
  PyObject* keeper() const { return packed->buffer.obj != nullptr ? packed->buffer.obj : packed->owner; }
};

// Repeated strings, bytes and messages. Elements of an image that nobody has read stand as None.
struct ListObject : Node {
  PyObject* items;  // list
  const std::byte* image;
  const std::byte* elements;
  PyObject* owner;
};

struct MapObject : Node {
  PyObject* items;  // dict; keys are exact int, str or bool
};

inline NumericObject* as_numeric(PyObject* object) { return reinterpret_cast<NumericObject*>(object); }
inline ListObject* as_list(PyObject* object) { return reinterpret_cast<ListObject*>(object); }
inline MapObject* as_map(PyObject* object) { return reinterpret_cast<MapObject*>(object); }

bool list_read_all(ListObject* self);

bool merge_numeric(NumericObject* into, NumericObject* from);
bool merge_list(ListObject* into, ListObject* from);
bool merge_map(MapObject* into, MapObject* from);

}  // namespace mrpc::bind
