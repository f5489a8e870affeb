// The fingerprint of a service: the first 8 bytes, little-endian, of SHA-256 over a canonical text of it. A digest that cannot
// be forged, because a peer that could make another schema with the server's fingerprint would have its messages
// read with the wrong offsets.
//
// Integers are u64 little-endian, strings are a length and bytes, a digest is 32 bytes. Digests are of
//   enum      "enum", full name, closed, count of values, {name, number} as declared
//   message   "message", full name, map_entry, count of oneofs, their names, count of fields, by number:
//             {name, json_name, number, type, cardinality, has_presence, packed, validate_utf8, oneof + 1, default_bits,
//              default_text, full name of the message or "", digest of the enum or 32 zeros}
//   service   "mrpc service", kLayoutVersion, full name, count of methods, by name: {name, client_streaming, server_streaming,
//             request's name, reply's name}, count of messages reached, by full name: their digests
#pragma once

#include <unordered_map>

#include "message/layout.h"
#include "message/sha256.h"

namespace mrpc::message {

class Fingerprinter {
 public:
  // 0 when the services of this schema together reach more messages and fields than kFingerprintWorkMax.
  uint64_t service(const ServiceLayout& service);

 private:
  const Sha256& message(const MessageLayout& layout);
  const Sha256& enumeration(const EnumLayout& layout);
  std::vector<const MessageLayout*> reach(const ServiceLayout& service);  // by full name

  // By address, which is not the sender's to choose.
  std::unordered_map<const void*, Sha256> digests_;
  uint64_t work_ = 0;
};

constexpr uint64_t kFingerprintWorkMax = 1u << 20;

}  // namespace mrpc::message
