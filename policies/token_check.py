"""Let only calls pass that carry a JSON web token (EdDSA or RS256) which one of `keys` has signed; put its subject into metadata."""

from mrpc_service.policy import UNAUTHENTICATED, Duration, Keys, Policy, deny, verify_token


class TokenCheck(Policy):
    keys: Keys  # a JSON web key set; to rotate, apply one that has the new key too, later one without the old
    audience: str = ""
    issuer: str = ""
    header: str = "authorization"
    leeway: Duration = "30s"
    subject_to: str = "token-subject"

    def on_request(self, call, request):
        if not call.first:
            return
        token = verify_token(call.metadata.get(self.header), self.keys, audience=self.audience, issuer=self.issuer, leeway_ns=self.leeway)
        if not token.valid:
            return deny(UNAUTHENTICATED, token.problem)
        call.set_metadata(self.subject_to, token.subject)
