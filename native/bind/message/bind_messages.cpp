// What of the messages Python sees.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "bind/message/codec.h"
#include "bind/message/object.h"
#include "shm/abi.h"

namespace nb = nanobind;

namespace mrpc::bind {

Types types;

bool ready_schema(PyObject* module);
bool ready_message(PyObject* module);
bool ready_numeric(PyObject* module);
bool ready_list(PyObject* module);
bool ready_map(PyObject* module);
bool ready_bytes_view(PyObject* module);

namespace {

void require_message(nb::handle object) {
  if (!is_message(object.ptr())) throw nb::type_error("expected a message");
}

nb::bytes encode_image(nb::handle message) {
  require_message(message);
  Owned image = image_of(message.ptr());
  if (!image) throw nb::python_error();
  return nb::steal<nb::bytes>(image.release());
}

// As the RPC binding does it, with any buffer in the part of the shared heap.
std::pair<nb::bytes, nb::list> encode_segments(nb::handle message, nb::handle heap) {
  require_message(message);
  Py_buffer memory;
  if (PyObject_GetBuffer(heap.ptr(), &memory, PyBUF_SIMPLE) < 0) throw nb::python_error();
  const auto* start = static_cast<const std::byte*>(memory.buf);
  const auto in_heap = [&](const std::byte* data, uint64_t length) { return data >= start && data + length <= start + memory.len; };
  EncodePlan plan;
  const bool planned = plan_encode(message.ptr(), plan, in_heap);
  PyBuffer_Release(&memory);
  if (!planned) throw nb::python_error();
  std::vector<std::byte> inline_part(plan.inline_bytes);
  encode(message.ptr(), plan, inline_part.data());
  nb::list segments;
  for (const BlobRef& blob : plan.blobs) segments.append(nb::bytes(blob.data, blob.length));
  return {nb::bytes(inline_part.data(), inline_part.size()), segments};
}

nb::object decode_image(nb::handle cls, nb::bytes inline_part, const std::vector<nb::bytes>& segments) {
  const MessageLayout* layout = layout_of(cls.ptr());
  if (layout == nullptr) throw nb::type_error("expected a message class");
  std::string whole(inline_part.c_str(), inline_part.size());
  std::vector<uint64_t> lengths;
  for (const nb::bytes& segment : segments) {
    lengths.push_back(segment.size());
    whole.resize((whole.size() + abi::kBlobAlign - 1) / abi::kBlobAlign * abi::kBlobAlign);
    whole.append(segment.c_str(), segment.size());
  }
  auto verified = message::verify(*layout, bytes_of(inline_part.ptr()), lengths, {});
  if (!verified) throw nb::value_error(verified.error().text.c_str());
  const nb::bytes image(whole.data(), whole.size());
  PyObject* decoded = decode(reinterpret_cast<PyTypeObject*>(cls.ptr()), bytes_of(image.ptr()), image.ptr());
  if (decoded == nullptr) throw nb::python_error();
  return nb::steal(decoded);
}

}  // namespace

void bind_messages(nb::module_& module) {
  PyObject* m = module.ptr();
  const bool ok = ready_schema(m) && ready_message(m) && ready_numeric(m) && ready_list(m) && ready_map(m) && ready_bytes_view(m);
  if (!ok) throw nb::python_error();
  module.def("encode_image", &encode_image, nb::arg("message"), "The image of a message, without segments.");
  module.def("encode_segments", &encode_segments, nb::arg("message"), nb::arg("heap"),
             "The inline part of a message's image, and its segments: content that lies in the buffer `heap`.");
  module.def("decode_image", &decode_image, nb::arg("cls"), nb::arg("image"), nb::arg("segments") = nb::list(),
             "A message that reads its fields from `image`, which is verified first. Raises ValueError.");
}

}  // namespace mrpc::bind
