"""A JSON web token and the key set that it is verified by. RS256: Envoy's verifier and ours both take it."""

from __future__ import annotations

import base64
import json
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

LIFE_S = 86_400


def make_token(issuer: str) -> tuple[str, str]:
    """(token, key set as JSON)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    head = {"alg": "RS256", "typ": "JWT", "kid": "1"}
    body = {"iss": issuer, "sub": "bench", "exp": int(time.time()) + LIFE_S}
    signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(body).encode())}"
    signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e)}
    return f"{signed}.{_encode(signature)}", json.dumps({"keys": [jwk]})


def _encode_number(number: int) -> str:
    return _encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
