"""Just enough of ELF to see what a shared object asks of whoever loads it. Input is what our own linker wrote, and is still checked."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SHT_DYNSYM, SHT_DYNAMIC, SHT_INIT_ARRAY, SHT_FINI_ARRAY = 11, 6, 14, 15
DT_NEEDED = 1
SHN_UNDEF = 0


class ElfError(Exception):
    """Not a shared object of 64 bits, little-endian."""


@dataclass(frozen=True)
class Symbols:
    defined: list[str]    # for others to find
    undefined: list[str]  # wanted of others
    needed: int           # other shared objects
    constructors: bool    # code that would run when it is loaded


def read_symbols(data: bytes) -> Symbols:
    try:
        return _read(data)
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"truncated: {error}") from error


def _read(data: bytes) -> Symbols:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ElfError("not an ELF file of 64 bits, little-endian")
    table, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, table + i * size) for i in range(count)]
    defined, undefined, needed, constructors = [], [], 0, False
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind == SHT_DYNSYM:
            names = sections[link][4]
            for at in range(offset + entry, offset + length, entry):
                name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", data, at)
                start = names + name
                (undefined if section == SHN_UNDEF else defined).append(data[start:data.index(b"\0", start)].decode())
        elif kind == SHT_DYNAMIC:
            needed += sum(struct.unpack_from("<q", data, at)[0] == DT_NEEDED for at in range(offset, offset + length, 16))
        constructors |= kind in (SHT_INIT_ARRAY, SHT_FINI_ARRAY)
    return Symbols(defined, undefined, needed, constructors)
