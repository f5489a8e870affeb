// Memory of the send heap as a Python buffer: what mrpc.empty() makes arrays of.
#pragma once

#include "bind/rpc/python.h"
#include "stub/stub.h"

namespace mrpc::bind {

bool init_heap_memory();  // makes the type; false with an exception set

// A writable buffer of `buffer`'s bytes, which keeps it. nullptr with an exception set.
PyObject* make_heap_memory(stub::HeapBufferPtr buffer);

}  // namespace mrpc::bind
