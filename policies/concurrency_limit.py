"""At most so many calls at once to each method of each server's app."""

from mrpc_service.policy import RESOURCE_EXHAUSTED, Policy, Scope, deny, state


class ConcurrencyLimit(Policy):
    calls_max: int = 100
    per: Scope = ["server", "method"]

    running: int = state(per="per")

    def on_request(self, call, request):
        if call.first:
            if self.running >= self.calls_max:
                return deny(RESOURCE_EXHAUSTED, f"{self.calls_max} calls are running already; retry later")
            self.running += 1

    def on_end(self, call):
        self.running -= 1
