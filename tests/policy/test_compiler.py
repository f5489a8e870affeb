"""The compiler's process: what it makes, what it is killed for, what it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mrpc_service.policy import cache
from mrpc_service.policy.build import BuildError, build, check
from mrpc_service.policy.compiler import Compiler
from mrpc_service.policy.compiler_api import Target
from mrpc_service.policy.elf import ElfError, read_symbols
from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.front import translate
from mrpc_service.policy.source import parse

from . import images, programs, sample
from .test_compiled import RATE_LIMIT, policy

BUY = Target("sample.Shop", "Buy", sample.SCHEMA)
LAYOUTS = {each.DESCRIPTOR.full_name: images.message_layout(each.DESCRIPTOR) for each in (sample.Request, sample.Reply)}


def layouts(schema: bytes, message: str) -> dict[str, Any]:
    return LAYOUTS[message]


@pytest.fixture
async def compiler(tmp_path: Path) -> AsyncIterator[Compiler]:
    made = Compiler(tmp_path / "compiled", layouts=layouts)
    yield made
    await made.close()


async def compiled(compiler: Compiler, text: str, **config: Any) -> dict[str, Any]:
    program = await compiler.load(text, "p.py")
    return dict(await compiler.compile(program, program.check_config(config), BUY))


async def test_what_it_tells_of_a_program(compiler: Compiler) -> None:
    program = await compiler.load(RATE_LIMIT, "rate_limit.py")
    assert (program.name, program.file) == ("RateLimit", "rate_limit.py")
    assert program.summary == "Deny what comes too fast: a token bucket for each client."
    assert program.config_fields == {"rate_per_s": "float", "burst": "float", "per": "Scope"}
    assert program.live_fields == {"rate_per_s", "burst"}
    assert not program.needs_layout
    assert program.check_config({"burst": 5}) == {"rate_per_s": 1000.0, "burst": 5.0, "per": ("client",)}
    with pytest.raises(ValueError, match="did you mean 'burst'"):
        program.check_config({"brust": 5})


async def test_the_spec(compiler: Compiler) -> None:
    spec = await compiled(compiler, RATE_LIMIT, per=["tenant", "metadata:region"])
    assert spec["config"] == [{"name": "rate_per_s", "type": "float", "offset": 0}, {"name": "burst", "type": "float", "offset": 8}]
    assert spec["config_bytes"] == 16
    assert spec["state"] == [{"scope": ["tenant", "metadata:region"], "fields": [
        {"name": "tokens", "type": "float", "initial": "burst"}, {"name": "filled_ns", "type": "int", "initial": 0}]}]
    assert (spec["hooks"], spec["needs_layout"], spec["on_fault"], spec["reads"]) == (["request"], False, "closed", [])


async def test_reads_and_writes(compiler: Compiler) -> None:
    text = policy("request.user.tier = request.user.name\nrequest.number += len(request.blob)\nx = call.metadata.get('who')")
    spec = await compiled(compiler, text)
    assert spec["reads"] == ["metadata.who", "request.blob", "request.number", "request.user.name"]
    assert spec["writes"] == [{"field": "request.user.tier", "kind": "text"}, {"field": "request.number", "kind": "int"}]
    assert (spec["needs_layout"], spec["reads_bytes"]) == (True, False)
    assert (await compiled(compiler, policy("x = request.blob == 'a'")))["reads_bytes"]


@pytest.mark.parametrize("seed", range(4))
def test_no_object_wants_a_symbol(seed: int, tmp_path: Path) -> None:
    text, _ = translate(parse(programs.Maker(seed).program(), "p.py"), {}, LAYOUTS["sample.Request"], LAYOUTS["sample.Reply"])
    symbols = read_symbols(build(text, tmp_path))
    assert (symbols.undefined, symbols.needed, symbols.constructors) == ([], 0, False)
    assert sorted(symbols.defined) == ["mrpc_on_request", "mrpc_policy_abi"]


def test_an_object_that_wants_others_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="evil"):
        build("extern int evil(void); int mrpc_on_end(void* f) { return evil(); }", tmp_path)
    with pytest.raises(BuildError, match="wants|exports"):
        build("__attribute__((constructor)) static void run(void) { __builtin_trap(); }", tmp_path)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(10), b"MZ" + bytes(100)])
def test_what_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(ElfError):
        read_symbols(data)
    with pytest.raises(BuildError, match="no shared object"):
        check(data)


# ---- a compiler that misbehaves ------------------------------------------------------------------------------------------


def fake_cc(tmp_path: Path, body: str) -> str:
    path = tmp_path / "fake-cc"
    path.write_text(f"#!{sys.executable}\nimport os, sys, time\n{body}\n")
    path.chmod(0o755)
    return str(path)


def ends(pid: int) -> bool:
    """Whether it has ended, or does soon: it was killed, and may not know yet."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


