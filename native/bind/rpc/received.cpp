#include "bind/rpc/received.h"

#include <new>

#include "bind/message/codec.h"

namespace mrpc::bind {
namespace {

struct ReceivedBlock {
  PyObject_HEAD
  stub::RecvBlockPtr block;
};

PyTypeObject* received_type = nullptr;

void received_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<ReceivedBlock*>(self)->block.~shared_ptr();
  PyObject_Free(self);
  Py_DECREF(type);
}

PyType_Slot received_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(received_dealloc)}, {0, nullptr}};
PyType_Spec received_spec{"mrpc._native.ReceivedBlock", sizeof(ReceivedBlock), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, received_slots};

}  // namespace

bool init_received() {
  received_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&received_spec));
  return received_type != nullptr;
}

PyObject* decode_block(PyTypeObject* cls, stub::RecvBlockPtr block) {
  ReceivedBlock* owner = PyObject_New(ReceivedBlock, received_type);
  if (!owner) return nullptr;
  const std::span<const std::byte> image = block->image();
  new (&owner->block) stub::RecvBlockPtr(std::move(block));
  PyRef keep(reinterpret_cast<PyObject*>(owner));
  return decode(cls, image, keep.get());
}

}  // namespace mrpc::bind
