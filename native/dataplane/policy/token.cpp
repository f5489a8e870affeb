#include "dataplane/policy/token.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "dataplane/policy/base64url.h"
#include "dataplane/policy/jwks.h"
#include "dataplane/policy/strict_json.h"

namespace mrpc::dataplane {
namespace {

constexpr size_t kTokenBytesMax = 16u << 10;
constexpr size_t kTriesMax = 8;              // keys that one token is tried against
constexpr size_t kRemembered = 2048;         // tokens in a generation
constexpr size_t kClaimBytesRemembered = 1024;
constexpr double kDateMax = 253402300800.0;  // the year 10000; dates beyond are as good as never

using Digest = std::array<uint8_t, 32>;

// A bounded memory of two generations: when the young one is full it becomes the old one, and what was old is forgotten.
// Ordered, so that nobody can flood buckets.
template <typename T>
class Generations {
 public:
  const T* find(const Digest& key) {
    if (const auto found = young_.find(key); found != young_.end()) return &found->second;
    const auto found = old_.find(key);
    if (found == old_.end()) return nullptr;
    T kept = std::move(found->second);
    old_.erase(found);
    return &add(key, std::move(kept));
  }
  const T& add(const Digest& key, T value) {
    if (young_.size() >= kRemembered) old_ = std::exchange(young_, {});
    return young_.insert_or_assign(key, std::move(value)).first->second;
  }

 private:
  std::map<Digest, T> young_, old_;
};

// What a signature vouches for.
struct Claims {
  std::string subject, issuer;
  std::vector<std::string> audience;
  std::optional<int64_t> expires_s, not_before_s;

