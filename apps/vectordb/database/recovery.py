"""Opening a directory: the newest good snapshot, and the log since.

A snapshot that is damaged is passed over for the one before, whose segments are still there. A torn tail of the log, which nobody
was told was written, is cut off. Anything else that does not fit is an error that says so and changes nothing: losing what was
acknowledged is a decision for whoever runs the database.
"""
from __future__ import annotations

import logging
import time
from pathlib import Path

from google.protobuf.message import DecodeError

from . import snapshots
from .disk import Disk
from .errors import Damaged
from .frames import Reader
from .model import Recovery
from .records import Change
from .state import State
from .wal import Policy, Wal, read_segment, segment_path, segments

log = logging.getLogger(__name__)
ADVICE = "; restore the directory from a backup, or move it aside and import tenants from their exports"


class Recoverer:
    def __init__(self, disk: Disk, folder: Path, state: State) -> None:
        self._disk, self._folder, self._state = disk, folder, state
        self._notes: list[str] = []
        self._sequence = self._replayed = 0

    def run(self, policy: Policy) -> tuple[Wal, Recovery, list[int]]:
        """Fills the state. (the log to go on with, what was found, generations of good snapshots, newest first)"""
        began = time.monotonic()
        snapshots.remove_leftovers(self._folder)
        wal = Wal(self._disk, self._folder, policy)
        generation, last = self.read()
        if last is None:
            wal.begin(0)
        else:
            wal.resume(segments(self._folder)[-1], last.end, self._sequence, last.salt)
        found = Recovery(generation, self._replayed, time.monotonic() - began, tuple(self._notes))
        return wal, found, [generation] if generation else []

    def read(self) -> tuple[int, Reader | None]:
        """Fills the state, and changes no file. (generation of the snapshot, 0 for none; who has read the last segment)"""
        generation = self._load_snapshot()
        if generation == 0 and not segments(self._folder):
            return 0, None
        return generation, self._replay([found for found in segments(self._folder) if found >= generation])

    def _note(self, text: str) -> None:
        log.warning("%s", text)
        self._notes.append(text)

    def _load_snapshot(self) -> int:
        found = snapshots.generations(self._folder)
        for generation in found:
            try:
                path = snapshots.snapshot_path(self._folder, generation)
                manifest, contents = snapshots.load(path, generation, self._state.index_type, self._state.clock)
            except Damaged as error:
                self._note(f"{error}; going on from the snapshot before and a longer log")
                continue
            self._state.contents = {one.number: one for one in contents}
            self._state.next_number, self._sequence = manifest.next_collection, manifest.sequence
            return generation
        if found and segments(self._folder)[:1] != [0]:
            raise Damaged(f"{self._folder}: no snapshot is good ({'; '.join(self._notes)}){ADVICE}")
        return 0

    def _replay(self, generations: list[int]) -> Reader:
        if not generations:
            raise Damaged(f"{self._folder}: the segment of the log that follows the snapshot is missing{ADVICE}")
        for at, generation in enumerate(generations):
            last = at == len(generations) - 1
            reader = self._replay_segment(generation, last)
        return reader

    def _replay_segment(self, generation: int, last: bool) -> Reader:
        """Who has read its good part."""
        path = segment_path(self._folder, generation)
        reader, first = read_segment(path, generation)
        if first != self._sequence + 1:
            raise Damaged(f"{path}: begins with record {first}, {self._sequence + 1} was expected: a file is missing or cut short{ADVICE}")
        for bodies in reader:
            for body in bodies:
                self._apply(path, body)
            self._replayed += 1
        self._sequence = reader.sequence
        if (damaged_at := reader.damage()) is not None:
            raise Damaged(f"{path}: offset {damaged_at}: record {reader.sequence + 1} is damaged, and good ones follow that were "
                          f"acknowledged after it{ADVICE}")
        if last and (torn := reader.torn()):
            self._note(f"{path}: offset {reader.end}: cut off {torn} bytes of a write that was never acknowledged")
        return reader

    def _apply(self, path: Path, body: memoryview) -> None:
        try:
            self._state.apply(Change.FromString(bytes(body)))
        except (DecodeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise Damaged(f"{path}: a record near {self._sequence + 1} cannot be done again: {error!r}{ADVICE}") from error
