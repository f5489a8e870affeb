"""Give a text field of the request a value: always, or only where the caller left it empty."""

from mrpc_service.policy import Field, Policy


class FieldMutation(Policy):
    field: Field
    value: str
    only_if_empty: bool = False

    def on_request(self, call, request):
        if not self.only_if_empty or request[self.field] == "":
            request[self.field] = self.value
