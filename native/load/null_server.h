// Servers that do as little as the protocol allows, so that what a run against them costs is the generator's own: the self-test
// of `mrpc load`. One thread; until SIGTERM or SIGINT.
#pragma once

#include "load/options.h"

namespace mrpc::load {

// HTTP/1.1 and, when built with libnghttp2, unary gRPC on one loopback port (0: any). Prints "null server on port N". For a request of
// either kind the reply is empty and OK.
Status serve_null_tcp(uint16_t port);

// Offers `service` (full name, of the schema in `schema_file`) on the mesh; replies are empty messages. Prints "null server on NAME".
Status serve_null_mrpc(const std::string& service, const std::string& schema_file);

}  // namespace mrpc::load
