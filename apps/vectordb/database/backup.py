"""One tenant out of a backup of all: a copy of a database's folder, or of one of its snapshots. It is read and never changed."""
from __future__ import annotations

import time
from pathlib import Path

from . import snapshots
from .contents import Contents
from .database import curator
from .disk import Disk
from .errors import NotFound
from .recovery import Recoverer
from .state import State
from .transfer import export


def export_from(backup: Path, collection: str, tenant: str, path: Path) -> int:
    """Writes the tenant to a file, as Collection.export_tenant(); how many points. NotFound; Damaged for a backup that cannot be read; DiskFull."""
    found = next((each for each in _contents(backup) if each.config.name == collection), None)
    if found is None:
        raise NotFound(f"there is no collection {collection!r} in {backup}")
    return export(found, tenant, path)


def _contents(backup: Path) -> list[Contents]:
    if (backup / "manifest").exists():
        return snapshots.load(backup, None, curator(), time.monotonic)[1]
    state = State(curator(), time.monotonic)
    if Recoverer(Disk(), backup, state).read() == (0, None):
        raise NotFound(f"there is neither a database nor a snapshot in {backup}")
    return list(state.contents.values())
