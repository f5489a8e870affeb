"""So many calls and bytes for each tenant in each period, counted from the tenant's first call of the period."""

from mrpc_service.policy import RESOURCE_EXHAUSTED, Duration, Policy, Scope, deny, state


class Quota(Policy):
    calls_max: int = 1_000_000
    bytes_max: int = 1_073_741_824  # of requests
    period: Duration = "1h"
    per: Scope = "tenant"

    began_ns: int = state(per="per")
    calls: int = state(per="per")
    bytes: int = state(per="per")
    calls_ever: int = state(per="per")
    bytes_ever: int = state(per="per")

    def on_request(self, call, request):
        if self.began_ns == 0 or call.now_ns - self.began_ns >= self.period:
            self.began_ns = call.now_ns
            self.calls = 0
            self.bytes = 0
        if (call.first and self.calls >= self.calls_max) or self.bytes + call.message_bytes > self.bytes_max:
            return deny(RESOURCE_EXHAUSTED, f"the quota of '{call.tenant}' is used up until its next period")
        self.calls += 1 if call.first else 0
        self.bytes += call.message_bytes
        self.calls_ever += 1 if call.first else 0
        self.bytes_ever += call.message_bytes
