#include "bind/message/value.h"

#include <cstring>
#include <string_view>

namespace mrpc::bind {

Storage storage_of(FieldType type) {
  switch (type) {
    case FieldType::kBool: return Storage::kBool;
    case FieldType::kInt32: case FieldType::kSint32: case FieldType::kSfixed32: case FieldType::kEnum: return Storage::kInt32;
    case FieldType::kUint32: case FieldType::kFixed32: return Storage::kUint32;
    case FieldType::kInt64: case FieldType::kSint64: case FieldType::kSfixed64: return Storage::kInt64;
    case FieldType::kUint64: case FieldType::kFixed64: return Storage::kUint64;
    case FieldType::kFloat: return Storage::kFloat;
    case FieldType::kDouble: return Storage::kDouble;
    case FieldType::kString: case FieldType::kBytes: case FieldType::kMessage: return Storage::kOutOfLine;
  }
  return Storage::kOutOfLine;
}

namespace {

PyObject* wrong_type(PyObject* value, const char* expected) {
  return PyErr_Format(PyExc_TypeError, "%R has type %s, but expected one of: %s", value, Py_TYPE(value)->tp_name, expected);
}

PyObject* out_of_range(PyObject* value) {
  PyErr_Clear();
  return PyErr_Format(PyExc_ValueError, "Value out of range: %S", value);
}

// A new reference to an exact int; numpy integers, IntEnum and the like are taken, bool and float are not.
PyObject* as_index(PyObject* value) {
  if (PyLong_CheckExact(value)) return Py_NewRef(value);
  if (!PyIndex_Check(value) || PyBool_Check(value)) return wrong_type(value, "int");
  Owned index(PyNumber_Index(value));
  if (!index || PyLong_CheckExact(index.get())) return index.release();
  return PyNumber_Long(index.get());  // of a subclass
}

PyObject* check_signed(PyObject* value, int64_t low, int64_t high) {
  Owned index(as_index(value));
  if (!index) return nullptr;
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  if (overflow != 0 || number < low || number > high) return out_of_range(value);
  return index.release();
}

PyObject* check_unsigned(PyObject* value, uint64_t high) {
  Owned index(as_index(value));
  if (!index) return nullptr;
  const unsigned long long number = PyLong_AsUnsignedLongLong(index.get());
  if ((number == static_cast<unsigned long long>(-1) && PyErr_Occurred()) || number > high) return out_of_range(value);
  return index.release();
}

PyObject* check_enum(const message::EnumLayout& layout, PyObject* value) {
  if (PyUnicode_Check(value)) {
    const char* name = PyUnicode_AsUTF8(value);
    if (name == nullptr) return nullptr;
    for (const auto& [label, number] : layout.values)
      if (label == name) return PyLong_FromLong(number);
    return PyErr_Format(PyExc_ValueError, "unknown enum label \"%s\" of %s", name, layout.full_name.c_str());
  }
  Owned number(check_signed(value, INT32_MIN, INT32_MAX));
  if (!number || !layout.closed) return number.release();
  const long wanted = PyLong_AsLong(number.get());
  for (const auto& entry : layout.values)
    if (entry.second == wanted) return number.release();
  return PyErr_Format(PyExc_ValueError, "invalid enumerator %ld of %s", wanted, layout.full_name.c_str());
}

PyObject* check_float(PyObject* value, bool narrow) {
  if (PyFloat_CheckExact(value) && !narrow) return Py_NewRef(value);
  if (!PyFloat_Check(value) && !PyIndex_Check(value) && (Py_TYPE(value)->tp_as_number == nullptr || Py_TYPE(value)->tp_as_number->nb_float == nullptr))
    return wrong_type(value, "int, float");
  const double number = PyFloat_AsDouble(value);
  if (number == -1.0 && PyErr_Occurred()) return nullptr;
  return PyFloat_FromDouble(narrow ? static_cast<double>(static_cast<float>(number)) : number);
}

PyObject* check_bool(PyObject* value) {
  if (PyBool_Check(value)) return Py_NewRef(value);
  if (std::string_view(Py_TYPE(value)->tp_name).starts_with("numpy.bool")) return PyBool_FromLong(PyObject_IsTrue(value));  // no index
  if (!PyIndex_Check(value)) return wrong_type(value, "bool, int");
  Owned index(PyNumber_Index(value));
  if (!index) return nullptr;
  return PyBool_FromLong(PyObject_IsTrue(index.get()));
}

PyObject* check_text(PyObject* value) {
  if (PyBytes_Check(value)) return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), nullptr);
  if (!PyUnicode_Check(value)) return wrong_type(value, "bytes, str");
  Owned text(PyUnicode_CheckExact(value) ? Py_NewRef(value) : PyUnicode_FromObject(value));
  // Fails for lone surrogates; keeps the UTF-8 form for the encoder.
  if (!text || PyUnicode_AsUTF8AndSize(text.get(), nullptr) == nullptr) return nullptr;
  return text.release();
}

template <typename T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace

