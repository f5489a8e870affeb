// Edges: who calls what, offered by whom. Counters and chains hang here; one shard owns each of them.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>

#include "base/status_code.h"
#include "dataplane/chain.h"
#include "dataplane/histogram.h"

namespace mrpc::dataplane {

struct EdgeStats {
  uint64_t calls = 0;      // begun
  uint64_t in_flight = 0;
  uint64_t denied = 0;     // by a policy
  uint64_t request_bytes = 0, reply_bytes = 0;
  std::array<uint64_t, kStatusCodeMax + 1> codes{};
  Histogram latency;       // from intake to the status handed over
};

// All calls of one client app to one method, whichever server app takes them. Policies judge before a server is chosen.
struct Route {
  std::string client, service, method, path;
  // For new calls, by fingerprint of the server's schema and where this daemon stands.
  std::map<std::pair<uint64_t, Place>, std::shared_ptr<Chain>> chains;
  uint64_t parked_bytes = 0;     // private memory held by requests that wait for a receiver
  uint32_t parked_calls = 0;
  std::map<std::string, std::unique_ptr<EdgeStats>> servers;  // by server app; "" for calls that reached none

  EdgeStats& edge(const std::string& server) {
    auto& slot = servers[server];
    if (!slot) slot = std::make_unique<EdgeStats>();
    return *slot;
  }
};

// Private memory that waits for a receiver is charged to the edge that sent it; this is what dropping the charge gives back.
struct ParkingCharge {
  Route* route = nullptr;
  uint64_t bytes = 0;
  void operator()(void*) const {
    route->parked_calls -= 1;
    route->parked_bytes -= bytes;
  }
};

inline std::shared_ptr<void> charge(Route& route, uint64_t bytes) {
  route.parked_calls += 1;
  route.parked_bytes += bytes;
  return {nullptr, ParkingCharge{&route, bytes}};
}

}  // namespace mrpc::dataplane
