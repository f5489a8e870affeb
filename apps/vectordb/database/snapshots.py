"""Snapshots by generation: a folder with a manifest, and for each collection its index and its points.

A snapshot is written beside (`.tmp`), every file synced, then renamed, and the folder above synced: it is there whole or not at
all. Generation g holds what was logged before the segment wal-g. Two good generations are kept with the segments from the older
one on, so that a snapshot that turns out damaged costs time and nothing else. A collection that did not change since the last
snapshot is a second name of its files there.
"""
from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from . import frames
from .contents import Contents
from .cut import Cut, Writing
from .disk import Disk, translated
from .errors import Damaged, DatabaseError
from .records import pb
from .segments import PointsFile, write_points
from .sparse import files
from .wal import segment_path, segments

MAGIC = b"MRPCVSNP"
log = logging.getLogger(__name__)


def snapshot_path(folder: Path, generation: int) -> Path:
    return folder / f"snapshot-{generation:010}"


def generations(folder: Path) -> list[int]:
    """Generations of the complete snapshots in the folder, newest first."""
    return sorted((int(path.name[9:]) for path in folder.glob("snapshot-*") if path.name[9:].isdigit()), reverse=True)


def remove_leftovers(folder: Path) -> None:
    """What a process that ended half way has left: it never counted."""
    for path in (*folder.glob("snapshot-*.tmp"), *folder.glob("wal-*.new")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write(disk: Disk, folder: Path, manifest: pb.Manifest, cuts: list[Cut], writing: Writing) -> None:
    """Writes a snapshot of what was cut, and lets the contents use it. writing: the writer's lock. DiskFull, Damaged: nothing stays."""
    final = snapshot_path(folder, manifest.generation)
    aside = final.with_suffix(".tmp")
    with translated(final):
        try:
            disk.make_folder(aside)
            entries = [_write_collection(disk, aside, cut) for cut in cuts]
            manifest.collections.extend(entries)
            _write_manifest(disk, aside / "manifest", manifest)
            disk.sync_folder(aside)
            disk.rename(aside, final)
            disk.sync_folder(folder)
        except Exception:
            shutil.rmtree(aside, ignore_errors=True)
            raise
    for cut, entry in zip(cuts, entries, strict=True):
        if cut.unchanged:
            cut.move(final)
        else:
            points = PointsFile(_file(final, cut.number, "points"), entry, written_now=True)
            cut.settle(final, entry, points, _file(final, cut.number, "resting"), writing)


FILES = ("index", "points", "resting")


def _file(folder: Path, number: int, kind: str) -> Path:
    return folder / f"collection-{number}.{kind}"


def _write_collection(disk: Disk, folder: Path, cut: Cut) -> pb.Collection:
    if cut.unchanged:
        for kind in (*FILES, "sparse") if cut.saved.entry.sparse_size else FILES:
            disk.link(_file(cut.saved.folder, cut.number, kind), _file(folder, cut.number, kind))
        return cut.saved.entry
    entry = cut.describe()
    index = _file(folder, cut.number, "index")
    disk.step("save index")
    cut.save_index(index)  # first: until then the index keeps what it replaces
    write_points(disk, _file(folder, cut.number, "points"), cut.namespaces(), entry)
    cut.save_resting(disk, _file(folder, cut.number, "resting"), entry)
    cut.save_sparse(disk, _file(folder, cut.number, "sparse"), entry)
    fd = os.open(index, os.O_RDONLY | os.O_CLOEXEC)
    try:
        disk.sync(fd)
    finally:
        os.close(fd)
    return entry


def _write_manifest(disk: Disk, path: Path, manifest: pb.Manifest) -> None:
    fd = disk.create(path)
    try:
        header = frames.header(MAGIC, manifest.generation, 1)
        disk.write(fd, [header, *frames.encode(manifest.SerializeToString(), 1, 0, more=False)], 0)
        disk.sync(fd)
    finally:
        os.close(fd)


def load(path: Path, generation: int | None, index_type: Any, clock: Any) -> tuple[pb.Manifest, list[Contents]]:
    """What the snapshot in a folder holds. Damaged when it is of another generation, or any of its files is not what was written."""
    manifest = _read_manifest(path / "manifest", generation)
    return manifest, [_load_collection(path, entry, index_type, clock) for entry in manifest.collections]


def _read_manifest(path: Path, generation: int | None) -> pb.Manifest:
    reader, found, _ = frames.open_file(path, MAGIC)
    bodies = list(reader)
    if generation not in (None, found) or len(bodies) != 1:
        raise Damaged(f"{path}: offset {frames.HEADER.size}: not the manifest of generation {generation or found}, or its checksum is wrong")
    return pb.Manifest.FromString(bytes(bodies[0][0]))


def _load_collection(folder: Path, entry: pb.Collection, index_type: Any, clock: Any) -> Contents:
    points = PointsFile(_file(folder, entry.number, "points"), entry)
    path = _file(folder, entry.number, "index")
    try:
        index = index_type.load(str(path))
    except (ValueError, OSError) as error:
        raise Damaged(f"{path}: {error}") from error
    contents = Contents(entry.number, entry.created, index_type, clock, index)
    contents.sparse = files.load(_file(folder, entry.number, "sparse"), contents.config.sparse, entry)
    contents.restore_parties(entry)
    contents.settle(contents.stamp, folder, entry, points)
    contents.resting.adopt(_file(folder, entry.number, "resting"), entry)
    return contents


def remove_older(disk: Disk, folder: Path, generation: int) -> None:
    """Removes what is older than the generation. A failure leaves files that the next one removes."""
    try:
        with translated(folder):
            for old in segments(folder):
                if old < generation:
                    disk.remove(segment_path(folder, old))
            for old in generations(folder):
                if old < generation:
                    leaving = snapshot_path(folder, old).with_suffix(".tmp")
                    disk.rename(snapshot_path(folder, old), leaving)  # so that nobody takes half of it for a snapshot
                    shutil.rmtree(leaving)
    except DatabaseError as error:
        log.warning("cannot remove files that are no longer needed: %s", error)
