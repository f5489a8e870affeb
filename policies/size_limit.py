"""Refuse messages over a size, in either direction."""

from mrpc_service.policy import RESOURCE_EXHAUSTED, Policy, deny


class SizeLimit(Policy):
    request_bytes_max: int = 4_194_304
    reply_bytes_max: int = 4_194_304

    def on_request(self, call, request):
        if call.message_bytes > self.request_bytes_max:
            return deny(RESOURCE_EXHAUSTED, f"a request of {call.message_bytes} bytes; {self.request_bytes_max} are allowed")

    def on_reply(self, call, reply):
        if call.message_bytes > self.reply_bytes_max:
            return deny(RESOURCE_EXHAUSTED, f"a reply of {call.message_bytes} bytes; {self.reply_bytes_max} are allowed")
