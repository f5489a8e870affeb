#include "stub/control_link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "stub/clock.h"

namespace mrpc::stub {
namespace {

constexpr int kAnswerTimeoutMs = 30'000;

Error no_daemon(const std::string& path) {
  return unavailable("no mrpcd at " + path + "; start it with 'mrpcd', then 'mrpc check'");
}

Error connect_error(const std::string& path, int error) {
  if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR) return no_daemon(path);
  if (error == EACCES || error == EPERM)
    return {StatusCode::kPermissionDenied, "no permission to use mrpcd at " + path + "; 'mrpc check' says who may"};
  return unavailable("cannot connect to mrpcd at " + path + ": " + std::strerror(error) + "; try 'mrpc check'");
}

}  // namespace

Error control_error(const shm::ControlMessage& message) {
  const auto head = message.head<abi::ControlError>();
  if (!head || head->status_code == 0 || head->status_code > kStatusCodeMax) return internal_error("mrpcd sent a malformed error");
  const auto text = message.tail(sizeof(abi::ControlError));
  return {static_cast<StatusCode>(head->status_code), std::string(reinterpret_cast<const char*>(text.data()), text.size())};
}

Result<Fd> ControlLink::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return invalid_argument("socket path too long: " + path + "; set MRPC_RUNTIME_DIR to a shorter one");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket) return resource_exhausted(std::string("cannot make a socket: ") + std::strerror(errno));
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    if (errno != EINTR) return connect_error(path, errno);
  return socket;
}

Result<shm::ControlMessage> ControlLink::request(abi::ControlKind kind, std::span<const std::byte> body, abi::ControlKind answer) {
  std::lock_guard one_request(request_mutex_);
  const uint32_t id = ++last_request_id_;
  // Before the request goes: a thread in read_notices() would take the answer for a notice.
  std::lock_guard reading(receive_mutex_);
  {
    std::lock_guard lock(send_mutex_);
    if (auto sent = shm::send_control(socket_.get(), kind, id, body); !sent) return sent.error();
  }
  auto message = await_answer(id);
  if (!message) return message.error();
  if (!*message) return unavailable("mrpcd does not answer; 'mrpc check' tells more");
  if ((*message)->kind == abi::ControlKind::kError) return control_error(**message);
  if ((*message)->kind != answer) return internal_error("mrpcd gave an answer of another kind");
  return std::move(**message);
}

Result<std::optional<shm::ControlMessage>> ControlLink::await_answer(uint32_t request_id) {
  const uint64_t give_up_ns = now_ns() + kAnswerTimeoutMs * 1'000'000ull;
  for (uint64_t now = now_ns(); now < give_up_ns; now = now_ns()) {
    auto message = receive(static_cast<int>((give_up_ns - now) / 1'000'000 + 1));
    if (!message) return message.error();
    if (!*message) continue;
    if ((*message)->request_id == request_id) return message;
    if ((*message)->kind == abi::ControlKind::kError && (*message)->request_id == 0) return control_error(**message);
    std::lock_guard lock(notices_mutex_);
    notices_.push_back(std::move(**message));
  }
  return std::optional<shm::ControlMessage>{};
}

Status ControlLink::send(abi::ControlKind kind, std::span<const std::byte> body) {
  std::lock_guard lock(send_mutex_);
  return shm::send_control(socket_.get(), kind, 0, body);
}

Result<std::optional<shm::ControlMessage>> ControlLink::receive(int timeout_ms) {
  if (timeout_ms > 0) {
    pollfd entry{socket_.get(), POLLIN, 0};
    if (::poll(&entry, 1, timeout_ms) <= 0) return std::optional<shm::ControlMessage>{};
  }
  std::vector<std::byte> packet;
  std::vector<Fd> fds;
  bool got = false;
  if (auto status = shm::receive_packet(socket_.get(), true, packet, fds, &got); !status) {
    if (status.error().code != StatusCode::kUnavailable) return status.error();
    return unavailable("mrpcd has gone away; the next call attaches anew");
  }
  if (!got) return std::optional<shm::ControlMessage>{};
  return assembler_.feed(packet, std::move(fds));
}

Status ControlLink::read_notices() {
  // Whoever waits for an answer reads notices, too.
  std::unique_lock reading(receive_mutex_, std::try_to_lock);
  if (!reading) return ok_status();
  for (;;) {
    pollfd entry{socket_.get(), POLLIN, 0};
    if (::poll(&entry, 1, 0) <= 0) return ok_status();
    auto message = receive(0);
    if (!message) return message.error();
    if (!*message) continue;  // a fragment
    if ((*message)->kind == abi::ControlKind::kError && (*message)->request_id == 0) return control_error(**message);
    std::lock_guard lock(notices_mutex_);
    notices_.push_back(std::move(**message));
  }
}

std::vector<shm::ControlMessage> ControlLink::take_notices() {
  std::lock_guard lock(notices_mutex_);
  return std::exchange(notices_, {});
}

}  // namespace mrpc::stub
