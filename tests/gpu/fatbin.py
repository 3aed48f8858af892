"""Leaves in the CUDA provider's library only the code that one kind of device needs.

The library holds each kernel once for every architecture, compressed. What is not needed is zeroed
where it lies, so that nothing moves and the file packs small. A block without code for the device
is nothing new: the library has such for every architecture. Only kernels of large language models
are dropped by their names.

The format is undocumented; every header is checked, and an unknown one is an error.
"""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_BLOCK: Final = struct.Struct("<IHHQ")
_ENTRY: Final = struct.Struct("<HHIQIIHHI")
_MAGIC: Final = 0xBA55ED50
_SECTION: Final = b".nv_fatbin"
# Of an entry: where its architecture stands, and one that no device we look for can run.
_ARCHITECTURE_AT: Final = 28
_NEVER: Final = 75
# Nine tenths of the code for one architecture; a network of dense layers runs none of it.
_UNNEEDED: Final = re.compile(
    rb"flash|fmha|attention|xqa|cutlass|fpA_intB|moe_|3llm7kernels", re.IGNORECASE
)
_FUNCTION: Final = re.compile(rb"\.text\.[A-Za-z0-9_]+")


class FormatError(Exception):
    """The library is not laid out as expected."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One block's code for one architecture: where its header and its code are in the file."""

    header: int
    code: int
    size: int
    architecture: int


@dataclass(frozen=True, slots=True)
class Reduced:
    """What was done: bytes of code before and after."""

    before_bytes: int
    after_bytes: int


def reduce(library: bytearray, architecture: int, *, only_needed: bool = True) -> Reduced:
    """Zero, in place, the code for other architectures; with `only_needed`, what no MLP runs too.

    `architecture` is 90 for compute capability 9.0. Raises FormatError.
    """
    entries = [entry for block in _blocks(library) for entry in block]
    if not any(entry.architecture == architecture for entry in entries):
        known = sorted({entry.architecture for entry in entries})
        msg = f"there is no code for architecture {architecture}, only for {known}"
        raise FormatError(msg)
    kept_bytes = 0
    for entry in entries:
        code = slice(entry.code, entry.code + entry.size)
        if entry.architecture == architecture and not (
            only_needed and _unneeded(bytes(library[code]))
        ):
            kept_bytes += entry.size
            continue
        library[code] = bytes(entry.size)
        struct.pack_into("<I", library, entry.header + _ARCHITECTURE_AT, _NEVER)
    return Reduced(sum(entry.size for entry in entries), kept_bytes)


def _unneeded(code: bytes) -> bool:
    zstandard: Any = importlib.import_module("zstandard")
    names = _FUNCTION.findall(zstandard.ZstdDecompressor().decompressobj().decompress(code))
    return bool(names) and all(_UNNEEDED.search(name) for name in names)


def _blocks(library: bytearray) -> Iterator[list[Entry]]:
    at, end = _section(library)
    while at < end:
        magic, _, header_size, size = _BLOCK.unpack_from(library, at)
        if magic != _MAGIC:
            msg = f"no block of code at {at:#x}"
            raise FormatError(msg)
        begin = at + header_size
        yield list(_entries(library, begin, begin + size))
        at = begin + size
    if at != end:
        msg = f"the last block ends at {at:#x}, its section at {end:#x}"
        raise FormatError(msg)


def _entries(library: bytearray, at: int, end: int) -> Iterator[Entry]:
    while at < end:
        kind, _, header_size, size, *_, architecture = _ENTRY.unpack_from(library, at)
        if kind not in {1, 2} or not 64 <= header_size <= 256 or at + header_size + size > end:
            msg = f"no entry of a block at {at:#x}"
            raise FormatError(msg)
        yield Entry(at, at + header_size, size, architecture)
        at += header_size + size


def _section(library: bytearray) -> tuple[int, int]:
    """Return where the ELF file's section of device code begins and ends."""
    if library[:5] != b"\x7fELF\x02":
        msg = "not a 64-bit ELF file"
        raise FormatError(msg)
    (table,) = struct.unpack_from("<Q", library, 0x28)
    size, count, names = struct.unpack_from("<HHH", library, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", library, table + n * size) for n in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        begin = strings + name
        if library[begin : begin + len(_SECTION) + 1] == _SECTION + b"\0":
            return offset, offset + length
    msg = "no device code in it"
    raise FormatError(msg)
