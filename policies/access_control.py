"""Deny by the value of a field: what is in `deny`, and, when `allow` names something, all that is not in it."""

from mrpc_service.policy import PERMISSION_DENIED, Field, Policy, deny


class AccessControl(Policy):
    field: Field
    deny: list[str] = []
    allow: list[str] = []

    def on_request(self, call, request):
        value = str(request[self.field])
        if value in self.deny or (len(self.allow) > 0 and value not in self.allow):
            return deny(PERMISSION_DENIED, f"field '{self.field}' has a value that is not allowed")
