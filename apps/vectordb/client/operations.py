"""Methods that are written once, as coroutines, for the client that waits and for the one of asyncio.

Such a coroutine awaits nothing but calls. Those of a Connection come back with the reply without ever giving way, so that it runs
to its end at once; those of an AsyncConnection are asyncio's to run.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from .advice import unknown_argument

if TYPE_CHECKING:
    from .connection import AsyncConnection, Connection

P = ParamSpec("P")
T = TypeVar("T")


class operation(Generic[P, T]):
    """Makes a method of a coroutine function. Its argument `timeout`, seconds that each call may take, is seen to here."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        parameters = inspect.signature(steps).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())

        def call(connection: Any, *given: Any, timeout: float | None = None, **named: Any) -> Any:
            if not (takes_any or named.keys() <= parameters.keys()):
                raise TypeError(unknown_argument(steps.__name__, named.keys() - parameters.keys()))
            if timeout is not None:
                connection = connection._waiting(timeout)
            return connection._run(steps(connection, *given, **named))

        call.__name__, call.__qualname__, call.__doc__, call.__module__ = steps.__name__, steps.__qualname__, steps.__doc__, steps.__module__
        call.__signature__ = inspect.signature(steps)  # type: ignore[attr-defined]
        self._call = call

    @overload
    def __get__(self, instance: Connection, owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: AsyncConnection, owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, instance: None, owner: Any = None) -> Callable[..., Any]: ...
    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._call.__get__(instance, owner)


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never gives way."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a method of the client awaits nothing but calls")
