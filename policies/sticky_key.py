"""Send calls with the same value of a field to the same endpoint, as long as it is there (rendezvous hashing)."""

from mrpc_service.policy import Field, Policy, route


class StickyKey(Policy):
    field: Field

    def on_request(self, call, request):
        if call.first:
            return route(key=request[self.field])
