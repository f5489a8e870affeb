"""Log a fraction of requests, with some of their fields, without the values of those in `redact`."""

from mrpc_service.policy import Fields, Policy, log, random


class RequestLog(Policy):
    fields: Fields = []
    redact: Fields = []
    fraction: float = 1.0

    def on_request(self, call, request):
        if random() >= self.fraction:
            return
        line = f"{call.client} calls {call.service}/{call.method}"
        for field in self.fields:
            line = line + f" {field}={'[redacted]' if field in self.redact else str(request[field])}"
        log(line)
