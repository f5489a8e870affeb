// One scalar between Python and the image.
#pragma once

#include "bind/message/object.h"

namespace mrpc::bind {

// How a scalar stands in the image.
enum class Storage : uint8_t { kBool, kInt32, kUint32, kInt64, kUint64, kFloat, kDouble, kOutOfLine };
Storage storage_of(FieldType type);

// Checks type and range as google.protobuf does. A new reference to an exact int, float, bool, str, bytes or a BytesView;
// nullptr with TypeError or ValueError set.
PyObject* check_value(const FieldLayout& field, PyObject* value);

// `value` has been through check_value.
void store_value(Storage storage, PyObject* value, std::byte* at);
PyObject* load_value(Storage storage, const std::byte* at);
bool is_default(const FieldLayout& field, PyObject* value);  // zero or empty: an implicit field that is absent

PyObject* default_value(const FieldLayout& field);
std::span<const std::byte> text_of(PyObject* text);  // a checked str in UTF-8

// The buffer-protocol format of a repeated scalar, and whether a buffer's elements are the same.
const char* buffer_format(Storage storage);
bool same_format(Storage storage, const Py_buffer& buffer);

}  // namespace mrpc::bind
