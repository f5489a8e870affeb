"""One budget of calls a second for all daemons that share a policy store (Redis), spent from leases that are taken ahead of need."""

from mrpc_service.policy import RESOURCE_EXHAUSTED, Lease, Policy, deny, lease


class GlobalRateLimit(Policy):
    requests_per_second: float
    burst: float = 100.0
    local_share: float = 0.33  # of the rate, for this daemon alone while the store cannot be reached

    budget: Lease = lease(rate="requests_per_second", burst="burst", share="local_share")

    def on_request(self, call, request):
        if call.first and not self.budget.take(1.0):
            return deny(RESOURCE_EXHAUSTED, "the mesh's rate limit is exceeded; retry after a pause")
