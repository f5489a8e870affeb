#include "shm/control.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mrpc::shm {
namespace {

constexpr size_t kFdsMax = 64;

bool wait_writable(int socket, int timeout_ms) {
  pollfd entry{socket, POLLOUT, 0};
  return ::poll(&entry, 1, timeout_ms) == 1 && (entry.revents & POLLOUT) != 0;
}

Status send_packet(int socket, const abi::ControlHeader& header, std::span<const std::byte> body,
                   std::span<const int> fds, int timeout_ms) {
  iovec parts[2] = {{const_cast<abi::ControlHeader*>(&header), sizeof header},
                    {const_cast<std::byte*>(body.data()), body.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = body.empty() ? 1 : 2;
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsMax * sizeof(int))] = {};
  if (!fds.empty()) {
    MRPC_ASSERT(fds.size() <= kFdsMax);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN || !wait_writable(socket, timeout_ms))
      return unavailable(std::string("the other side of the control socket is gone: ") + std::strerror(errno));
  }
  return ok_status();
}

void collect_fds(msghdr& message, std::vector<Fd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Result<std::optional<ControlMessage>> ControlAssembler::feed(std::span<const std::byte> packet, std::vector<Fd> fds) {
  abi::ControlHeader header;
  if (packet.size() < sizeof header) return invalid_argument("control packet shorter than its header");
  std::memcpy(&header, packet.data(), sizeof header);
  const auto body = packet.subspan(sizeof header);
  if (header.magic != abi::kMagic) return invalid_argument("not an mRPC control packet");
  if (header.length != body.size()) return invalid_argument("control packet of a wrong length");
  if ((header.flags & ~abi::kFragmentMore) != 0) return invalid_argument("control packet with unknown flags");
  const auto kind = static_cast<abi::ControlKind>(header.kind);
  if (open_ && (partial_.kind != kind || partial_.request_id != header.request_id))
    return invalid_argument("control fragments of two messages are mixed");
  if (partial_.body.size() + body.size() > abi::kControlMessageMax)
    return resource_exhausted("control message over its limit");
  partial_.kind = kind;
  partial_.request_id = header.request_id;
  partial_.body.insert(partial_.body.end(), body.begin(), body.end());
  std::move(fds.begin(), fds.end(), std::back_inserter(partial_.fds));
  open_ = (header.flags & abi::kFragmentMore) != 0;
  if (open_) return std::optional<ControlMessage>{};
  return std::optional<ControlMessage>(std::exchange(partial_, {}));
}

Status send_control(int socket, abi::ControlKind kind, uint32_t request_id, std::span<const std::byte> body,
                    std::span<const int> fds, int timeout_ms) {
  for (;;) {
    const size_t now = std::min(body.size(), abi::kControlBodyMax);
    const bool last = now == body.size();
    const abi::ControlHeader header{abi::kMagic, static_cast<uint16_t>(kind),
                                    static_cast<uint16_t>(last ? 0 : abi::kFragmentMore), static_cast<uint32_t>(now), request_id};
    const Status sent = send_packet(socket, header, body.first(now), last ? fds : std::span<const int>{}, timeout_ms);
    if (!sent || last) return sent;
    body = body.subspan(now);
  }
}

Status receive_packet(int socket, bool allow_fds, std::vector<std::byte>& packet, std::vector<Fd>& fds, bool* got) {
  *got = false;
  packet.resize(abi::kControlPacketMax);
  iovec part{packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kFdsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t bytes;
  do {
    bytes = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return ok_status();
  if (bytes <= 0) return unavailable("its process has closed the connection");
  collect_fds(message, fds);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return invalid_argument("control packet over its limit");
  if (!allow_fds && !fds.empty()) {
    fds.clear();
    return invalid_argument("an application may not send descriptors");
  }
  packet.resize(static_cast<size_t>(bytes));
  *got = true;
  return ok_status();
}

}  // namespace mrpc::shm
