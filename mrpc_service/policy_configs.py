"""What the `config` of each native policy may hold, so that a mistake is told when a document is read, with its place,
and not when the first call comes. The data plane checks again, and against the schema of the edges."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class PolicyConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Metrics(PolicyConfig):
    """Counters and latencies of the edge. On for every edge, named or not."""


class LoadBalancing(PolicyConfig):
    algorithm: Literal["round_robin", "least_request"] = "round_robin"


class Qos(PolicyConfig):
    """In which order calls that want the same server are served: by level, by weight within it, by deadline within a group."""

    level: Literal["urgent", "normal", "bulk"] = "normal"
    weight: float = Field(1.0, ge=0.001, le=1000)
    per: Literal["client", "tenant"] = "client"


class Compression(PolicyConfig):
    """How messages to another daemon are packed: requests by the caller's daemon, replies by the endpoint's, each as it has it."""

    algorithm: Literal["zstd"] = "zstd"
    level: int = Field(1, ge=1, le=9)
    above_bytes: int = Field(4096, ge=0)  # smaller messages go as they are


class RateLimit(PolicyConfig):
    """A token bucket on each edge."""

    requests_per_second: float = Field(gt=0)
    burst: float | None = Field(None, ge=1)  # default: one second's worth


class AccessControl(PolicyConfig):
    """Denies by the value of a field of the request: a path with dots to a singular string, bytes, bool, enum or integer."""

    field: str = Field(min_length=1)
    deny: list[str | int] | None = None
    allow: list[str | int] | None = None

    @model_validator(mode="after")
    def one_list(self) -> AccessControl:
        if (self.deny is None) == (self.allow is None):
            raise ValueError("give either 'deny' or 'allow'")
        return self


CONFIGS: dict[str, type[PolicyConfig]] = {
    "metrics": Metrics,
    "load_balancing": LoadBalancing,
    "qos": Qos,
    "compression": Compression,
    "rate_limit": RateLimit,
    "access_control": AccessControl,
}
