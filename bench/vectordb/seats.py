"""Systems under measurement, each in its process, with a limit on the time of whatever it is told. One that fails or hangs costs its own rows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.common.process import NotStarted
from bench.rpc.systems import Client
from bench.vectordb.scale import Bench

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
WARM_SECONDS, SEARCH_SECONDS, END_SECONDS = 60, 120, 20
BUILDERS = 2  # processes that build at the same time


class Seat:
    """A process of bench.vectordb.worker. Methods raise RuntimeError when it failed or took too long; it is ended then. NotStarted."""

    def __init__(self, name: str, corpus: Path, folder: Path) -> None:
        self.name = name
        self._files = Path(tempfile.mkdtemp(dir=folder))  # short: a Unix socket will lie in it
        self._files.chmod(0o711)  # PostgreSQL's files are another user's when root starts it
        # numpy asks for huge pages under its large arrays. On the heap they would stay when an array is gone, and make what is built there look
        # larger than it is: so large blocks are mapped apart.
        env = {**ONE_THREAD, "TMPDIR": str(self._files), "MALLOC_MMAP_THRESHOLD_": str(128 << 10)}
        self._client = Client([sys.executable, "-m", "bench.vectordb.worker", name, str(corpus)], env, None)
        self.about = self.do("warm", WARM_SECONDS)

    def do(self, work: str, seconds: float, **arguments: Any) -> Any:
        self._idle = False
        try:
            self._client.send(work, **arguments)
            answer = self._client.receive(seconds)
        except RuntimeError:
            self.stop()
            raise
        self._idle = True
        return answer

    def stop(self) -> None:
        """Ends it, and a server that it left behind."""
        with suppress(BrokenPipeError, ValueError):
            self._client.child.process.stdin.close()  # the worker ends what it started
        with suppress(subprocess.TimeoutExpired):
            self._client.child.process.wait(END_SECONDS if self._idle else 0)
        self._client.child.stop()
        for file in self._files.rglob("postmaster.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(file.read_text().partition("\n")[0]), signal.SIGQUIT)
        shutil.rmtree(self._files, ignore_errors=True)

    @property
    def alive(self) -> bool:
        return self._client.child.process.poll() is None


@contextmanager
def seated(bench: Bench, title: str, corpus: str, names: Sequence[str]) -> Iterator[list[Seat]]:
    """Those of `names` that could be built on a corpus, with rows of what that took. The first is built alone, the others two at a time."""
    folder = bench.corpus(corpus)
    with ExitStack() as stack, ThreadPoolExecutor(BUILDERS) as pool:
        def start(name: str) -> Seat | None:
            return _built(bench, stack, title, name, folder)

        first = start(names[0])
        found = [first, *pool.map(start, names[1:])]
        yield [seat for seat in found if seat]


def _built(bench: Bench, stack: ExitStack, title: str, name: str, corpus: Path) -> Seat | None:
    bench.step(f"{title}: build {name}")
    try:
        seat = Seat(name, corpus, bench.folder)
        stack.callback(seat.stop)
        took = seat.do("build", bench.scale.build_seconds)
    except (RuntimeError, NotStarted) as error:
        bench.report.fail(f"{title}, built", name, error)
        return None
    work, system = f"{title}, built", next(iter(seat.about["modes"]))
    bench.report.add(work, system, "time", "s", [took["seconds"]])
    bench.report.add(work, system, "memory over raw vectors", "x", [took["grown_mib"] / took["raw_mib"]])
    if took["disk_mib"]:
        bench.report.add(work, system, "files over raw vectors", "x", [took["disk_mib"] / took["raw_mib"]])
    if "overhead_us" in seat.about:
        bench.report.add(work, system, "a call that finds next to nothing", "us", [seat.about["overhead_us"]])
    return seat
