"""Writes tokens.h and the fuzzer's corpus: keys and tokens made by the Python package `cryptography`, an implementation that is not ours.

usage: python tests/native/dataplane/make_tokens.py      keys are new each time and not kept, so nobody can sign for them again
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hmac import HMAC

HERE = Path(__file__).parent
CORPUS = HERE.parents[1] / "fuzz" / "corpus" / "policy_token"
CLAIMS = {"sub": "ann", "iss": "https://issuer.test", "aud": ["hotel", "shop"], "exp": 2_000_000_000, "nbf": 1_700_000_000}
# What the corpus takes beside the key set.
SEEDS = ("kEdToken", "kRsaToken", "kNoKidToken", "kCritToken", "kTwiceToken", "kNoneToken")


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Signer:
    """A private key under a name."""

    def __init__(self, kid: str, key: Ed25519PrivateKey | RSAPrivateKey) -> None:
        self.kid, self.key = kid, key
        self.algorithm = "EdDSA" if isinstance(key, Ed25519PrivateKey) else "RS256"

    def public(self) -> dict[str, Any]:
        if isinstance(self.key, Ed25519PrivateKey):
            return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encode(self.key.public_key().public_bytes_raw())}
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "kid": self.kid, "alg": "RS256", "use": "sig", "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, text: bytes) -> bytes:
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(text)
        return self.key.sign(text, padding.PKCS1v15(), hashes.SHA256())

    def token(self, claims: dict[str, Any] | str = CLAIMS, **header: Any) -> str:
        """`header` is added to what belongs in it; a value of None takes a member out. `claims` may be JSON already."""
        merged = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | header
        head = json.dumps({name: value for name, value in merged.items() if value is not None})
        return self.raw(head, claims if isinstance(claims, str) else json.dumps(claims))

    def raw(self, header: str, claims: str) -> str:
        signed = f"{encode(header.encode())}.{encode(claims.encode())}"
        return f"{signed}.{encode(self.sign(signed.encode()))}"


def tokens(ed: Signer, rsa: Signer, stranger: Signer) -> dict[str, str]:
    mac = HMAC(json.dumps(rsa.public()).encode(), hashes.SHA256())
    confused = f"{encode(json.dumps({'alg': 'HS256', 'kid': 'rsa-1'}).encode())}.{encode(json.dumps(CLAIMS).encode())}"
    mac.update(confused.encode())
    unsigned = f"{encode(json.dumps({'alg': 'none'}).encode())}.{encode(json.dumps(CLAIMS).encode())}."
    return {
        "kEdToken": ed.token(),
        "kRsaToken": rsa.token(),
        "kNoKidToken": rsa.token(kid=None),
        "kStrangerToken": stranger.token(kid="ed-1"),
        "kUnknownKidToken": ed.token(kid="ed-9"),
        "kWrongAlgorithmToken": ed.token(alg="RS256"),
        "kCrossedKeyToken": rsa.token(kid="ed-1"),
        "kCritToken": ed.token(crit=["exp"]),
        "kTwiceToken": ed.token(json.dumps(CLAIMS)[:-1] + ', "sub": "eve"}'),
        "kTwiceHeaderToken": ed.raw('{"alg": "EdDSA", "kid": "ed-1", "alg": "none"}', json.dumps(CLAIMS)),
        "kBareToken": ed.token({}),
        "kOneAudienceToken": ed.token(CLAIMS | {"aud": "hotel"}),
        "kBadAudienceToken": ed.token(CLAIMS | {"aud": ["hotel", 7]}),
        "kBadExpiryToken": ed.token(CLAIMS | {"exp": "never"}),
        "kFractionToken": ed.token({"sub": "ann", "exp": 1_800_000_000.75}),
        "kZeroExpiryToken": ed.token({"sub": "ann", "exp": 0}),
        "kHugeExpiryToken": ed.token('{"sub": "ann", "exp": 1e300}'),
        "kHmacToken": f"{confused}.{encode(mac.finalize())}",
        "kNoneToken": unsigned,
        "kLargeToken": ed.token(CLAIMS | {"sub": "a" * 2000}),
        "kTooLargeToken": ed.token(CLAIMS | {"pad": "a" * 16384}),
    }


def main() -> None:
    ed, rsa = Signer("ed-1", Ed25519PrivateKey.generate()), Signer("rsa-1", generate_private_key(65537, 2048))
    weak, stranger = Signer("weak", generate_private_key(65537, 1024)), Signer("stranger", Ed25519PrivateKey.generate())
    other = {"kty": "oct", "kid": "mac", "k": "AAAA"}
    keys = json.dumps({"keys": [other, ed.public(), rsa.public()]})
    values = {"kKeySet": keys, "kWeakKeySet": json.dumps({"keys": [weak.public()]}), **tokens(ed, rsa, stranger)}
    lines = ["// Made by make_tokens.py, by another implementation than ours; the private keys are not kept.", "#pragma once", ""]
    lines += ["namespace mrpc::dataplane::testing {", ""]
    for name, value in values.items():
        lines.append(f"inline constexpr char {name}[] = {json.dumps(value)};")
    lines += ["", "}  // namespace mrpc::dataplane::testing", ""]
    (HERE / "tokens.h").write_text("\n".join(lines))
    CORPUS.mkdir(parents=True, exist_ok=True)
    for name in SEEDS:
        (CORPUS / name[1:]).write_text("t" + values[name])
    (CORPUS / "KeySet").write_text("k" + keys)


if __name__ == "__main__":
    main()
