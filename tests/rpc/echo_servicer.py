"""A servicer whose handler does what the request's `command` says."""

from __future__ import annotations

import threading
from typing import Any

import echo_mrpc
import mrpc

WAIT_SECONDS = 30


class EchoServicer(echo_mrpc.EchoServicer):
    def __init__(self) -> None:
        self.entered = threading.Event()  # a handler that waits has begun
        self.ended = threading.Event()  # a call that waited has ended for its handler
        self.release = threading.Event()  # lets handlers of "wait" return
        self.seen: Any = None  # what the last handler found out

    def Echo(self, request: Any, context: Any) -> Any:
        if request.command:
            special = getattr(self, "do_" + request.command)(request, context)
            if special is not None:
                return special
        return echo_mrpc.EchoReply(text=request.text, payload=request.payload, numbers=request.numbers)

    def do_abort(self, request: Any, context: Any) -> None:
        context.abort(mrpc.StatusCode.NOT_FOUND, "no such " + request.text)

    def do_abort_unavailable(self, request: Any, context: Any) -> None:
        self.seen = (self.seen or 0) + 1
        context.abort(mrpc.StatusCode.UNAVAILABLE, request.text)

    def do_abort_swallowed(self, request: Any, context: Any) -> None:
        try:
            context.abort(mrpc.StatusCode.NOT_FOUND, "swallowed")
        except Exception:
            return

    def do_rich(self, request: Any, context: Any) -> None:
        class Rich(mrpc.Status):
            code = mrpc.StatusCode.FAILED_PRECONDITION
            details = "rich"
            trailing_metadata = (("grpc-status-details-bin", b"\x08\x09\x12\x04rich"), ("other", "1"))

        context.abort_with_status(Rich())

    def do_raise(self, request: Any, context: Any) -> None:
        raise KeyError(request.text)

    def do_set_code(self, request: Any, context: Any) -> None:
        context.set_code(mrpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details("set, not raised")
        self.seen = (context.code(), context.details())

    def do_wrong_type(self, request: Any, context: Any) -> Any:
        return request

    def do_metadata(self, request: Any, context: Any) -> None:
        self.seen = [tuple(pair) for pair in context.invocation_metadata()]
        context.send_initial_metadata([("first", "1"), ("first-bin", b"\x00\xff")])
        context.set_trailing_metadata([("last", "2"), ("last-bin", b"\xfe")])

    def do_time_remaining(self, request: Any, context: Any) -> None:
        self.seen = context.time_remaining()

    def do_thread(self, request: Any, context: Any) -> Any:
        return echo_mrpc.EchoReply(text=threading.current_thread().name)

    def do_peer(self, request: Any, context: Any) -> Any:
        return echo_mrpc.EchoReply(text=context.peer())

    def do_wait(self, request: Any, context: Any) -> None:
        self.entered.set()
        assert self.release.wait(WAIT_SECONDS)

    def do_wait_end(self, request: Any, context: Any) -> None:
        """Waits until the call has ended for the handler: cancelled, or past its deadline."""
        self.ended.clear()
        over = threading.Event()
        assert context.add_callback(over.set)
        self.entered.set()
        assert over.wait(WAIT_SECONDS)
        self.seen = context.is_active()
        self.ended.set()

    def do_empty(self, request: Any, context: Any) -> Any:
        array = mrpc.empty(1 << 16, "float32")
        array[:] = 7
        return echo_mrpc.EchoReply(numbers=array)
