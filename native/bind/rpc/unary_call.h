// The multi-callable of a unary method: stub.Method. Calling it is the client's hot path.
#pragma once

#include <memory>

#include "bind/rpc/channel.h"
#include "bind/rpc/python.h"

namespace mrpc::bind {

struct UnaryTarget {
  std::shared_ptr<ChannelCore> channel;
  std::shared_ptr<ServiceBinding> service;
  uint32_t method = 0;  // index in the schema's order
};

// Makes the type; false with an exception set.
bool init_unary_call();
PyObject* unary_call_type();  // borrowed

// A new multi-callable. `credentials`: of the channel, or None. Takes references of its own.
PyObject* make_unary_call(UnaryTarget target, PyObject* path, PyTypeObject* request_class, PyTypeObject* reply_class,
                          PyObject* credentials);

}  // namespace mrpc::bind