PyObject* check_value(const FieldLayout& field, PyObject* value) {
  switch (field.type) {
    case FieldType::kEnum: return check_enum(*field.enumeration, value);
    case FieldType::kString: return check_text(value);
    case FieldType::kBytes: return check_bytes(value);
    default: break;
  }
  switch (storage_of(field.type)) {
    case Storage::kBool: return check_bool(value);
    case Storage::kInt32: return check_signed(value, INT32_MIN, INT32_MAX);
    case Storage::kUint32: return check_unsigned(value, UINT32_MAX);
    case Storage::kInt64: return check_signed(value, INT64_MIN, INT64_MAX);
    case Storage::kUint64: return check_unsigned(value, UINT64_MAX);
    case Storage::kFloat: return check_float(value, true);
    case Storage::kDouble: return check_float(value, false);
    case Storage::kOutOfLine: break;
  }
  return wrong_type(value, field.message->full_name.c_str());
}

void store_value(Storage storage, PyObject* value, std::byte* at) {
  switch (storage) {
    case Storage::kBool: return put<uint8_t>(at, value == Py_True);
    case Storage::kInt32: return put(at, static_cast<int32_t>(PyLong_AsLong(value)));
    case Storage::kUint32: return put(at, static_cast<uint32_t>(PyLong_AsUnsignedLong(value)));
    case Storage::kInt64: return put<int64_t>(at, PyLong_AsLongLong(value));
    case Storage::kUint64: return put<uint64_t>(at, PyLong_AsUnsignedLongLong(value));
    case Storage::kFloat: return put(at, static_cast<float>(PyFloat_AS_DOUBLE(value)));
    case Storage::kDouble: return put(at, PyFloat_AS_DOUBLE(value));
    case Storage::kOutOfLine: break;
  }
  MRPC_ASSERT(false);
}

PyObject* load_value(Storage storage, const std::byte* at) {
  using message::load;
  switch (storage) {
    case Storage::kBool: return PyBool_FromLong(load<uint8_t>(at));
    case Storage::kInt32: return PyLong_FromLong(load<int32_t>(at));
    case Storage::kUint32: return PyLong_FromUnsignedLong(load<uint32_t>(at));
    case Storage::kInt64: return PyLong_FromLongLong(load<int64_t>(at));
    case Storage::kUint64: return PyLong_FromUnsignedLongLong(load<uint64_t>(at));
    case Storage::kFloat: return PyFloat_FromDouble(load<float>(at));
    case Storage::kDouble: return PyFloat_FromDouble(load<double>(at));
    case Storage::kOutOfLine: break;
  }
  MRPC_ASSERT(false);
  return nullptr;
}

bool is_default(const FieldLayout& field, PyObject* value) {
  if (field.type == FieldType::kString) return PyUnicode_GET_LENGTH(value) == 0;
  if (field.type == FieldType::kBytes) return bytes_of(value).empty();
  uint64_t bits = 0;  // as it would stand in the image: -0.0 is not zero
  store_value(storage_of(field.type), value, reinterpret_cast<std::byte*>(&bits));
  return bits == 0;
}

PyObject* default_value(const FieldLayout& field) {
  const auto& text = field.default_text;
  if (field.type == FieldType::kString) return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr);
  if (field.type == FieldType::kBytes) return PyBytes_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
  return load_value(storage_of(field.type), reinterpret_cast<const std::byte*>(&field.default_bits));
}

std::span<const std::byte> text_of(PyObject* text) {
  Py_ssize_t length = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text, &length);
  MRPC_ASSERT(data != nullptr);  // check_text has made the form that this returns
  return {reinterpret_cast<const std::byte*>(data), static_cast<size_t>(length)};
}

const char* buffer_format(Storage storage) {
  switch (storage) {
    case Storage::kBool: return "?";
    case Storage::kInt32: return "i";
    case Storage::kUint32: return "I";
    case Storage::kInt64: return "l";  // numpy's int64; "q" would be a type of its own there
    case Storage::kUint64: return "L";
    case Storage::kFloat: return "f";
    case Storage::kDouble: return "d";
    case Storage::kOutOfLine: break;
  }
  return "B";
}

bool same_format(Storage storage, const Py_buffer& buffer) {
  const char* format = buffer.format == nullptr ? "B" : buffer.format;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (*format == '\0' || format[1] != '\0') return false;
  std::string_view codes;
  Py_ssize_t bytes = 4;
  switch (storage) {
    case Storage::kBool: codes = "?", bytes = 1; break;
    case Storage::kInt32: codes = "il"; break;
    case Storage::kUint32: codes = "IL"; break;
    case Storage::kInt64: codes = "lqn", bytes = 8; break;
    case Storage::kUint64: codes = "LQN", bytes = 8; break;
    case Storage::kFloat: codes = "f"; break;
    case Storage::kDouble: codes = "d", bytes = 8; break;
    case Storage::kOutOfLine: return false;
  }
  return buffer.itemsize == bytes && codes.find(*format) != std::string_view::npos;
}

}  // namespace mrpc::bind
