"""The compiler as the control plane sees it: awaitable, with all work in a process of its own.

One worker at a time, started at the first job, kept while jobs come, ended after `idle_s` without one. A job that takes longer than
`wall_s`, or whose process dies, is refused, and its process group killed; the next job gets a new worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrpc_service.dataplane_api import MessageLayouts
from mrpc_service.policy import cache
from mrpc_service.policy.compiler_api import Target
from mrpc_service.policy.errors import PolicyError, Problem
from mrpc_service.policy.spec import ProgramSpec
from mrpc_service.policy.values import MISSING, ConfigField, check_config

WALL_S = 10.0
MEMORY_BYTES = 1 << 30
IDLE_S = 30.0
PASSED_ON = ("PATH", "CC", "TMPDIR", "LD_LIBRARY_PATH", "HOME", "COMPILER_PATH")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class LoadedProgram:
    """A file that was parsed and found to be a policy, without a schema yet."""

    name: str  # the class's
    file: str  # as operators know it
    source: str
    source_sha256: str
    summary: str  # the docstring's first line
    hooks: tuple[str, ...]
    reads: tuple[str, ...]  # as they are written
    needs_layout: bool
    fields: Mapping[str, ConfigField]

    @property
    def config_fields(self) -> dict[str, str]:
        """Name -> annotation as written."""
        return {name: field.annotation for name, field in self.fields.items()}

    @property
    def live_fields(self) -> frozenset[str]:
        """Those whose change needs no recompiling."""
        return frozenset(name for name, field in self.fields.items() if field.live)

    def check_config(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All fields with their values, defaults filled in, as Dataplane.apply_chains takes them. ValueError, a line for each fault."""
        return check_config(self.fields, given)


