"""Answer repeated requests from memory. Fields of the request are the key; of calls that ask for the same, one goes to the server."""

from mrpc_service.policy import OK, Duration, Fields, Policy, Replies, Scope, key, replies


class Cache(Policy):
    keys: Fields
    ttl: Duration = "1s"
    bytes_max: int = 16_777_216
    bypass: str = "cache-control"  # a call with "no-store" there is neither answered from memory nor kept
    per: Scope = "tenant"  # replies of one tenant are never another's

    kept: Replies = replies(per="per")

    def on_request(self, call, request):
        if call.metadata.get(self.bypass) == "no-store":
            return
        wanted = key()
        for field in self.keys:
            wanted = wanted + key(request[field])
        return self.kept.answer(wanted)

    def on_reply(self, call, reply):
        if call.status == OK:
            self.kept.store(self.ttl, self.bytes_max)
