// Control packets on app.sock (abi.h, rule 2): fragments out, whole messages in. Either side's bytes are hostile to the other.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shm/abi.h"

namespace mrpc::shm {

struct ControlMessage {
  abi::ControlKind kind{};
  uint32_t request_id = 0;
  std::vector<std::byte> body;
  std::vector<Fd> fds;

  // The fixed head of the body. Errors: kInvalidArgument when the body is too short.
  template <typename T>
  Result<T> head() const {
    if (body.size() < sizeof(T)) return invalid_argument("control message too short");
    T value;
    std::memcpy(&value, body.data(), sizeof value);
    return value;
  }
  std::span<const std::byte> tail(size_t head_bytes) const { return std::span(body).subspan(head_bytes); }
};

// Puts fragments together again. One for each direction of each socket.
class ControlAssembler {
 public:
  // Takes one packet; returns the message that it completes, if it does. Errors are final for the socket.
  Result<std::optional<ControlMessage>> feed(std::span<const std::byte> packet, std::vector<Fd> fds);

  // What has come of a message so far; `open()`: more is to come.
  const ControlMessage& partial() const { return partial_; }
  bool open() const { return open_; }
  void restore(ControlMessage partial) {
    partial_ = std::move(partial);
    open_ = true;
  }

 private:
  ControlMessage partial_;
  bool open_ = false;
};

// Sends one message, as fragments when it is long; descriptors go with the last one. Blocks at most `timeout_ms` a
// fragment on a full socket. Errors: kUnavailable when the other side is gone or does not read.
Status send_control(int socket, abi::ControlKind kind, uint32_t request_id, std::span<const std::byte> body,
                    std::span<const int> fds = {}, int timeout_ms = 1000);

// One packet, if one is there. `*got` is false when there is none. Errors: kUnavailable when the other side is gone.
// `allow_fds` false: descriptors that come along are closed and the packet is an error.
Status receive_packet(int socket, bool allow_fds, std::vector<std::byte>& packet, std::vector<Fd>& fds, bool* got);

template <typename T>
void append_pod(std::vector<std::byte>& out, const T& value) {
  const auto* at = reinterpret_cast<const std::byte*>(&value);
  out.insert(out.end(), at, at + sizeof value);
}

}  // namespace mrpc::shm
