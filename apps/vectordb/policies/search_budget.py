"""A budget of results a second for each tenant: a search costs what it asks for, its queries times k."""

from mrpc_service.policy import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, Policy, Scope, deny, state


class SearchBudget(Policy):
    results_per_s: float = 100_000.0
    burst: float = 20_000.0
    per: Scope = "tenant"

    results: float = state(per="per", initial="burst")
    filled_ns: int = state(per="per")
    results_ever: int = state(per="per")

    def on_request(self, call, request):
        if request.k > 10_000 or request.queries > 1_000:
            return deny(INVALID_ARGUMENT, "k is 10000 at most, and queries 1000")
        cost = max(1, request.queries) * max(1, request.k)
        if cost > self.burst:
            return deny(INVALID_ARGUMENT, f"one search may ask for {self.burst} results: ask for fewer, or in several calls")
        if self.filled_ns > 0:
            self.results = min(self.burst, self.results + (call.now_ns - self.filled_ns) * self.results_per_s / 1e9)
        self.filled_ns = call.now_ns
        if self.results < cost:
            return deny(RESOURCE_EXHAUSTED, f"'{call.tenant}' has asked for more than {self.results_per_s} results a second")
        self.results -= cost
        self.results_ever += cost
