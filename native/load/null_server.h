// A server that does as little as its protocols allow, so that what a run against them costs is the generator's own: the self-test
// of `mrpc load`. One thread; until SIGTERM or SIGINT.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace mrpc::load {

// HTTP/1.1 and, when built with libnghttp2, unary gRPC on one loopback port (0: any). Prints "null server on port N". For a request of
// either kind the reply is empty and OK.
Status serve_null_tcp(uint16_t port);

}  // namespace mrpc::load
