#include "transport/session/frame.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace mrpc::transport {
namespace {

uint32_t check_of(const WireHeader& header) {
  uint64_t words[5];
  std::memcpy(words, &header, sizeof words);
  uint64_t sum = header.reserved1;
  for (const uint64_t word : words) {
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
    sum ^= sum >> 32;
  }
  return static_cast<uint32_t>(sum);
}

uint32_t payload_bytes_max(WireType type) {
  switch (type) {
    case WireType::kHello:
    case WireType::kHelloAck: return sizeof(WireHello) + kNodeNameBytesMax;
    case WireType::kData: return kChunkBytes;
    case WireType::kGoaway: return sizeof(WireGoaway) + kGoawayTextBytesMax;
    case WireType::kAck:
    case WireType::kPing:
    case WireType::kPong: return 0;
  }
  return 0;
}

template <typename Record>
std::vector<std::byte> encode(WireType type, const Record& record, std::string_view text) {
  WireHeader header{.type = static_cast<uint8_t>(type)};
  header.payload_bytes = static_cast<uint32_t>(sizeof record + text.size());
  seal(header);
  std::vector<std::byte> out(sizeof header + header.payload_bytes);
  std::memcpy(out.data(), &header, sizeof header);
  std::memcpy(out.data() + sizeof header, &record, sizeof record);
  std::memcpy(out.data() + sizeof header + sizeof record, text.data(), text.size());
  return out;
}

}  // namespace

void seal(WireHeader& header) { header.check = check_of(header); }

WireHeader plain_header(WireType type, uint64_t ack, uint64_t consumed) {
  WireHeader header{.type = static_cast<uint8_t>(type)};
  header.ack = ack;
  header.consumed = consumed;
  seal(header);
  return header;
}

Result<WireHeader> parse_header(std::span<const std::byte> bytes) {
  WireHeader header;
  MRPC_ASSERT(bytes.size() >= sizeof header);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kWireMagic) return invalid_argument("not mRPC's wire protocol");
  if (header.check != check_of(header)) return invalid_argument("damaged frame header");
  if (header.type < static_cast<uint8_t>(WireType::kHello) || header.type > static_cast<uint8_t>(WireType::kGoaway)) {
    return invalid_argument("unknown frame type");
  }
  const auto type = static_cast<WireType>(header.type);
  if (header.payload_bytes > payload_bytes_max(type)) return invalid_argument("frame longer than its type allows");
  const bool data = type == WireType::kData;
  const bool reserved_used = header.reserved0 != 0 || header.reserved1 != 0 || (header.flags & ~(kFirst | kLast | kCompressed)) != 0;
  if (reserved_used || (!data && (header.flags != 0 || header.message_id != 0 || header.sequence != 0))) {
    return invalid_argument("reserved fields of a frame header are not zero");
  }
  return header;
}

std::vector<std::byte> encode_hello(WireType type, WireHello hello, const std::string& node_name) {
  const std::string_view name = std::string_view(node_name).substr(0, kNodeNameBytesMax);
  hello.node_bytes = static_cast<uint16_t>(name.size());
  return encode(type, hello, name);
}

Result<ParsedHello> parse_hello(const WireHeader& header, std::span<const std::byte> payload) {
  ParsedHello parsed;
  WireHello& hello = parsed.hello;
  if (payload.size() < sizeof hello) return invalid_argument("hello is too short");
  std::memcpy(&hello, payload.data(), sizeof hello);
  if (payload.size() != sizeof hello + hello.node_bytes) return invalid_argument("hello's length does not fit its node name");
  const bool acknowledged = static_cast<WireType>(header.type) == WireType::kHelloAck;
  const uint16_t low = acknowledged ? hello.version : hello.version_min;
  const uint16_t high = acknowledged ? hello.version : hello.version_max;
  if (low > kWireVersion || high < kWireVersionOldest || low > high) {
    return Error{StatusCode::kUnimplemented, "no common wire version: this node speaks " + std::to_string(kWireVersionOldest) + " to " +
                                                 std::to_string(kWireVersion) + "; upgrade the older of the two"};
  }
  if (hello.window_bytes == 0 || hello.message_bytes_max == 0) return invalid_argument("hello grants no room to send");
  if (acknowledged && hello.session.none()) return invalid_argument("hello is answered without a session");
  parsed.node_name = printable({reinterpret_cast<const char*>(payload.data() + sizeof hello), hello.node_bytes});
  return parsed;
}

std::vector<std::byte> encode_goaway(const Error& error) {
  const WireGoaway record{.status_code = static_cast<uint32_t>(error.code)};
  return encode(WireType::kGoaway, record, std::string_view(error.text).substr(0, kGoawayTextBytesMax));
}

Error parse_goaway(std::span<const std::byte> payload) {
  WireGoaway record;
  if (payload.size() < sizeof record) return unavailable("the peer closed the link without a reason");
  std::memcpy(&record, payload.data(), sizeof record);
  const char* text = reinterpret_cast<const char*>(payload.data() + sizeof record);
  const auto code = record.status_code <= kStatusCodeMax ? static_cast<StatusCode>(record.status_code) : StatusCode::kUnknown;
  return {code, printable({text, payload.size() - sizeof record})};
}

}  // namespace mrpc::transport
