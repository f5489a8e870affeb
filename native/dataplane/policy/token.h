// JSON web tokens (RFC 7519), signed with EdDSA (Ed25519) or RS256, against a key set (RFC 7517). Signatures by libcrypto.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mrpc::dataplane {

struct TokenClaims {
  bool valid = false;
  std::string problem;  // when not valid: what a caller may read
  std::string subject, issuer;
  int64_t expires_unix_s = 0;
};

// A key set and the tokens that it has verified: a signature costs 30 to 150 us, a second look at the same token a lookup (by the SHA-256 of
// the whole token, bounded; exp, nbf, audience and issuer are checked each time). One instance a shard; not for several threads.
class TokenVerifier {
 public:
  // Errors: kInvalidArgument with what is wrong. Keys of other types or uses are passed over; a set without a usable key is an error.
  static Result<std::unique_ptr<TokenVerifier>> from_jwks(std::string_view json);
  ~TokenVerifier();

  // `text`: the token, with or without "Bearer ". `algorithm` is what the key says, never what the token claims alone; "none" is refused.
  // Valid until the next call.
  const TokenClaims& verify(std::string_view text, std::string_view audience, std::string_view issuer, uint64_t leeway_ns, uint64_t unix_ns);

 private:
  TokenVerifier();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mrpc::dataplane
