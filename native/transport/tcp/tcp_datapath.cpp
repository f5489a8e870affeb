#include "transport/tcp/tcp_datapath.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace mrpc::transport {

OutBatch::OutBatch() { headers_.reserve(kHeadersMax); }

void OutBatch::add_bytes(std::vector<std::byte>&& bytes) {
  bytes_ += bytes.size();
  controls_.push_back(std::move(bytes));
  pieces_.push_back({controls_.back().data(), controls_.back().size()});
}

void OutBatch::add_header(const WireHeader& header) {
  MRPC_ASSERT(headers_.size() < kHeadersMax);
  headers_.push_back(header);
  bytes_ += sizeof header;
  pieces_.push_back({&headers_.back(), sizeof header});
}

// The pieces from `first_piece` on are the segment of the last header.
void OutBatch::compress_last(Compressor& compressor, uint8_t level, size_t first_piece) {
  tried_bytes_ += headers_.back().payload_bytes;
  controls_.push_back(compressor.compress(std::span(pieces_).subspan(first_piece), level));
  send_packed(controls_.back(), first_piece);
}

// In place of the pieces from `first_piece` on. Empty: they stay.
void OutBatch::send_packed(const std::vector<std::byte>& packed, size_t first_piece) {
  if (packed.empty()) return;
  WireHeader& header = headers_.back();
  saved_bytes_ += header.payload_bytes - packed.size();
  header.flags |= kCompressed;
  header.payload_bytes = static_cast<uint32_t>(packed.size());
  pieces_.resize(first_piece);
  pieces_.push_back({const_cast<std::byte*>(packed.data()), packed.size()});
}

bool OutBatch::add_segment(Session& session, Compressor* compressor) {
  MRPC_ASSERT(headers_.size() < kHeadersMax);
  WireHeader& header = headers_.emplace_back();
  pieces_.push_back({&header, sizeof header});
  const size_t first_piece = pieces_.size();
  if (!session.out.next(header, pieces_)) {
    pieces_.pop_back();
    headers_.pop_back();
    return false;
  }
  if (const uint8_t level = session.out.compression(); level != 0 && compressor != nullptr) {
    if (const auto* packed = session.out.packed()) send_packed(*packed, first_piece);
    else compress_last(*compressor, level, first_piece);
  }
  session.stamp(header);
  bytes_ += sizeof header + header.payload_bytes;
  return true;
}

Io OutBatch::write(int fd, uint64_t& written_bytes, const WriteFault& fault) {
  while (first_ < pieces_.size()) {
    msghdr message{};
    message.msg_iov = &pieces_[first_];
    message.msg_iovlen = std::min<size_t>(pieces_.size() - first_, IOV_MAX);
    iovec cut_piece{};
    if (fault) {  // one piece at a time, so that a cut can fall on any byte
      cut_piece = pieces_[first_];
      cut_piece.iov_len = fault(cut_piece.iov_len);
      if (cut_piece.iov_len == 0) return Io::kLost;
      message.msg_iov = &cut_piece;
      message.msg_iovlen = 1;
    }
    const ssize_t sent = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Io::kBlocked : Io::kLost;
    written_bytes += static_cast<uint64_t>(sent);
    auto left = static_cast<size_t>(sent);
    while (first_ < pieces_.size() && left >= pieces_[first_].iov_len) left -= pieces_[first_++].iov_len;
    if (left > 0) {
      pieces_[first_].iov_base = static_cast<char*>(pieces_[first_].iov_base) + left;
      pieces_[first_].iov_len -= left;
    }
  }
  clear();
  return Io::kDone;
}

std::vector<std::byte> OutBatch::unwritten() const {
  std::vector<std::byte> bytes;
  for (size_t i = first_; i < pieces_.size(); ++i) {
    const auto* from = static_cast<const std::byte*>(pieces_[i].iov_base);
    bytes.insert(bytes.end(), from, from + pieces_[i].iov_len);
  }
  return bytes;
}

void OutBatch::clear() {
  headers_.clear();
  controls_.clear();
  pieces_.clear();
  first_ = 0;
  bytes_ = tried_bytes_ = 0;
}

Result<Io> read_once(int fd, StreamReader& reader, uint64_t& read_bytes) {
  iovec parts[2];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<size_t>(reader.room(parts));
  size_t room_bytes = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) room_bytes += parts[i].iov_len;
  ssize_t received = 0;
  do {
    received = ::recvmsg(fd, &message, MSG_DONTWAIT);
  } while (received < 0 && errno == EINTR);
  if (received == 0) return Io::kLost;
  if (received < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Io::kBlocked : Io::kLost;
  read_bytes += static_cast<uint64_t>(received);
  if (Status parsed = reader.advance(static_cast<size_t>(received)); !parsed) return parsed.error();
  return static_cast<size_t>(received) < room_bytes ? Io::kBlocked : Io::kDone;
}

}  // namespace mrpc::transport
