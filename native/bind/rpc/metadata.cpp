#include "bind/rpc/metadata.h"

#include <algorithm>

namespace mrpc::bind {
namespace {

bool is_binary(std::string_view key) { return key.ends_with("-bin"); }

bool is_key_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'; }

bool is_text_character(char c) { return c >= 0x20 && c < 0x7f; }

std::string_view bytes_view(PyObject* bytes) {
  return {PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes))};
}

// Empty with an exception set when it is neither str nor bytes.
bool text_view(PyObject* object, std::string_view& view) {
  if (PyBytes_Check(object)) {
    view = bytes_view(object);
    return true;
  }
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(object, &size);
  if (!data) return false;
  view = {data, static_cast<size_t>(size)};
  return true;
}

}  // namespace

bool MetadataList::read(PyObject* pairs) {
  if (!pairs || pairs == Py_None) return true;
  PyRef fast(PySequence_Fast(pairs, "metadata must be an iterable of (key, value) pairs"));
  if (!fast) return false;
  const Py_ssize_t count = PySequence_Fast_GET_SIZE(fast.get());
  pairs_.reserve(static_cast<size_t>(count));
  owners_.reserve(static_cast<size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i)
    if (!read_pair(PySequence_Fast_GET_ITEM(fast.get(), i))) return false;
  return true;
}

bool MetadataList::read_pair(PyObject* object) {
  PyRef pair(PySequence_Tuple(object));
  if (!pair) return false;
  if (PyTuple_GET_SIZE(pair.get()) != 2) {
    PyErr_SetString(PyExc_ValueError, "each entry of metadata must be a (key, value) pair");
    return false;
  }
  std::string_view key;
  if (!text_view(PyTuple_GET_ITEM(pair.get(), 0), key)) return false;
  if (key.empty() || !std::all_of(key.begin(), key.end(), is_key_character)) {
    PyErr_Format(PyExc_ValueError, "metadata key %R: use lower-case letters, digits, '-', '_' and '.'",
                 PyTuple_GET_ITEM(pair.get(), 0));
    return false;
  }
  PyObject* value = PyTuple_GET_ITEM(pair.get(), 1);
  owners_.push_back(std::move(pair));
  return read_value(key, value);
}

bool MetadataList::read_value(std::string_view key, PyObject* value) {
  std::string_view view;
  if (is_binary(key)) {
    if (!PyBytes_Check(value)) {
      PyErr_Format(PyExc_TypeError, "the value of metadata key '%.200s' must be bytes, as the key ends in -bin",
                   std::string(key).c_str());
      return false;
    }
    view = bytes_view(value);
  } else {
    if (!text_view(value, view)) return false;
    if (!std::all_of(view.begin(), view.end(), is_text_character)) {
      PyErr_Format(PyExc_ValueError,
                   "the value of metadata key '%.200s' is not printable ASCII: use a key that ends in -bin for bytes",
                   std::string(key).c_str());
      return false;
    }
  }
  pairs_.push_back({key, view});
  return true;
}

PyObject* metadata_tuple(std::span<const std::byte> bytes) {
  if (bytes.empty()) return PyTuple_New(0);
  PyRef list(PyList_New(0));
  if (!list) return nullptr;
  shm::MetadataReader reader(bytes);
  for (shm::MetadataPair pair; reader.next(pair);) {
    PyRef key(text_object(pair.key));
    PyRef value(is_binary(pair.key) ? PyBytes_FromStringAndSize(pair.value.data(), static_cast<Py_ssize_t>(pair.value.size()))
                                    : text_object(pair.value));
    PyRef item(key && value ? PyTuple_Pack(2, key.get(), value.get()) : nullptr);
    if (!item || PyList_Append(list.get(), item.get()) != 0) return nullptr;
  }
  return PyList_AsTuple(list.get());
}

}  // namespace mrpc::bind
