// 't' and any bytes as a token, twice, so that the second look is by memory; 'k' and any bytes as a key set.
#include "base/assert.h"
#include "dataplane/policy/token.h"
#include "dataplane/tokens.h"

using mrpc::dataplane::TokenClaims;
using mrpc::dataplane::TokenVerifier;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::unique_ptr<TokenVerifier> verifier = TokenVerifier::from_jwks(mrpc::dataplane::testing::kKeySet).value();
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] == 'k') {
    auto made = TokenVerifier::from_jwks(text);
    if (made) (*made)->verify(mrpc::dataplane::testing::kEdToken, "", "", 0, 0);
    return 0;
  }
  const TokenClaims first = verifier->verify(text, "hotel", "", 0, 1'800'000'000'000'000'000);
  const TokenClaims& second = verifier->verify(text, "hotel", "", 0, 1'800'000'000'000'000'000);
  MRPC_ASSERT(first.valid == first.problem.empty() && first.valid == second.valid);
  MRPC_ASSERT(first.problem == second.problem && first.subject == second.subject);
  return 0;
}
