"""A token bucket for each client (or tenant, method, ... or one for all): so many calls a second, and a burst above that."""

from mrpc_service.policy import RESOURCE_EXHAUSTED, Policy, Scope, deny, state


class RateLimit(Policy):
    requests_per_second: float
    burst: float = 0.0  # 0: one second's worth
    per: Scope = "client"

    tokens: float = state(per="per")
    filled_ns: int = state(per="per")

    def on_request(self, call, request):
        if not call.first:
            return
        capacity = self.burst if self.burst > 0 else max(1.0, self.requests_per_second)
        earned = (call.now_ns - self.filled_ns) * self.requests_per_second / 1e9 if self.filled_ns > 0 else capacity
        self.tokens = min(capacity, self.tokens + earned)
        self.filled_ns = call.now_ns
        if self.tokens < 1.0:
            return deny(RESOURCE_EXHAUSTED, "rate limit exceeded; retry after a pause")
        self.tokens -= 1.0
