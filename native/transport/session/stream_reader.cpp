#include "transport/session/stream_reader.h"

#include <algorithm>
#include <cstring>

namespace mrpc::transport {

void StreamReader::attach(Session* session) {
  if (session_ != nullptr) session_->in.abort_segment();
  session_ = session;
}

bool StreamReader::restore(std::span<const std::byte> unread) {
  if (unread.size() > buffer_.size()) return false;
  std::copy(unread.begin(), unread.end(), buffer_.begin());
  end_ = unread.size();
  paused_ = !unread.empty();  // it may hold whole frames
  return true;
}

int StreamReader::room(iovec parts[2]) {
  int count = 0;
  direct_bytes_ = 0;
  if (session_ != nullptr && begin_ == end_) {
    const std::span<std::byte> body = session_->in.room();
    direct_bytes_ = body.size();
    if (direct_bytes_ > 0) parts[count++] = {body.data(), body.size()};
  }
  parts[count++] = {buffer_.data() + end_, buffer_.size() - end_};
  return count;
}

Status StreamReader::advance(size_t bytes) {
  const size_t direct = std::min(bytes, direct_bytes_);
  if (direct > 0) session_->in.filled(direct);
  end_ += bytes - direct;
  MRPC_ASSERT(end_ <= buffer_.size());
  paused_ = false;
  unpacked_bytes_ = 0;
  while (!stopped_) {
    if (unpacked_bytes_ >= kChunkBytes) {
      paused_ = true;
      break;
    }
    const auto step_result = step();
    if (!step_result) return step_result.error();
    if (*step_result == Step::kNeedMore) break;
  }
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  return ok_status();
}

void StreamReader::copy_body() {
  while (begin_ < end_) {
    const std::span<std::byte> into = session_->in.room();
    if (into.empty()) return;
    const size_t bytes = std::min(into.size(), end_ - begin_);
    std::memcpy(into.data(), buffer_.data() + begin_, bytes);
    session_->in.filled(bytes);
    begin_ += bytes;
  }
}

Result<StreamReader::Step> StreamReader::step() {
  if (session_ != nullptr && session_->in.in_segment()) {
    copy_body();
    if (!session_->in.room().empty()) return Step::kNeedMore;
    if (auto frame = session_->in.finish_segment()) handler_.on_message(std::move(*frame));
    return Step::kOn;
  }
  if (unread().size() < sizeof(WireHeader)) return Step::kNeedMore;
  const auto parsed = parse_header(unread());
  if (!parsed) return parsed.error();
  const WireHeader& header = *parsed;
  if (session_ != nullptr && !session_->out.acknowledge(header.ack, header.consumed)) {
    return invalid_argument("the peer acknowledges what was never sent");
  }
  if (static_cast<WireType>(header.type) == WireType::kData) return begin_data(header);
  if (unread().size() < sizeof header + header.payload_bytes) return Step::kNeedMore;
  const auto payload = unread().subspan(sizeof header, header.payload_bytes);
  begin_ += sizeof header + header.payload_bytes;
  stopped_ = !handler_.on_control(header, payload);
  return Step::kOn;
}

Result<StreamReader::Step> StreamReader::begin_data(const WireHeader& header) {
  if (session_ == nullptr) return invalid_argument("data before a session");
  if ((header.flags & kCompressed) != 0) return take_compressed(header);
  const auto start = unread().subspan(sizeof header);
  const auto prefix_bytes = Assembler::prefix_bytes(header, start);
  if (!prefix_bytes) return prefix_bytes.error();
  if (*prefix_bytes > header.payload_bytes) return invalid_argument("a message is too short");
  if (*prefix_bytes > start.size()) return Step::kNeedMore;
  const auto verdict = session_->in.begin(header, start.first(*prefix_bytes));
  if (!verdict) return verdict.error();
  if (*verdict != Assembler::Verdict::kTake) return invalid_argument("a segment out of sequence");
  begin_ += sizeof header + *prefix_bytes;
  return Step::kOn;
}

Result<StreamReader::Step> StreamReader::take_compressed(WireHeader header) {
  if (!takes_compressed_) return invalid_argument("a compressed segment, which was not agreed upon");
  const auto come = unread().subspan(sizeof header);
  if (come.size() < header.payload_bytes) return Step::kNeedMore;
  const auto raw = decompressor_.decompress(come.first(header.payload_bytes));
  if (!raw) return raw.error();
  begin_ += sizeof header + header.payload_bytes;
  header.flags &= static_cast<uint8_t>(~kCompressed);
  header.payload_bytes = static_cast<uint32_t>(raw->size());
  unpacked_bytes_ += raw->size();
  auto received = session_->in.receive(header, *raw);
  if (!received) return received.error();
  if (received->verdict != Assembler::Verdict::kTake) return invalid_argument("a segment out of sequence");
  if (received->frame) handler_.on_message(std::move(*received->frame));
  return Step::kOn;
}

}  // namespace mrpc::transport
