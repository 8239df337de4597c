"""Is this the state that was saved, bit for bit?

One snapshot is one byte string: a header that names the blocks, then the blocks, everything under a checksum.
Nothing of it is executed on loading. A wrong bit, a missing byte and a format of another release all say so,
and the caller falls back on the snapshot before.

Layout, little-endian: magic (8 bytes), format (u32), length of the header (u32), XXH3 of what stands
before it and of the header (u64), header (JSON), blocks.
"""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

_MAGIC = b"tminuS\x00\n"  # a line end that text-mode copying would break
_FORMAT = 1
_PREFIX = struct.Struct("<8sII")
_SUM = struct.Struct("<Q")
#: Kinds of NumPy values whose bytes mean the same to every process: no objects, no structures.
_KINDS = "biufcSU"

Block = npt.NDArray[Any] | bytes | Any


class SnapshotCorrupt(ValueError):
    """The bytes are not a snapshot of this release, or no longer the ones that were saved."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    kind: str  # array | bytes | json
    size: int
    xxh3: int
    dtype: str = ""
    shape: tuple[int, ...] = ()


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    blocks: list[_Entry]


def dump(blocks: Mapping[str, Block]) -> bytes:
    """One byte string holding arrays, bytes and JSON values (numbers, text, lists, dicts, None) by name.

    JSON has no NaN: it would come back as None, so put floats that may be NaN into arrays.

    Raises
    ------
    TypeError
        A value is neither, such as an array of objects.

    Examples
    --------
    >>> load(dump({"sums": np.arange(3), "fence": {"events/0": 7}}))["fence"]
    {'events/0': 7}
    """
    entries: list[_Entry] = []
    parts: list[Any] = []
    for name, value in blocks.items():
        entry = _Entry(name, "json", 0, 0)
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in _KINDS:
                raise TypeError(f"snapshot block {name}: expected numbers, flags or text, found {value.dtype}")
            entry.kind, entry.dtype, entry.shape = "array", value.dtype.str, value.shape
            part: Any = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        elif isinstance(value, bytes):
            entry.kind, part = "bytes", value
        else:
            part = msgspec.json.encode(value)
        entry.size, entry.xxh3 = len(part), xxhash.xxh3_64_intdigest(part)
        entries.append(entry)
        parts.append(part)
    header = msgspec.json.encode(_Header(entries))
    prefix = _PREFIX.pack(_MAGIC, _FORMAT, len(header))
    return b"".join([prefix, _SUM.pack(xxhash.xxh3_64_intdigest(prefix + header)), header, *parts])


def load(saved: bytes) -> dict[str, Block]:
    """The blocks of `dump`, arrays as writable copies.

    Raises
    ------
    SnapshotCorrupt
        Any bit differs from what was saved, the end is missing, or the format is unknown.
    """
    view = memoryview(saved)
    found: dict[str, Block] = {}
    for entry, part in _checked(view):
        if entry.kind == "array":
            found[entry.name] = np.frombuffer(part, np.dtype(entry.dtype)).reshape(entry.shape).copy()
        else:
            found[entry.name] = bytes(part) if entry.kind == "bytes" else msgspec.json.decode(part)
    return found


def verify(saved: bytes) -> None:
    """Nothing, if `load` would succeed; copies nothing.

    Raises
    ------
    SnapshotCorrupt
        As `load`.
    """
    _checked(memoryview(saved))


def _checked(view: memoryview) -> list[tuple[_Entry, memoryview]]:
    start = _PREFIX.size + _SUM.size
    if len(view) < start:
        raise SnapshotCorrupt(f"expected a snapshot of at least {start} bytes, found {len(view)}")
    magic, form, length = _PREFIX.unpack_from(view)
    if magic != _MAGIC or form != _FORMAT:
        raise SnapshotCorrupt(f"expected snapshot format {_FORMAT}, found format {form} and magic {magic!r}")
    header = view[start : start + length]
    (expected,) = _SUM.unpack_from(view, _PREFIX.size)
    if xxhash.xxh3_64_intdigest(bytes(view[: _PREFIX.size]) + bytes(header)) != expected:
        raise SnapshotCorrupt("the header of the snapshot does not fit its checksum")
    at = start + length
    blocks = []
    for entry in msgspec.json.decode(header, type=_Header).blocks:
        part = view[at : at + entry.size]
        if len(part) != entry.size or xxhash.xxh3_64_intdigest(part) != entry.xxh3:
            raise SnapshotCorrupt(f"block {entry.name} of the snapshot does not fit its checksum")
        at += entry.size
        blocks.append((entry, part))
    if at != len(view):
        raise SnapshotCorrupt(f"expected a snapshot of {at} bytes, found {len(view)}")
    return blocks
