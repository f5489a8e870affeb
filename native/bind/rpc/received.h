// Received blocks as Python sees them: messages read them lazily, so an object must keep them alive.
#pragma once

#include "bind/rpc/python.h"
#include "stub/stub.h"

namespace mrpc::bind {

// Makes the type of the objects that own blocks. False with an exception set.
bool init_received();

// A `cls` that reads the image of `block`. nullptr with an exception set.
PyObject* decode_block(PyTypeObject* cls, stub::RecvBlockPtr block);

}  // namespace mrpc::bind
