// The application's end of app.sock: requests, one at a time, and notices that arrive between and during them.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "shm/control.h"

namespace mrpc::stub {

class ControlLink {
 public:
  // Errors: kUnavailable when nobody listens, kPermissionDenied. Their texts say what to do next.
  static Result<Fd> connect(const std::string& path);

  explicit ControlLink(Fd socket) : socket_(std::move(socket)) {}

  // Sends a request and waits for its answer, of kind `answer`. Errors: the daemon's own; kUnavailable when it is gone or silent.
  // Notices read on the way wait in take_notices().
  Result<shm::ControlMessage> request(abi::ControlKind kind, std::span<const std::byte> body, abi::ControlKind answer);
  Status send(abi::ControlKind kind, std::span<const std::byte> body);

  // Reads what is there, without waiting. An error means that the attachment has ended, and why.
  Status read_notices();
  std::vector<shm::ControlMessage> take_notices();
  int fd() const { return socket_.get(); }

 private:
  // Reads one message; waits for it up to `timeout_ms`. An empty optional: nothing came.
  Result<std::optional<shm::ControlMessage>> receive(int timeout_ms);
  Result<std::optional<shm::ControlMessage>> await_answer(uint32_t request_id);  // under receive_mutex_

  Fd socket_;
  std::mutex send_mutex_, receive_mutex_, notices_mutex_;
  std::mutex request_mutex_;
  uint32_t last_request_id_ = 0;
  shm::ControlAssembler assembler_;  // receive_mutex_
  std::vector<shm::ControlMessage> notices_;
};

// The error that a kError message carries.
Error control_error(const shm::ControlMessage& message);

}  // namespace mrpc::stub
