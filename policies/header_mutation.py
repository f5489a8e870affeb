"""Set one metadata key of a request, and remove others."""

from mrpc_service.policy import Policy


class HeaderMutation(Policy):
    header: str = ""
    value: str = ""
    overwrite: bool = True
    remove: list[str] = []

    def on_request(self, call, request):
        for name in self.remove:
            call.set_metadata(name, "")
        if self.header != "" and (self.overwrite or self.header not in call.metadata):
            call.set_metadata(self.header, self.value)
