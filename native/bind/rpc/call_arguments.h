// The arguments of a multi-callable, by gRPC's names and order.
#pragma once

#include <cstdint>

#include "bind/rpc/python.h"

namespace mrpc::bind {

struct CallArguments {
  // Borrowed; null when not given.
  PyObject* request = nullptr;
  PyObject* timeout = nullptr;
  PyObject* metadata = nullptr;
  PyObject* credentials = nullptr;
  PyObject* wait_for_ready = nullptr;
  PyObject* compression = nullptr;  // accepted: nothing on a host is serialised, so nothing is compressed

  // From vectorcall's arguments. False with TypeError set.
  bool parse(PyObject* const* args, size_t count, PyObject* names);

  // `timeout` as an absolute CLOCK_MONOTONIC time in nanoseconds, 0 when there is none. False with TypeError set.
  bool deadline(uint64_t& deadline_ns) const;
};

bool init_call_arguments();  // interns the names; false with an exception set

// Seconds from now as an absolute time; never 0, so that a time that has run out still is a deadline.
uint64_t deadline_after(double seconds);

}  // namespace mrpc::bind
