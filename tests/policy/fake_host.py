"""The daemon as a program sees it: answers that a test chose, and a record of what was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mrpc_service.policy.language import Token

RESERVED = b"mrpc-"


@dataclass
class FakeHost:
    given: dict[bytes, bytes] = field(default_factory=dict)  # metadata
    randoms: list[int] = field(default_factory=lambda: [1 << 63])
    answers: int = 2  # LEAD
    grants: bool = True
    verified: Token = field(default_factory=lambda: Token(False, "no token"))
    done: list[tuple[Any, ...]] = field(default_factory=list)
    draws: int = 0

    def metadata(self, key: bytes) -> bytes | None:
        return self.given.get(key)

    def set_metadata(self, key: bytes, value: bytes) -> bool:
        """True when it is refused."""
        self.done.append(("set_metadata", key, value))
        return key.startswith(RESERVED)

    def set_field(self, path: str, value: Any) -> bool:
        self.done.append(("set_field", path, value))
        return False

    def random(self) -> int:
        self.draws += 1
        return self.randoms[self.draws % len(self.randoms)]

    def log(self, text: bytes) -> None:
        self.done.append(("log", text))

    def answer(self, store: int, key: bytes) -> int:
        self.done.append(("answer", store, key))
        return self.answers

    def store(self, store: int, ttl_ns: int, bytes_max: int) -> None:
        self.done.append(("store", store, ttl_ns, bytes_max))

    def take(self, lease: int, want: float) -> bool:
        self.done.append(("take", lease, want))
        return self.grants

    def token(self, text: bytes, audience: bytes, issuer: bytes, leeway_ns: int) -> Token:
        self.done.append(("token", text, audience, issuer, leeway_ns))
        return self.verified


CALL: dict[str, Any] = {
    "now_ns": 5_000_000_000, "unix_ns": 1_700_000_000_000_000_000, "started_ns": 4_000_000_000, "deadline_ns": 0, "message_bytes": 128,
    "first": 1, "last": 1, "status": 0, "denied": 0, "client": "shop", "server": "depot", "service": "sample.Shop", "method": "Buy",
    "tenant": "acme",
}
