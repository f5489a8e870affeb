// A TCP transport as plain values and descriptors, for a successor process.
//
// A connection that is up goes over as it stands: its socket, the bytes that were read and not yet taken, the segment that is
// half read, the bytes of a batch that is half written. TCP's byte streams then go on at exactly the next byte in both
// directions, and the peer notices nothing. Anything else (a dial or a hello under way, an accepted socket that has said no hello, a link
// that is closing) stays behind; sessions do not depend on it: a dialled one is resumed by dialling, an accepted one by its peer.
#pragma once

#include <string>
#include <vector>

#include "transport/session/session_state.h"
#include "transport/transport.h"

namespace mrpc::transport {

struct TcpConnectionState {
  int fd = -1;  // borrowed; -1: no connection that is up
  std::vector<std::byte> unread, unwritten;
  uint64_t features = 0;  // of both sides' hellos: what the peer may send, and be sent
};

struct TcpLinkState {
  LinkId id = 0;
  bool dialed = false, up = false, failure_told = false;
  std::string address;  // dialled: the peer's
  uint64_t connections_made = 0;
  uint64_t give_up_at_ns = UINT64_MAX;
  bool has_session = false;
  SessionId session;
  SendState send;
  ReceiveState receive;
  TcpConnectionState connection;
};

struct TcpState {
  uint64_t next_id = 1;
  std::vector<int> listeners;  // borrowed
  std::vector<TcpLinkState> links;
};

}  // namespace mrpc::transport
