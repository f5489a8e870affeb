"""A database of the client's own, in its process: for tests and trials, as qdrant_client's local mode. No mesh, no service."""
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from .. import transport
from .exceptions import refused
from .reasons import Reason

OWN_NAME = "local"


class Local:
    """path: a folder; None: in memory. tenant: who calls, and administers."""

    def __init__(self, path: str | None, tenant: str, system: transport.Transport) -> None:
        from ..database import Database  # a client of a service needs none of this
        from ..service import SERVICERS

        self._tenant = tenant or OWN_NAME
        self._database = Database.open(path, background=path is not None)
        self._servicers = {name: make(self._database, system, (self._tenant,), None) for name, make in SERVICERS.items()}

    def close(self) -> None:
        self._database.close()

    def stub(self, service: str) -> Any:
        """The service's methods as a stub has them."""
        servicer = self._servicers[service]
        return SimpleNamespace(**{name: self._method(getattr(servicer, name)) for name in servicer.METHODS})

    def _method(self, method: Callable[[str, Any], Any]) -> Callable[..., Any]:
        from ..statuses import describe

        def call(request: Any, **_: Any) -> Any:
            try:
                return method(self._tenant, request)
            except Exception as error:
                code, text, reason, figures = describe(error)
                raise refused(code, text, Reason(reason, figures)) from error

        return call
