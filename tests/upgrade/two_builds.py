"""`python -m tests.upgrade.two_builds OLD_ROOT`: take-overs between the build in OLD_ROOT and this one, both ways, under load.

Run by two_builds.sh, which makes the old build."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.upgrade.mesh import Build, faults, temporary_mesh

ROUNDS = 4


def main() -> int:
    old, new = Build(Path(sys.argv[1])), Build()
    for two_hosts in (False, True):
        with temporary_mesh(two_hosts, old) as mesh:
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
