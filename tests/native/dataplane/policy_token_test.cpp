// Tokens and key sets. What is valid was made by another implementation (make_tokens.py).
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "dataplane/policy/base64url.h"
#include "dataplane/policy/jwks.h"
#include "dataplane/policy/token.h"
#include "dataplane/tokens.h"

namespace mrpc::dataplane::testing {
namespace {

constexpr uint64_t kSecond = 1'000'000'000, kNow = 1'800'000'000 * kSecond, kExpiry = 2'000'000'000 * kSecond, kNotBefore = 1'700'000'000 * kSecond;

struct Rig {
  std::unique_ptr<TokenVerifier> verifier = TokenVerifier::from_jwks(kKeySet).value();

  // "" when it is valid.
  std::string problem(std::string_view token, std::string_view audience = "hotel", std::string_view issuer = "https://issuer.test",
                      uint64_t leeway_ns = 0, uint64_t now_ns = kNow) {
    const TokenClaims& claims = verifier->verify(token, audience, issuer, leeway_ns, now_ns);
    CHECK(claims.valid == claims.problem.empty());
    if (!claims.valid) CHECK((claims.subject.empty() && claims.issuer.empty() && claims.expires_unix_s == 0));
    return claims.problem;
  }
};

bool has(const std::string& text, const char* part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("tokens of both algorithms are verified, and remembered with what they say") {
  Rig rig;
  for (const char* token : {kEdToken, kRsaToken, kNoKidToken}) {
    for (int look = 0; look < 2; ++look) {
      const TokenClaims& claims = rig.verifier->verify(token, "shop", "https://issuer.test", 0, kNow);
      CHECK(claims.problem == "");
      CHECK(claims.valid);
      CHECK(claims.subject == "ann");
      CHECK(claims.issuer == "https://issuer.test");
      CHECK(claims.expires_unix_s == 2'000'000'000);
    }
  }
  CHECK(rig.problem("Bearer " + std::string(kEdToken)) == "");
  CHECK(rig.problem("bearer   " + std::string(kEdToken)) == "");
  CHECK(rig.problem("Basic " + std::string(kEdToken)) != "");
}

TEST_CASE("times, audience and issuer are judged at each look") {
  Rig rig;
  for (int look = 0; look < 2; ++look) {
    CHECK(rig.problem(kEdToken) == "");
    CHECK(has(rig.problem(kEdToken, "bank"), "audience"));
    CHECK(has(rig.problem(kEdToken, "hotel", "https://other"), "issuer"));
    CHECK(rig.problem(kEdToken, "", "") == "");
    CHECK(has(rig.problem(kEdToken, "", "", 0, kExpiry), "expired"));
    CHECK(rig.problem(kEdToken, "", "", 0, kExpiry - kSecond) == "");
    CHECK(rig.problem(kEdToken, "", "", 5 * kSecond, kExpiry + 4 * kSecond) == "");
    CHECK(has(rig.problem(kEdToken, "", "", 5 * kSecond, kExpiry + 5 * kSecond), "expired"));
    CHECK(has(rig.problem(kEdToken, "", "", 0, kNotBefore - kSecond), "not valid yet"));
    CHECK(rig.problem(kEdToken, "", "", 0, kNotBefore) == "");
    CHECK(rig.problem(kEdToken, "", "", 2 * kSecond, kNotBefore - kSecond) == "");
    CHECK(rig.problem(kEdToken, "", "", UINT64_MAX, UINT64_MAX) == "");
  }
}

TEST_CASE("what a token may leave out is only asked for when it is asked for") {
  Rig rig;
  CHECK(rig.problem(kBareToken, "", "") == "");
  CHECK(rig.verifier->verify(kBareToken, "", "", 0, kNow).expires_unix_s == 0);
  CHECK(has(rig.problem(kBareToken, "hotel", ""), "audience"));
  CHECK(has(rig.problem(kBareToken, "", "https://issuer.test"), "issuer"));
  CHECK(rig.problem(kOneAudienceToken) == "");
  CHECK(has(rig.problem(kOneAudienceToken, "shop"), "audience"));
}

TEST_CASE("claims of the wrong type are refused, strange dates are not misread") {
  Rig rig;
  CHECK(has(rig.problem(kBadAudienceToken), "malformed"));
  CHECK(has(rig.problem(kBadExpiryToken), "malformed"));
  CHECK(has(rig.problem(kTwiceToken), "malformed"));
  CHECK(has(rig.problem(kZeroExpiryToken, "", ""), "expired"));
  CHECK(rig.problem(kFractionToken, "", "", 0, kNow - 1) == "");
  CHECK(has(rig.problem(kFractionToken, "", "", 0, kNow), "expired"));
  CHECK(rig.problem(kHugeExpiryToken, "", "") == "");
}

TEST_CASE("the key says which algorithm, and the set which keys") {
  Rig rig;
  for (int look = 0; look < 2; ++look) {
    CHECK(has(rig.problem(kStrangerToken), "signature"));
    CHECK(has(rig.problem(kUnknownKidToken), "no key"));
    CHECK(has(rig.problem(kWrongAlgorithmToken), "no key"));
    CHECK(has(rig.problem(kCrossedKeyToken), "no key"));
    CHECK(has(rig.problem(kHmacToken), "no key"));
    CHECK(has(rig.problem(kNoneToken), "no key"));
    CHECK(has(rig.problem(kCritToken), "crit"));
    CHECK(has(rig.problem(kTwiceHeaderToken), "no JSON web token"));
  }
}

TEST_CASE("no byte of a token can be changed, and no form be bent") {
  Rig rig;
  const std::string token = kEdToken;
  REQUIRE(rig.problem(token) == "");
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    CHECK(rig.problem(changed) != "");
  }
  for (size_t length = 0; length < token.size(); ++length) CHECK(rig.problem(token.substr(0, length)) != "");
  for (const char* end : {"=", ".", "A", " ", "\n", ".AA"}) CHECK(rig.problem(token + end) != "");
  CHECK(rig.problem(" " + token) != "");
  CHECK(rig.problem("") != "");
  CHECK(rig.problem("..") != "");
  CHECK(rig.problem(std::string("\0.\0.\0", 5)) != "");
}

TEST_CASE("large tokens are verified but not remembered, larger ones are not looked at") {
  Rig rig;
  for (int look = 0; look < 2; ++look) CHECK(rig.verifier->verify(kLargeToken, "", "", 0, kNow).subject.size() == 2000);
  CHECK(has(rig.problem(kTooLargeToken), "longer than"));
}

TEST_CASE("made-up tokens do not make a good one forgotten, nor a bad one good") {
  Rig rig;
  REQUIRE(rig.problem(kEdToken) == "");
  const std::string stem = std::string(kStrangerToken).substr(0, std::string(kStrangerToken).rfind('.') + 1);
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (int i = 0; i < 5000; ++i) {
    std::string signature(86, 'A');
    for (int at = 0; at < 3; ++at) signature[at] = digits[i >> (6 * at) & 63];
    CHECK(has(rig.problem(stem + signature), "signature"));
  }
  CHECK(rig.problem(kEdToken) == "");
  CHECK(has(rig.problem(kStrangerToken), "signature"));
}

TEST_CASE("a key set says what is wrong with it") {
  const auto error = [](const std::string& json) {
    const auto made = TokenVerifier::from_jwks(json);
    return made ? std::string() : made.error().text;
  };
  CHECK(error(kKeySet) == "");
  CHECK(has(error(""), "not JSON"));
  CHECK(has(error("[]"), "not JSON"));
  CHECK(has(error(R"({"keys": [], "keys": []})"), "not JSON"));
  CHECK(has(error(std::string(1000, '[')), "not JSON"));
  CHECK(has(error("{}"), "no list"));
  CHECK(has(error(R"({"keys": {}})"), "no list"));
  CHECK(has(error(R"({"keys": []})"), "no key"));
  CHECK(has(error(R"({"keys": [7]})"), "not an object"));
  CHECK(has(error(R"({"keys": [{"kty": "oct", "k": "AAAA"}, {"kty": 7}, {"kty": "OKP", "crv": "X25519", "x": "AA"}]})"), "no key"));
  CHECK(has(error(R"({"keys": [{"kty": "RSA", "use": "enc"}, {"kty": "RSA", "alg": "PS256"}, {"kty": "RSA", "key_ops": ["sign"]}]})"), "no key"));
  CHECK(has(error(R"({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}]})"), "key 1 ('k')"));
  CHECK(has(error(R"({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": 7, "x": "AAAA"}]})"), "not text"));
  CHECK(has(error(R"({"keys": [{"kty": "RSA", "n": "AAAA", "e": "AQAB"}]})"), "2048"));
  CHECK(has(error(R"({"keys": [{"kty": "RSA", "n": 5, "e": "AQAB"}]})"), "2048"));
  CHECK(has(error(R"({"keys": [{"kty": "RSA", "n": "AAAA", "e": "AQAB", "d": "AAAA"}]})"), "private"));
  CHECK(has(error(kWeakKeySet), "2048"));
  std::string many = R"({"keys": [)";
  for (int i = 0; i < 65; ++i) many += std::string(i > 0 ? "," : "") + R"({"kty": "oct"})";
  CHECK(has(error(many + "]}"), "more than 64"));
  CHECK(has(error(std::string(300 << 10, ' ')), "larger"));
}

TEST_CASE("base64url has one text for each value") {
  CHECK(from_base64url("") == "");
  CHECK(from_base64url("AA") == std::string(1, '\0'));
  CHECK(from_base64url("_-8") == "\xff\xef");
  CHECK(from_base64url("Zm9vYmE") == "fooba");
  for (const char* bad : {"A", "AAAAA", "AA==", "AB", "AAB", "+A", "/A", "A A", "AA\n"}) CHECK_FALSE(from_base64url(bad));
}

}  // namespace mrpc::dataplane::testing
