"""What a policy's file imports. Names alone: the compiler knows them by name and runs none of this; in plain Python, and in
the interpreted form, they do what they say."""

from __future__ import annotations

import math
import random as _random
from dataclasses import dataclass, field
from typing import Any

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED = range(8)
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS = range(8, 16)
UNAUTHENTICATED = 16

STATUS_CODES: dict[str, int] = {
    name: value for name, value in globals().items() if name.isupper() and isinstance(value, int) and not name.startswith("_")
}


class Duration(int):
    """An int of nanoseconds; operators may write "250ms" or "5s"."""


class Field(str):
    """The name of a message's field, with dots; fixed when the policy is compiled."""


class Fields(tuple):  # type: ignore[type-arg]
    """Several names of fields; a loop over them is unrolled."""


class Scope(str):
    """What a state is kept for each of: "client", "tenant", "metadata:KEY"..., or a list of these."""


class Keys(str):
    """A JSON web key set."""


@dataclass(frozen=True)
class State:
    per: Any
    initial: Any


@dataclass
class Replies:
    """Stored replies of one policy."""

    per: Any = "global"
    host: Any = field(default=None, repr=False)
    index: int = 0

    def answer(self, key: str) -> Verdict:
        """In on_request: with the stored reply of `key`, else the call goes on to fetch it."""
        return Verdict("answer", text=key, store=self.index)

    def store(self, ttl_ns: int, bytes_max: int) -> None:
        """In on_reply: keep this reply for `ttl_ns`, if the store then holds at most `bytes_max`."""
        if self.host is not None:
            self.host.store(self.index, ttl_ns, bytes_max)


@dataclass
class Lease:
    """This daemon's part of a budget that all daemons share."""

    rate: str
    burst: str
    share: str
    host: Any = field(default=None, repr=False)
    index: int = 0

    def take(self, want: float) -> bool:
        return self.host is None or self.host.take(self.index, float(want))


class Policy:
    """Base of every policy: one class, one file. Hooks: on_request, on_reply, on_end, upgrade."""

    on_fault = "closed"


@dataclass(frozen=True)
class Verdict:
    kind: str
    code: int = 0
    text: str = ""
    value: int = 0
    store: int = 0


@dataclass(frozen=True)
class Token:
    valid: bool
    problem: str = ""
    subject: str = ""
    issuer: str = ""
    expires_unix_s: int = 0


def state(per: Any = "global", initial: Any = 0) -> Any:
    return State(per, initial)


def replies(per: Any = "global") -> Any:
    return Replies(per)


def lease(rate: str, burst: str, share: str) -> Any:
    return Lease(rate, burst, share)


def forward() -> Verdict:
    return Verdict("forward")


def deny(code: int, text: str = "") -> Verdict:
    return Verdict("deny", code=code, text=text)


def delay(ns: int) -> Verdict:
    return Verdict("delay", value=max(0, ns))


def route(key: Any = None, app: str | None = None) -> Verdict:
    if app is not None:
        return Verdict("route", text=app)
    return Verdict("route", value=hash64(key))


def has(value: Any) -> bool:
    """Whether a field is set; one without presence, whether it is not its default."""
    return bool(value)


def random() -> float:
    return _random.random()


def log(text: str) -> None:
    print(text)


def sqrt(x: float) -> float:
    return math.sqrt(x)


def verify_token(text: str, keys: str, audience: str = "", issuer: str = "", leeway_ns: int = 0) -> Token:
    raise NotImplementedError("tokens are verified by the daemon; give the interpreted form a host that answers")


def to_bytes(text: str) -> bytes:
    """A text's bytes; those that are no UTF-8 stand in it as surrogates."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(value: Any) -> bytes:
    """One value of a key: a tag, then 8 bytes, or a length and a text's bytes."""
    if isinstance(value, bool):
        return b"b" + bytes([value])
    if isinstance(value, int):
        return b"i" + value.to_bytes(8, "little", signed=True)
    if isinstance(value, float):
        import struct

        return b"f" + struct.pack("<d", value)
    data = to_bytes(value)
    return b"t" + len(data).to_bytes(4, "little") + data


def key(*values: Any) -> str:
    """One text of several values; different values give different texts."""
    return to_text(b"".join(map(encode, values)))


_MASK = (1 << 64) - 1


def hash64(value: Any) -> int:
    """The same everywhere, and in the compiled form; of 64 bits."""
    data = to_bytes(value) if isinstance(value, str) else encode(value)[1:]
    h = 0x9E3779B97F4A7C15 ^ len(data)
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at:at + 8], "little")
        h = (h ^ word) * 0xFF51AFD7ED558CCD & _MASK
        h ^= h >> 32
    h ^= h >> 29
    h = h * 0xBF58476D1CE4E5B9 & _MASK
    return h ^ h >> 32


def hash(value: Any) -> int:
    """Deterministic, not negative."""
    return hash64(value) >> 1


EXPORTS = [
    "Duration", "Field", "Fields", "Keys", "Lease", "Policy", "Replies", "Scope", "delay", "deny", "forward", "has", "hash", "key",
    "lease", "log", "random", "replies", "route", "sqrt", "state", "verify_token", *STATUS_CODES,
]
__all__ = EXPORTS
