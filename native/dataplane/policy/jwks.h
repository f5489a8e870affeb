// A JSON web key set (RFC 7517), as operators write it into a policy's configuration: the public keys that tokens are checked against.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mrpc::dataplane {

constexpr size_t kKeySetBytesMax = 256u << 10;
constexpr size_t kKeysMax = 64;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

struct WebKey {
  std::string id;                 // "": the set gives it none
  std::string_view algorithm;     // "EdDSA" or "RS256": the only one that this key verifies
  std::unique_ptr<EVP_PKEY, FreeKey> key;

  // Whether `signature` is this key's over `signed_text`.
  bool verifies(std::string_view signed_text, std::string_view signature) const;
};

// Ed25519 and RSA keys (2048 to 8192 bits) for signatures; others are passed over. Errors: kInvalidArgument for a set that is no set, a key that is
// broken or private, and a set without a usable key.
Result<std::vector<WebKey>> parse_key_set(std::string_view json);

}  // namespace mrpc::dataplane
