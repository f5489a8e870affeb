"""How long to measure, on what, and where results go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from apps.vectordb import data
from bench.common.report import Report
from bench.vectordb.corpus import Corpus

CLASSES = (500, 2000, 8000)


@dataclass(frozen=True)
class Set:
    """A data set by its name, the edges of its size classes (None: by its own sizes), and who is measured on it beside ours."""

    data: str
    edges: tuple[int, ...] | None
    rivals: tuple[str, ...]


SCANS = ("by-id-faiss", "by-id-numpy", "copy-faiss", "copy-numpy")
ENGINES = ("qdrant", "qdrant-graphs", "postgres", "postgres-partitions")
GRAPHS = ("hnsw-per-tenant", "faiss-hnsw-per-tenant", "hnsw-bitmap", "hnsw-callback")
QUICK_RIVALS = ("by-id-numpy", "ivf-bitmap-512", "ivf-bitmap-1024", "ivf-per-tenant", "hnsw-per-tenant")
TEXT = "text"  # WordNet's glosses, or Debian's package descriptions where it is not installed
FULL_SETS = {
    "synthetic": Set("synthetic", CLASSES, (*SCANS, "ivf-bitmap-256", "ivf-bitmap-512", "ivf-bitmap-1024", "ivf-per-tenant", *GRAPHS, *ENGINES)),
    "text": Set(TEXT, None, (*SCANS, "ivf-bitmap-256", "ivf-bitmap-512", "ivf-bitmap-1024", "ivf-per-tenant", *GRAPHS, "qdrant", "postgres")),
    "fashion": Set("fashion-mnist", CLASSES, ("by-id-faiss", "by-id-numpy", "ivf-bitmap-256", "ivf-bitmap-512", "ivf-per-tenant", "hnsw-bitmap")),
    "1m": Set("synthetic-1m", None, ("by-id-numpy", "ivf-bitmap-1024", "ivf-bitmap-2048", "ivf-per-tenant")),
}
QUICK_SETS = {name: Set(full.data, full.edges, tuple(rival for rival in full.rivals if rival in QUICK_RIVALS)) for name, full in FULL_SETS.items()}


@dataclass(frozen=True)
class Scale:
    sets: dict[str, Set]
    passes: int            # over all queries, all systems in turn
    queries: int | None    # of a pass; None: all
    slow_queries: int      # the same of whole engines
    build_seconds: int     # a system that takes longer to build is not measured
    sweep_seconds: int     # nor are further settings of a knob tried after that
    batches: int           # of changes
    calls: int             # of the service, one after another, in a pass
    seconds: float         # of each load of the service
    restarts: int          # of each kind
    batch: int = 1000      # changes in each


FULL = Scale(FULL_SETS, 7, None, 250, 420, 60, 20, 2000, 15.0, 3)
QUICK = Scale(QUICK_SETS, 3, 400, 60, 120, 10, 5, 500, 3.0, 1)


@dataclass
class Bench:
    report: Report
    scale: Scale
    folder: Path                # for the run's own files
    step: Callable[[str], None]  # tells the progress bar what comes
    load: Callable[[str], data.Dataset] = lambda name: data.load_texts() if name == TEXT else data.load(name)
    _folders: dict[str, Path] = field(default_factory=dict)

    def corpus(self, name: str) -> Path:
        """The folder of a set's corpus, made when it is first asked for. Raises MissingSource."""
        if name not in self._folders:
            self.step(f"data {name}")
            of = self.scale.sets[name]
            Corpus.of(self.load(of.data), of.edges).save(self.folder / name)
            self._folders[name] = self.folder / name
        return self._folders[name]
