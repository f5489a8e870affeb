#pragma once

#include "bind/message/object.h"

namespace mrpc::bind {

struct SchemaObject {
  PyObject_HEAD
  std::shared_ptr<const message::Schema> schema;
  PyObject* classes;  // dict: full name -> class, imported files' included
};

}  // namespace mrpc::bind
