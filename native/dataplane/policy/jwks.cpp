#include "dataplane/policy/jwks.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "base/text.h"
#include "dataplane/policy/base64url.h"
#include "dataplane/policy/strict_json.h"

namespace mrpc::dataplane {
namespace {

constexpr int kRsaBitsMin = 2048, kRsaBitsMax = 8192;  // a longer one would hold a shard up for long
constexpr size_t kRsaExponentBytesMax = 8;             // likewise
constexpr size_t kEd25519Bytes = 32;

template <auto Free>
struct FreeBy {
  template <typename T>
  void operator()(T* of) const { Free(of); }
};
using Number = std::unique_ptr<BIGNUM, FreeBy<BN_free>>;
using Key = std::unique_ptr<EVP_PKEY, FreeKey>;

const uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

// A member that is base64url; empty when it is missing or not.
std::string binary_member(const Json& jwk, const char* name) {
  bool wrong = false;
  const std::string* text = text_member(jwk, name, wrong);
  return text == nullptr ? "" : from_base64url(*text).value_or("");
}

Key ed25519_key(const std::string& x) {
  if (x.size() != kEd25519Bytes) return nullptr;
  return Key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes_of(x), x.size()));
}

Key rsa_key(const std::string& modulus, const std::string& exponent) {
  if (modulus.size() > kRsaBitsMax / 8 || exponent.empty() || exponent.size() > kRsaExponentBytesMax) return nullptr;
  const Number n(BN_bin2bn(bytes_of(modulus), static_cast<int>(modulus.size()), nullptr));
  const Number e(BN_bin2bn(bytes_of(exponent), static_cast<int>(exponent.size()), nullptr));
  if (!n || !e || BN_num_bits(n.get()) < kRsaBitsMin || !BN_is_odd(n.get()) || !BN_is_odd(e.get()) || BN_is_one(e.get())) return nullptr;
  const std::unique_ptr<OSSL_PARAM_BLD, FreeBy<OSSL_PARAM_BLD_free>> builder(OSSL_PARAM_BLD_new());
  if (!builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
    return nullptr;
  const std::unique_ptr<OSSL_PARAM, FreeBy<OSSL_PARAM_free>> params(OSSL_PARAM_BLD_to_param(builder.get()));
  const std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>> context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* made = nullptr;
  if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &made, EVP_PKEY_PUBLIC_KEY, params.get()) != 1)
    return nullptr;
  return Key(made);
}

// "EdDSA", "RS256", or "" for a key that is for something else.
std::string_view algorithm_of(const Json& jwk) {
  bool wrong = false;
  const auto member = [&](const char* name) {
    const std::string* text = text_member(jwk, name, wrong);
    return text == nullptr ? std::string_view() : std::string_view(*text);
  };
  const std::string_view type = member("kty"), use = member("use"), stated = member("alg"), curve = member("crv");
  const std::string_view algorithm = type == "RSA" ? "RS256" : type == "OKP" && curve == "Ed25519" ? "EdDSA" : "";
  if (wrong || (!use.empty() && use != "sig") || (!stated.empty() && stated != algorithm)) return "";
  const auto operations = jwk.find("key_ops");
  if (operations == jwk.end()) return algorithm;
  for (const Json& operation : *operations)
    if (operation == "verify") return algorithm;
  return "";
}

Result<WebKey> parse_key(const Json& jwk, std::string_view algorithm, size_t place) {
  bool wrong = false;
  const std::string* id = text_member(jwk, "kid", wrong);
  WebKey out{id == nullptr ? "" : *id, algorithm, nullptr};
  const std::string name = "key " + std::to_string(place + 1) + (out.id.empty() ? "" : " ('" + printable(out.id.substr(0, 64)) + "')");
  if (wrong) return invalid_argument(name + ": its kid is not text");
  if (jwk.contains("d")) return invalid_argument(name + " has its private part (d) with it; make it invalid, and give public keys alone");
  out.key = algorithm == "RS256" ? rsa_key(binary_member(jwk, "n"), binary_member(jwk, "e")) : ed25519_key(binary_member(jwk, "x"));
  ERR_clear_error();
  if (out.key) return out;
  return invalid_argument(name + (algorithm == "RS256" ? ": n and e are no RSA key of 2048 to 8192 bits in base64url" :
                                                         ": x is no Ed25519 key of 32 bytes in base64url"));
}

}  // namespace

bool WebKey::verifies(std::string_view signed_text, std::string_view signature) const {
  const std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  const EVP_MD* digest = algorithm == "RS256" ? EVP_sha256() : nullptr;
  const bool good = context && EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, key.get()) == 1 &&
                    EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(signed_text), signed_text.size()) == 1;
  ERR_clear_error();  // a wrong signature is no error of ours; left behind it would be taken for one
  return good;
}

Result<std::vector<WebKey>> parse_key_set(std::string_view json) {
  if (json.size() > kKeySetBytesMax) return invalid_argument("the key set is larger than " + std::to_string(kKeySetBytesMax) + " bytes");
  const auto document = parse_object(json);
  if (!document) return invalid_argument("the key set is not JSON of the form {\"keys\": [...]}, or has a member twice");
  const auto list = document->find("keys");
  if (list == document->end() || !list->is_array()) return invalid_argument("the key set has no list \"keys\"");
  if (list->size() > kKeysMax) return invalid_argument("the key set has more than " + std::to_string(kKeysMax) + " keys");
  std::vector<WebKey> keys;
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& jwk = (*list)[i];
    if (!jwk.is_object()) return invalid_argument("key " + std::to_string(i + 1) + " is not an object");
    const std::string_view algorithm = algorithm_of(jwk);
    if (algorithm.empty()) continue;
    auto key = parse_key(jwk, algorithm, i);
    if (!key) return key.error();
    keys.push_back(std::move(*key));
  }
  if (keys.empty()) return invalid_argument("the key set has no key for signatures by EdDSA (OKP, Ed25519) or RS256 (RSA)");
  return keys;
}

}  // namespace mrpc::dataplane