class Compiler:
    """`layouts`: what tells where fields stand, by default the data plane's own."""

    def __init__(self, directory: Path, *, layouts: MessageLayouts | None = None, wall_s: float = WALL_S, memory_bytes: int = MEMORY_BYTES,
                 idle_s: float = IDLE_S, objects_max: int = cache.OBJECTS_MAX):
        self.directory = directory
        self._layouts = layouts
        self._wall_s, self._memory_bytes, self._idle_s, self._objects_max = wall_s, memory_bytes, idle_s, objects_max
        self._in_use: set[str] = set()
        self._turn = asyncio.Lock()
        self._worker: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    @property
    def worker_pid(self) -> int | None:
        return self._worker.pid if self._worker is not None else None

    async def load(self, source: str, file: str) -> LoadedProgram:
        """Parse and check as far as it can be without a schema. PolicyError."""
        told = await self._job({"op": "inspect", "name": file, "source": source})
        fields = {each["name"]: _field(each) for each in told["config"]}
        return LoadedProgram(told["name"], file, source, told["source_sha256"], told["doc"].partition("\n")[0], tuple(told["hooks"]),
                             tuple(told["reads"]), told["needs_layout"], fields)

    async def compile(self, program: LoadedProgram, config: Mapping[str, Any], target: Target | None,
                      previous: ProgramSpec | None = None) -> ProgramSpec:
        """The native form for the messages of `target`, from the cache or new. PolicyError.

        `config`: of check_config. `previous`: what stands now under the same name of the same chain, for upgrade(). A program that reads no
        fields needs no target, and where the spec says `needs_layout: False`, the object fits every method."""
        request = reply = None
        if target is not None and program.needs_layout:
            request, reply = self._message_layouts(target)
        built_in = {name: value for name, value in config.items() if not program.fields[name].live} if config else {}
        spec: ProgramSpec = await self._job({
            "op": "compile", "name": program.file, "source": program.source, "config": built_in, "request": request, "reply": reply,
            "previous": previous, "cache": str(self.directory)})
        self._in_use.add(spec["object"])
        cache.prune(self.directory, self._in_use, self._objects_max)
        return spec

    def forget_unused(self, in_use: set[str]) -> None:
        """Objects that are not in `in_use` may go when there are too many. Say it after each apply."""
        self._in_use = set(in_use)
        cache.prune(self.directory, self._in_use, self._objects_max)

    async def close(self) -> None:
        async with self._turn:
            await self._end()

    def _message_layouts(self, target: Target) -> tuple[Any, Any]:
        from google.protobuf.descriptor_pb2 import FileDescriptorSet

        if self._layouts is None:
            from mrpc_service import _dataplane

            self._layouts = _dataplane.message_layout
        for file in FileDescriptorSet.FromString(target.schema).file:
            prefix = f"{file.package}." if file.package else ""
            for service in file.service:
                for method in service.method if prefix + service.name == target.service else ():
                    if method.name == target.method:
                        names = (method.input_type, method.output_type)
                        request, reply = (_plain(self._layouts(target.schema, name.lstrip("."))) for name in names)
                        return request, reply
        raise PolicyError([Problem(target.service, 0, 0, f"has no method {target.method!r} in its schema", "'mrpc services' lists methods")])

    # ---- the worker --------------------------------------------------------------------------------------------------

    async def _job(self, job: dict[str, Any]) -> Any:
        async with self._turn:
            try:
                answer = await asyncio.wait_for(self._ask(job), self._wall_s)
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
                late = isinstance(error, asyncio.TimeoutError)
                await self._end()
                reason = "ended the compiler: it needs more memory or time than a policy is given"
                if late:
                    reason = f"was not compiled within {self._wall_s:g} s"
                raise PolicyError([Problem(job["name"], 0, 0, reason, "make it smaller, or see whether the C compiler works")]) from error
            except asyncio.CancelledError:
                await self._end()  # an answer that nobody waits for must not meet the next job
                raise
            self._rest()
        if "problems" in answer:
            raise PolicyError.from_json(answer["problems"])
        if "error" in answer:
            raise PolicyError([Problem(job["name"], 0, 0, answer["error"])])
        return answer["done"]

    async def _ask(self, job: dict[str, Any]) -> Any:
        worker = await self._start()
        assert worker.stdin is not None and worker.stdout is not None
        body = json.dumps(job).encode()
        worker.stdin.write(struct.pack("<I", len(body)) + body)
        await worker.stdin.drain()
        size, = struct.unpack("<I", await worker.stdout.readexactly(4))
        return json.loads(await worker.stdout.readexactly(size))

    async def _start(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        worker = self._worker
        if worker is not None and (worker.returncode is not None or worker.stdin is None or worker.stdin.is_closing()):
            await self._end()
        if self._worker is None:
            environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
            self._worker = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "mrpc_service.policy.worker", str(self._memory_bytes), str(int(self._wall_s) + 1),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True, limit=1 << 22,
                env={**environment, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"})
        return self._worker

    def _rest(self) -> None:
        """The worker goes when nothing comes for a while."""
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end_idle)

    def _end_idle(self) -> None:
        if self._worker is not None and not self._turn.locked() and self._worker.stdin is not None:
            self._worker.stdin.close()

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        worker, self._worker = self._worker, None
        if worker is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)  # the C compiler too
        await worker.wait()


def _field(told: dict[str, Any]) -> ConfigField:
    default = MISSING if told["required"] else told["default"]
    if isinstance(default, list) and told["annotation"] in ("Fields", "Scope"):
        default = tuple(default)
    return ConfigField(told["name"], told["annotation"], default, told["doc"], told["line"])


def _plain(layout: dict[str, Any]) -> dict[str, Any]:
    """As JSON: defaults that are bytes go as texts of latin-1."""
    def field(given: dict[str, Any]) -> dict[str, Any]:
        default = given["default"]
        return {**given, "default": default.decode("latin-1") if isinstance(default, bytes) else default}

    messages = {name: {**each, "fields": {key: field(value) for key, value in each["fields"].items()}}
                for name, each in layout["messages"].items()}
    return {**layout, "messages": messages}
