"""Policy programs: the language, its compiler, and what the daemon is told of a compiled program.

    language.py   what a policy's file imports
    source.py, subset.py, declare.py   text -> checked declarations
    schema.py, lower.py, expressions.py, functions.py   -> typed IR (ir.py), against message layouts
    emit.py, emit_expr.py, runtime.h    -> freestanding C
    build.py, elf.py, cache.py          -> a shared object without undefined symbols
    worker.py     all of that in a process that can be killed; compiler.py is its client
    interpreter.py   the same class run by CPython
"""

from mrpc_service.policy.language import *  # noqa: F403
from mrpc_service.policy.language import EXPORTS

__all__ = EXPORTS
