"""Who may call a shard: one app, the router, and of it only what it says now.

A write of a router that has ended may still be on its way, or at work, when the next router begins. So each call names the epoch in
which the router joined this shard, and joining ends the epoch before: from then on calls of it are refused, and those at work are waited
for. A shard belongs to the first router that joins it; its mark lies in the database's directory.
"""
from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..database import Database
from ..database.errors import Closed
from .errors import OtherRouter
from .wire import EPOCH_KEY

DRAIN_S = 20.0
OWNER_FILE = "ROUTER"


class Gate:
    """app: the router's name on the mesh."""

    def __init__(self, app: str, database: Database, folder: Path, codes: Any) -> None:
        self._app, self._database, self._owner, self._codes = app, database, folder / OWNER_FILE, codes
        self._changed = threading.Condition()
        self._epoch = 0
        self._working = 0

    def guarded(self, serve: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """The handler behind the gate."""

        def enter(request: Any, context: Any) -> Any:
            self._check_app(context)
            with self._changed:
                if not self._epoch or dict(context.invocation_metadata()).get(EPOCH_KEY) != str(self._epoch):
                    context.abort(self._codes.UNAVAILABLE, "the shard waits for its router to join it")
                self._working += 1
            try:
                return serve(request, context)
            finally:
                with self._changed:
                    self._working -= 1
                    self._changed.notify_all()

        return enter

    def joining(self, context: Any, join: Callable[[], Any]) -> Any:
        """Runs it for the router alone."""
        self._check_app(context)
        return join()

    def join(self, router: str, epoch: int, empty: bool) -> None:
        """Begins an epoch. OtherRouter; Closed when calls of the last one do not end."""
        with self._changed:
            self._check_owner(router)
            if epoch <= self._epoch:
                raise OtherRouter(f"epoch {epoch} of the router is over")
            self._epoch = 0
            if not self._changed.wait_for(lambda: not self._working, DRAIN_S):
                raise Closed("calls of the router before are still at work; join again")
            if empty:
                for name in self._database.collections():
                    self._database.drop_collection(name)
            self._epoch = epoch

    def _check_app(self, context: Any) -> None:
        if context.app() != self._app:
            context.abort(self._codes.PERMISSION_DENIED, f"this is a shard of {self._app!r}: call that")

    def _check_owner(self, router: str) -> None:
        """The shard is the router's from now on. OtherRouter when it is another's, or holds what no router brought."""
        try:
            owner = self._owner.read_text().strip()
        except FileNotFoundError:
            if self._database.collections():
                raise OtherRouter("the directory holds collections that no router brought: begin with an empty one, and import them") from None
            self._owner.write_text(router + "\n")
        else:
            if owner != router:
                raise OtherRouter("the shard belongs to another router, whose ledger knows who is where")
