"""`python -m tests.upgrade.two_builds OLD_ROOT`: take-overs between the build in OLD_ROOT and this one, both ways, under load.

Run by two_builds.sh, which makes the old build."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.upgrade.mesh import Build, faults, temporary_mesh

ROUNDS = 4
# Judged by the callers' daemon, which says so to the other one, whichever build that is.
CHAIN = """\
apiVersion: mrpc/v1alpha1
kind: PolicyChain
metadata: {name: guard}
spec:
  selector: {service: upgrade.Sequence}
  side: client
  policies:
    - {name: nobody, use: access_control, config: {field: caller, deny: [nobody]}}
"""


def main() -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as chain:
        chain.write(CHAIN)
        chain.flush()
        return run(Build(Path(sys.argv[1])), Build(), ("--config", chain.name))


def run(old: Build, new: Build, flags: tuple[str, ...]) -> int:
    for two_hosts in (False, True):
        with temporary_mesh(two_hosts, old, flags) as mesh:
            mesh.add_caller("small", 3, 64)
            mesh.add_caller("large", 1, 8 << 20)
            for build in [new, old] * ROUNDS:
                for daemon in mesh.daemons:
                    daemon.take_over(build=build)
                mesh.mark()
            wrong = faults(*mesh.finish())
        where = "two hosts" if two_hosts else "one host"
        print(f"{where}: {ROUNDS} times old -> new -> old, {'; '.join(wrong) or 'no call failed, lost or doubled'}")
        if wrong:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
