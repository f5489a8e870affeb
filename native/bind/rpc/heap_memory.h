// Memory of the send heap as a Python buffer: what mrpc.empty() makes arrays of.
//
// While a call that sends such an array runs, the array is not writeable: SentArrays turns its flag off when the request is laid
// out and on again when Python has been told of the call's end, both with the GIL held. Only the array that mrpc.empty() returned
// has the flag turned off, and views made of it meanwhile; a view, memoryview or tensor made before keeps its own.
#pragma once

#include <cstddef>
#include <vector>

#include "bind/rpc/python.h"
#include "stub/stub.h"

namespace mrpc::bind {

bool init_heap_memory();  // makes the type; false with an exception set

// A writable buffer of `buffer`'s bytes, which keeps it. Its method guard(array) says whose flag to turn. nullptr with an exception set.
PyObject* make_heap_memory(stub::HeapBufferPtr buffer);

// The arrays that one call sends. With the GIL held; leaves the exception state alone.
class SentArrays {
 public:
  SentArrays() = default;
  SentArrays(SentArrays&&) = default;
  SentArrays& operator=(SentArrays&&) = delete;
  ~SentArrays() { release(); }

  void add(const std::byte* sent);  // nothing happens unless it stands in the memory of an mrpc.empty()
  void release();

 private:
  std::vector<PyRef> memories_;
};

}  // namespace mrpc::bind