  size_t bytes() const {
    size_t sum = subject.size() + issuer.size();
    for (const std::string& one : audience) sum += one.size() + sizeof one;
    return sum;
  }
};

struct Parts {
  std::string_view signed_text;  // header and payload
  std::string_view header, payload, signature;
};

std::optional<Parts> split(std::string_view token) {
  const size_t first = token.find('.');
  const size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (second == token.npos || token.find('.', second + 1) != token.npos) return std::nullopt;
  return Parts{token.substr(0, second), token.substr(0, first), token.substr(first + 1, second - first - 1), token.substr(second + 1)};
}

std::optional<Json> decode_object(std::string_view part) {
  const auto text = from_base64url(part);
  return text ? parse_object(*text) : std::nullopt;
}

std::string_view without_scheme(std::string_view text) {
  constexpr std::string_view kScheme = "bearer ";
  if (text.size() < kScheme.size()) return text;
  for (size_t i = 0; i < kScheme.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(text[i])) != kScheme[i]) return text;
  return text.substr(std::min(text.find_first_not_of(' ', kScheme.size()), text.size()));
}

// Seconds since 1970, down to whole ones. `wrong` is set when the member is there and is no date.
std::optional<int64_t> date_member(const Json& object, const char* name, bool& wrong) {
  const auto found = object.find(name);
  if (found == object.end()) return std::nullopt;
  const double seconds = found->is_number() ? std::floor(found->get<double>()) : std::nan("");
  if (std::isnan(seconds)) {
    wrong = true;
    return std::nullopt;
  }
  return static_cast<int64_t>(std::clamp(seconds, -kDateMax, kDateMax));
}

// One text, or a list of them.
std::vector<std::string> audience_member(const Json& object, bool& wrong) {
  std::vector<std::string> out;
  const auto found = object.find("aud");
  if (found == object.end()) return out;
  if (found->is_string()) return {found->get<std::string>()};
  wrong |= !found->is_array();
  for (const Json& item : *found) {
    wrong |= !item.is_string();
    if (item.is_string()) out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<Claims> read_claims(const Json& payload) {
  bool wrong = false;
  Claims out;
  if (const std::string* subject = text_member(payload, "sub", wrong)) out.subject = *subject;
  if (const std::string* issuer = text_member(payload, "iss", wrong)) out.issuer = *issuer;
  out.audience = audience_member(payload, wrong);
  out.expires_s = date_member(payload, "exp", wrong);
  out.not_before_s = date_member(payload, "nbf", wrong);
  if (wrong) return std::nullopt;
  return out;
}

Digest digest_of(std::string_view text) {
  Digest out{};
  MRPC_ASSERT(EVP_Digest(text.data(), text.size(), out.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return out;
}

// What of the claims does not hold now, or null.
const char* objection(const Claims& claims, std::string_view audience, std::string_view issuer, uint64_t leeway_ns, uint64_t unix_ns) {
  using Wide = __int128;  // nanoseconds of any date, exactly
  constexpr Wide kSecond = 1'000'000'000;
  if (claims.expires_s && Wide{unix_ns} >= *claims.expires_s * kSecond + leeway_ns) return "the token has expired; get a new one";
  if (claims.not_before_s && Wide{unix_ns} + leeway_ns < *claims.not_before_s * kSecond) return "the token is not valid yet";
  if (!issuer.empty() && claims.issuer != issuer) return "the token is from another issuer";
  if (!audience.empty() && std::find(claims.audience.begin(), claims.audience.end(), audience) == claims.audience.end())
    return "the token is for another audience";
  return nullptr;
}

}  // namespace

struct TokenVerifier::State {
  std::vector<WebKey> keys;
  Generations<Claims> good;
  // Apart from the good ones, so that made-up tokens push none of those out. Only what cost a signature is kept here.
  Generations<const char*> bad;
  Claims fresh;  // what was verified last and is too large to remember
  TokenClaims answer;

  // The claims of a token whose signature holds, or null with the problem.
  const Claims* authentic(std::string_view token, const char*& problem) {
    problem = "the token is longer than 16384 bytes";
    if (token.size() > kTokenBytesMax) return nullptr;
    const Digest digest = digest_of(token);
    if (const Claims* known = good.find(digest)) return known;
    if (const char* const* known = bad.find(digest)) {
      problem = *known;
      return nullptr;
    }
    return check(token, digest, problem);
  }

  const Claims* check(std::string_view token, const Digest& digest, const char*& problem) {
    problem = "this is no JSON web token; send 'Bearer HEADER.PAYLOAD.SIGNATURE'";
    const auto parts = split(token);
    if (!parts) return nullptr;
    const auto header = decode_object(parts->header);
    const auto signature = from_base64url(parts->signature);
    if (!header || !signature) return nullptr;
    problem = "the token's header asks for what is not understood (crit)";
    if (header->contains("crit")) return nullptr;
    if (!signed_by_one(*header, parts->signed_text, *signature, digest, problem)) return nullptr;
    problem = "the token's claims are malformed";
    const auto payload = decode_object(parts->payload);
    auto claims = payload ? read_claims(*payload) : std::nullopt;
    if (!claims) return nullptr;
    if (claims->bytes() <= kClaimBytesRemembered) return &good.add(digest, std::move(*claims));
    fresh = std::move(*claims);
    return &fresh;
  }

  bool signed_by_one(const Json& header, std::string_view signed_text, std::string_view signature, const Digest& digest, const char*& problem) {
    bool wrong = false;
    const std::string* algorithm = text_member(header, "alg", wrong);
    const std::string* id = text_member(header, "kid", wrong);
    problem = "the token's algorithm and key fit no key of the set";
    if (wrong || algorithm == nullptr) return false;
    size_t tries = 0;
    for (const WebKey& key : keys) {
      if (key.algorithm != *algorithm || (id != nullptr && key.id != *id)) continue;
      if (key.verifies(signed_text, signature)) return true;
      if (++tries == kTriesMax) break;
    }
    if (tries == 0) return false;
    problem = bad.add(digest, "the token's signature does not hold");
    return false;
  }
};

TokenVerifier::TokenVerifier() : state_(std::make_unique<State>()) {}
TokenVerifier::~TokenVerifier() = default;

Result<std::unique_ptr<TokenVerifier>> TokenVerifier::from_jwks(std::string_view json) {
  auto keys = parse_key_set(json);
  if (!keys) return keys.error();
  std::unique_ptr<TokenVerifier> made(new TokenVerifier());
  made->state_->keys = std::move(*keys);
  return made;
}

const TokenClaims& TokenVerifier::verify(std::string_view text, std::string_view audience, std::string_view issuer, uint64_t leeway_ns,
                                         uint64_t unix_ns) {
  TokenClaims& answer = state_->answer;
  const char* problem = nullptr;
  const Claims* claims = state_->authentic(without_scheme(text), problem);
  if (claims != nullptr) problem = objection(*claims, audience, issuer, leeway_ns, unix_ns);
  answer = {};
  answer.valid = problem == nullptr;
  if (problem != nullptr) answer.problem = problem;
  if (!answer.valid) return answer;
  answer.subject = claims->subject;
  answer.issuer = claims->issuer;
  answer.expires_unix_s = claims->expires_s.value_or(0);
  return answer;
}

}  // namespace mrpc::dataplane
