"""python -m mrpc_service.policy.worker: one process that checks and compiles, so that a hostile source costs only this process.

On stdin and stdout: a length (4 bytes, little-endian), then JSON. A job is {"op": "inspect" | "compile", "name", "source", ...}; its answer
{"done": ...}, {"problems": [...]} or {"error": text}. It ends when stdin does. Whoever started it kills its process group when an answer is late.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from mrpc_service.policy import cache
from mrpc_service.policy.build import FLAGS, BuildError, build, find_compiler
from mrpc_service.policy.errors import PolicyError
from mrpc_service.policy.front import inspect, translate
from mrpc_service.policy.source import parse

JOB_BYTES_MAX = 64 << 20


def main() -> int:
    memory_bytes, cpu_s = int(sys.argv[1]), int(sys.argv[2])
    limit(resource.RLIMIT_AS, memory_bytes)
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, 64 << 20)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints can disturb the answers
    while (job := receive(sys.stdin.buffer)) is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_s, resource.RLIM_INFINITY))
        send(answers, answer(job))
    return 0


def limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def receive(pipe: BinaryIO) -> dict[str, Any] | None:
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size, = struct.unpack("<I", head)
    body = pipe.read(size)
    return json.loads(body) if len(body) == size <= JOB_BYTES_MAX else None


def send(pipe: BinaryIO, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    pipe.write(struct.pack("<I", len(body)) + body)
    pipe.flush()


def answer(job: dict[str, Any]) -> dict[str, Any]:
    try:
        source = parse(job["source"], job["name"])
        return {"done": inspect(source) if job["op"] == "inspect" else compile_job(job)}
    except PolicyError as error:
        return {"problems": error.to_json()}
    except BuildError as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError) as error:
        return {"error": f"needs more {'memory' if isinstance(error, MemoryError) else 'depth'} than a policy is given; make it smaller"}


def compile_job(job: dict[str, Any]) -> dict[str, Any]:
    source = parse(job["source"], job["name"])
    text, spec = translate(source, job["config"], job["request"], job["reply"], job["previous"])
    directory = Path(job["cache"])
    cache.prepare(directory)
    key = digest(text)
    path = cache.look_up(directory, key) or cache.keep(directory, key, build(text, directory))
    spec["object"] = str(path)
    return dict(spec)


def digest(text: str) -> str:
    """Of all that decides what the object will be."""
    command = find_compiler()
    found = os.stat(shutil.which(command[0]) or command[0])
    parts = [*command, *FLAGS, str(found.st_mtime_ns), str(found.st_size), text]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