async def test_a_compile_that_hangs_is_killed_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "pid"
    hangs = tmp_path / "hangs"
    hangs.write_text(f"#!/bin/sh\necho $$ > {told}\nexec sleep 1000\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("CC", str(hangs))
    compiler = Compiler(tmp_path / "compiled", layouts=layouts, wall_s=4.0)
    program = await compiler.load(RATE_LIMIT, "p.py")
    worker = compiler.worker_pid
    with pytest.raises(PolicyError, match="p.py: was not compiled within 4 s"):
        await compiler.compile(program, {}, BUY)
    assert worker is not None and ends(worker)
    assert ends(int(told.read_text()))
    monkeypatch.delenv("CC")
    assert (await compiled(compiler, RATE_LIMIT))["object"]  # the next one has a new worker
    await compiler.close()


async def test_a_compile_that_eats_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", fake_cc(tmp_path, "held = []\nwhile True:\n    held.append(bytes(1 << 24))"))
    compiler = Compiler(tmp_path / "compiled", layouts=layouts, memory_bytes=1 << 29)
    program = await compiler.load(RATE_LIMIT, "p.py")
    with pytest.raises(PolicyError, match="p.py: .* needs more memory or time"):
        await compiler.compile(program, {}, BUY)
    await compiler.close()


async def test_a_compiler_that_fails_or_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", fake_cc(tmp_path, "sys.exit('error: out of coffee')"))
    compiler = Compiler(tmp_path / "compiled", layouts=layouts)
    program = await compiler.load(RATE_LIMIT, "p.py")
    with pytest.raises(PolicyError, match="out of coffee"):
        await compiler.compile(program, {}, BUY)
    await compiler.close()
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PolicyError, match="no C compiler; .*apt-get install gcc"):
        await compiler.compile(program, {}, BUY)
    await compiler.close()


async def test_a_worker_that_dies_is_replaced(compiler: Compiler) -> None:
    program = await compiler.load(RATE_LIMIT, "p.py")
    assert compiler.worker_pid is not None
    os.kill(compiler.worker_pid, 9)
    with contextlib.suppress(PolicyError):  # the job that it dies under is lost, if nobody saw it die before
        await compiler.load(RATE_LIMIT, "p.py")
    assert await compiler.compile(program, {}, BUY)


async def test_an_idle_worker_ends(tmp_path: Path) -> None:
    compiler = Compiler(tmp_path / "compiled", layouts=layouts, idle_s=0.0)
    await compiler.load(RATE_LIMIT, "p.py")
    worker = compiler._worker
    assert worker is not None
    assert await asyncio.wait_for(worker.wait(), 30) == 0
    assert (await compiler.load(RATE_LIMIT, "p.py")).name == "RateLimit"
    await compiler.close()


async def test_a_caller_who_gives_up_does_not_confuse_the_next(compiler: Compiler) -> None:
    task = asyncio.ensure_future(compiled(compiler, RATE_LIMIT))
    while compiler.worker_pid is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await compiler.load(policy("return"), "other.py")).name == "P"


# ---- the cache ----------------------------------------------------------------------------------------------------------


async def test_one_program_is_built_once(compiler: Compiler) -> None:
    first, second = await compiled(compiler, RATE_LIMIT), await compiled(compiler, RATE_LIMIT)
    assert first == second
    assert len(list(compiler.directory.iterdir())) == 1
    assert stat.S_IMODE(compiler.directory.stat().st_mode) == 0o700


async def test_an_object_that_was_changed_is_not_used(compiler: Compiler) -> None:
    path = Path((await compiled(compiler, RATE_LIMIT))["object"])
    good = path.read_bytes()
    path.chmod(0o700)
    path.write_bytes(good[:-1] + b"!")
    assert (await compiled(compiler, RATE_LIMIT))["object"] == str(path)
    assert path.read_bytes() == good


async def test_a_directory_that_others_can_write_is_refused(compiler: Compiler) -> None:
    compiler.directory.mkdir()
    compiler.directory.chmod(0o777)
    with pytest.raises(PolicyError, match="chmod 700"):
        await compiled(compiler, RATE_LIMIT)


def test_the_least_recently_used_go_first_and_none_in_use(tmp_path: Path) -> None:
    paths = [cache.keep(tmp_path, f"k{n}", bytes([n])) for n in range(5)]
    for n, path in enumerate(paths):
        os.utime(path, (n, n))
    assert cache.prune(tmp_path, {str(paths[0])}, 2) == 3
    assert sorted(tmp_path.iterdir()) == sorted([paths[0], paths[4]])


@pytest.mark.slow
async def test_the_worker_does_not_grow(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """200 distinct programs; by a C compiler that gives everyone the same object, since the worker's own memory is the question."""
    def resident_kib(pid: int) -> int:
        return next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))

    same = tmp_path / "same.so"
    same.write_bytes(Path((await compiled(compiler, RATE_LIMIT))["object"]).read_bytes())
    quick = tmp_path / "quick"
    quick.write_text(f'#!/bin/sh\ncat > /dev/null\nwhile [ "$1" != -o ]; do shift; done\ncp {same} "$2"\n')
    quick.chmod(0o755)
    monkeypatch.setenv("CC", str(quick))
    await compiler.close()  # the worker has the environment that it was started with
    sizes = []
    for n in range(200):
        await compiled(compiler, RATE_LIMIT.replace("self.tokens -= 1.0", f"self.tokens -= {n}.25"))
        assert compiler.worker_pid is not None
        sizes.append(resident_kib(compiler.worker_pid))
    assert len(list(compiler.directory.iterdir())) == 201
    assert sizes[-1] - sizes[49] < 2048, sizes[::25]
