"""Places in the order of a Z-curve over longitude and latitude: what lies in a box is a few runs of them.

A cell is 360/65536 by 180/65536 degrees; its code has the bits of both numbers in turn, so that each quarter of the map, each quarter of
that, and so on, is one range of codes.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

BITS = 16        # of each coordinate
RANGES_MAX = 64  # of codes: more are nearer to the box, and take longer to find


class Box(NamedTuple):
    """In degrees, west <= east."""

    west: float
    south: float
    east: float
    north: float


def codes(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """u32[n] of places, f64[n] in degrees."""
    return _spread(_cell(lon, 360)) | _spread(_cell(lat, 180)) << np.uint32(1)


def near(ordered: np.ndarray, boxes: Iterable[Box]) -> np.ndarray:
    """Where in ascending codes u32[n] those in the boxes stand, and some others: i64[m], some twice where boxes touch."""
    runs = [np.empty(0, np.int64)]
    for box in boxes:
        first, last = np.array(_ranges(box), np.uint32).reshape(-1, 2).T
        bounds = zip(np.searchsorted(ordered, first).tolist(), np.searchsorted(ordered, last, "right").tolist(), strict=True)
        runs.extend(np.arange(start, end) for start, end in bounds if start < end)
    return np.concatenate(runs)


def _cell(degrees: np.ndarray, span: int) -> np.ndarray:
    return np.clip((degrees / span + 0.5) * 2**BITS, 0, 2**BITS - 1).astype(np.uint32)


def _spread(cell: np.ndarray) -> np.ndarray:
    """Bits with a gap behind each."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        cell = (cell | cell << np.uint32(shift)) & np.uint32(mask)
    return cell


def _ranges(box: Box) -> list[tuple[int, int]]:
    """Of codes, first and last, that cover the box."""
    if box.south > box.north:
        return []
    west, east = _cell(np.array([box.west, box.east]), 360).tolist()
    south, north = _cell(np.array([box.south, box.north]), 180).tolist()
    inside: list[tuple[int, int]] = []
    crossing = [(0, 0, 0)]  # quarters of quarters: column, row, code
    bits = BITS
    while bits and crossing and len(inside) + 4 * len(crossing) <= RANGES_MAX:
        bits -= 1
        parents, crossing = crossing, []
        for x, y, code in ((2 * x + part % 2, 2 * y + part // 2, 4 * code + part) for x, y, code in parents for part in range(4)):
            left, right, low, high = x << bits, ((x + 1) << bits) - 1, y << bits, ((y + 1) << bits) - 1
            if left > east or right < west or low > north or high < south:
                continue
            if west <= left and right <= east and south <= low and high <= north:
                inside.append(_codes_in(code, bits))
            else:
                crossing.append((x, y, code))
    return inside + [_codes_in(code, bits) for _, _, code in crossing]


def _codes_in(quarter: int, bits: int) -> tuple[int, int]:
    return quarter << 2 * bits, ((quarter + 1) << 2 * bits) - 1
