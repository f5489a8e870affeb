#include "bind/rpc/heap_memory.h"

#include <new>

namespace mrpc::bind {
namespace {

struct HeapMemory {
  PyObject_HEAD
  stub::HeapBufferPtr buffer;
};

PyTypeObject* heap_memory_type = nullptr;

int heap_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  const std::span<std::byte> bytes = reinterpret_cast<HeapMemory*>(self)->buffer->bytes();
  return PyBuffer_FillInfo(view, self, bytes.data(), static_cast<Py_ssize_t>(bytes.size()), 0, flags);
}

void heap_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<HeapMemory*>(self)->buffer.~shared_ptr();
  PyObject_Free(self);
  Py_DECREF(type);
}

PyType_Slot heap_slots[] = {
    {Py_tp_dealloc, reinterpret_cast<void*>(heap_dealloc)},
    {Py_bf_getbuffer, reinterpret_cast<void*>(heap_getbuffer)},
    {0, nullptr},
};
PyType_Spec heap_spec{"mrpc._native.HeapMemory", sizeof(HeapMemory), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                      heap_slots};

}  // namespace

bool init_heap_memory() {
  heap_memory_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&heap_spec));
  return heap_memory_type != nullptr;
}

PyObject* make_heap_memory(stub::HeapBufferPtr buffer) {
  HeapMemory* memory = PyObject_New(HeapMemory, heap_memory_type);
  if (!memory) return nullptr;
  new (&memory->buffer) stub::HeapBufferPtr(std::move(buffer));
  return reinterpret_cast<PyObject*>(memory);
}

}  // namespace mrpc::bind
