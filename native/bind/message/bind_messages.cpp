// What of the messages Python sees.
#include <nanobind/nanobind.h>

#include "bind/message/codec.h"
#include "bind/message/object.h"

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

nb::bytes encode_image(nb::handle message) {
  if (!is_message(message.ptr())) throw nb::type_error("expected a message");
  Owned image = image_of(message.ptr());
  if (!image) throw nb::python_error();
  return nb::steal<nb::bytes>(image.release());
}

nb::object decode_image(nb::handle cls, nb::bytes image) {
  const MessageLayout* layout = layout_of(cls.ptr());
  if (layout == nullptr) throw nb::type_error("expected a message class");
  const std::span<const std::byte> bytes = bytes_of(image.ptr());
  auto verified = message::verify(*layout, bytes, {}, {});
  if (!verified) throw nb::value_error(verified.error().text.c_str());
  PyObject* decoded = decode(reinterpret_cast<PyTypeObject*>(cls.ptr()), bytes, image.ptr());
  if (decoded == nullptr) throw nb::python_error();
  return nb::steal(decoded);
}

}  // namespace

void bind_messages(nb::module_& module) {
  PyObject* m = module.ptr();
  const bool ok = ready_schema(m) && ready_message(m) && ready_numeric(m) && ready_list(m) && ready_map(m) && ready_bytes_view(m);
  if (!ok) throw nb::python_error();
  module.def("encode_image", &encode_image, nb::arg("message"), "The image of a message, without segments.");
  module.def("decode_image", &decode_image, nb::arg("cls"), nb::arg("image"),
             "A message that reads its fields from `image`, which is verified first. Raises ValueError.");
}

}  // namespace mrpc::bind
