#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "transport/tcp_rig.h"
#include "transport/transport_conformance.h"

namespace mrpc::transport::testing {

using V4 = TcpRig<false>;
using V6 = TcpRig<true>;
MRPC_TRANSPORT_CONFORMANCE(V4, V6);

}  // namespace mrpc::transport::testing
