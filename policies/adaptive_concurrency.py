"""A limit of concurrent calls that finds itself: it grows while latency stays near the best seen lately, and shrinks when it rises.

The gradient method: Netflix's concurrency-limits (Gradient2) and Envoy's adaptive concurrency filter work alike.
"""

from mrpc_service.policy import OK, RESOURCE_EXHAUSTED, Duration, Policy, Scope, deny, sqrt, state


class AdaptiveConcurrency(Policy):
    least: float = 4.0
    most: float = 1000.0
    tolerance: float = 1.5  # how far above the best latency still counts as unloaded
    forget: Duration = "30s"  # after which the best latency is measured anew
    per: Scope = ["server", "method"]

    running: int = state(per="per")
    limit: float = state(per="per", initial="least")
    best_ns: float = state(per="per")
    best_at_ns: int = state(per="per")
    usual_ns: float = state(per="per")

    def on_request(self, call, request):
        if call.first:
            if self.running >= min(self.limit, self.most):
                return deny(RESOURCE_EXHAUSTED, "the server is as busy as it can be without slowing down; retry later")
            self.running += 1

    def on_end(self, call):
        self.running -= 1
        if call.status != OK:
            return
        sample = float(call.elapsed_ns)
        if self.best_ns == 0.0 or sample < self.best_ns or call.now_ns - self.best_at_ns > self.forget:
            self.best_ns = sample
            self.best_at_ns = call.now_ns
        self.usual_ns = sample if self.usual_ns == 0.0 else 0.9 * self.usual_ns + 0.1 * sample
        gradient = max(0.5, min(1.0, self.tolerance * self.best_ns / self.usual_ns))
        wanted = min(self.most, max(self.least, self.limit * gradient + sqrt(self.limit)))
        if wanted < self.limit or (self.running + 1) * 2 > self.limit:  # a limit that nobody reaches says nothing
            self.limit = 0.8 * self.limit + 0.2 * wanted
