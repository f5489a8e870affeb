"""Break a fraction of calls on purpose: delay them, or end them with a status; all, or those with one value of a field."""

from mrpc_service.policy import Duration, Fields, Policy, delay, deny, random


class Fault(Policy):
    abort_fraction: float = 0.0
    abort_code: int = 14  # UNAVAILABLE
    delay_fraction: float = 0.0
    delay_for: Duration = "100ms"
    only: Fields = []  # with `values`: calls in which one of these fields has one of those values
    values: list[str] = []

    def on_request(self, call, request):
        if not call.first or not self.meant(request):
            return
        if random() < self.abort_fraction:
            return deny(self.abort_code, "a fault was injected")
        if random() < self.delay_fraction:
            return delay(self.delay_for)

    def meant(self, request):
        chosen = len(self.values) == 0
        for field in self.only:
            if str(request[field]) in self.values:
                chosen = True
        return chosen
