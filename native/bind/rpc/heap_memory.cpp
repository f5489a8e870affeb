#include "bind/rpc/heap_memory.h"

#include <map>
#include <new>

namespace mrpc::bind {
namespace {

struct HeapMemory {
  PyObject_HEAD
  stub::HeapBufferPtr buffer;
  PyObject* array;     // weak reference to the array that mrpc.empty() returned, or null
  uint32_t calls;      // that send it now
  bool was_writeable;  // before the first of them
};

PyTypeObject* heap_memory_type = nullptr;

// All that live, by where they begin. Used with the GIL held; they are few, and looked up only for content that is sent in place.
std::map<const std::byte*, HeapMemory*> memories;

HeapMemory* memory_at(const std::byte* at) {
  auto next = memories.upper_bound(at);
  if (next == memories.begin()) return nullptr;
  HeapMemory* memory = std::prev(next)->second;
  return at < std::prev(next)->first + memory->buffer->bytes().size() ? memory : nullptr;
}

// Null when the array has gone, or with an exception set, which OwnErrors drops: what cannot be protected is sent unprotected.
PyRef array_flags(const HeapMemory& memory) {
  PyObject* array = memory.array ? PyWeakref_GetObject(memory.array) : Py_None;
  return array == Py_None ? PyRef() : PyRef(PyObject_GetAttrString(array, "flags"));
}

bool is_writeable(const HeapMemory& memory) {
  PyRef flags = array_flags(memory);
  PyRef writeable(flags ? PyObject_GetAttrString(flags.get(), "writeable") : nullptr);
  return writeable.get() == Py_True;
}

void set_writeable(const HeapMemory& memory, bool writeable) {
  if (PyRef flags = array_flags(memory)) PyObject_SetAttrString(flags.get(), "writeable", writeable ? Py_True : Py_False);
}

// Keeps what is raised inside from whoever is outside, and the other way round.
class OwnErrors {
 public:
  OwnErrors() { PyErr_Fetch(&type_, &value_, &traceback_); }
  ~OwnErrors() {
    PyErr_Clear();
    PyErr_Restore(type_, value_, traceback_);
  }

 private:
  PyObject *type_, *value_, *traceback_;
};

PyObject* heap_guard(PyObject* self, PyObject* array) {
  HeapMemory& memory = *reinterpret_cast<HeapMemory*>(self);
  Py_XSETREF(memory.array, PyWeakref_NewRef(array, nullptr));
  return memory.array ? Py_NewRef(Py_None) : nullptr;
}

int heap_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  const std::span<std::byte> bytes = reinterpret_cast<HeapMemory*>(self)->buffer->bytes();
  return PyBuffer_FillInfo(view, self, bytes.data(), static_cast<Py_ssize_t>(bytes.size()), 0, flags);
}

void heap_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  HeapMemory& memory = *reinterpret_cast<HeapMemory*>(self);
  memories.erase(memory.buffer->bytes().data());
  Py_XDECREF(memory.array);
  memory.buffer.~shared_ptr();
  PyObject_Free(self);
  Py_DECREF(type);
}

PyMethodDef heap_methods[] = {
    {"guard", heap_guard, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyType_Slot heap_slots[] = {
    {Py_tp_methods, heap_methods},
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
  memory->array = nullptr;
  memory->calls = 0;
  memories[memory->buffer->bytes().data()] = memory;
  return reinterpret_cast<PyObject*>(memory);
}

void SentArrays::add(const std::byte* sent) {
  HeapMemory* memory = memory_at(sent);
  if (!memory) return;
  const OwnErrors own;
  if (memory->calls++ == 0 && (memory->was_writeable = is_writeable(*memory))) set_writeable(*memory, false);
  memories_.push_back(PyRef::borrow(reinterpret_cast<PyObject*>(memory)));
}

void SentArrays::release() {
  if (memories_.empty()) return;
  const OwnErrors own;
  for (const PyRef& held : memories_) {
    HeapMemory& memory = *reinterpret_cast<HeapMemory*>(held.get());
    if (--memory.calls == 0 && memory.was_writeable) set_writeable(memory, true);
  }
  memories_.clear();
}

}  // namespace mrpc::bind
