"""Where do the records of a fetch lie, without an object for each?

The quick reader of a fetch: one decompression and one compiled walk per record batch, then slices. `iter_records` is
complete and says what is wrong with what this one refuses; whoever reads cannot tell which of the two has worked.
"""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import cramjam
import numpy as np
import numpy.typing as npt
from numba import njit

from streams.transport.records import RawFetch, Record

Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]

_NONE, _LZ4, _ZSTD = 0, 3, 4
#: Unpacked bytes per packed byte for which room is made at first.
ROOM = 8
# offset delta, time delta, start and end of key and of value (end -1: null), start and end of headers (none: equal)
_OFFSET, _TIME, _KEY, _KEY_END, _VALUE, _VALUE_END, _HEADERS, _END = range(8)


class Packed(Sequence[Record]):
    """Records of one fetch in columns; single ones are made when asked for.

    Parameters
    ----------
    offset, timestamp_ms
        int64[n], offsets rising.
    is_append
        bool[n]: the time is the broker's append time, else the producer's claim.
    values
        Bytes, None for null.
    places
        By batch: index of its first record, the unpacked bytes, and where in them things lie.
    """

    def __init__(
        self,
        offset: Int64,
        timestamp_ms: Int64,
        is_append: npt.NDArray[np.bool_],
        values: list[bytes | None],
        places: list[tuple[int, bytes, Int64]],
    ) -> None:
        self.offset, self.timestamp_ms, self.is_append, self.values = offset, timestamp_ms, is_append, values
        self._places = places

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first, body, place = next(p for p in reversed(self._places) if p[0] <= index)
        at = place[index - first].tolist()
        return Record(
            int(self.offset[index]),
            int(self.timestamp_ms[index]),
            bool(self.is_append[index]),
            None if at[_KEY_END] < 0 else body[at[_KEY] : at[_KEY_END]],
            self.values[index],
            _headers(body, at[_HEADERS], at[_END]),
        )

    def __iter__(self) -> Iterator[Record]:
        return (self[i] for i in range(len(self)))


def read_packed(fetch: RawFetch) -> Packed | None:
    """Every record of `fetch` from its start on, or None: something in it needs the complete reader.

    Examples
    --------
    >>> len(read_packed(RawFetch("t", 0, 7, 9, 0, b"", [], 0)))     # control records only
    0
    """
    columns: list[tuple[Int64, Int64, npt.NDArray[np.bool_]]] = []
    values: list[bytes | None] = []
    places: list[tuple[int, bytes, Int64]] = []
    for frame in fetch.batches:
        body = _unpacked(fetch.buf[frame.pos : frame.end], frame.codec)
        if body is None:
            return None
        place = walk(np.frombuffer(body, np.uint8), frame.count)
        if place.shape[0] != frame.count or not _has_names(body, place):
            return None
        offset = place[:, _OFFSET] + frame.base_offset
        if frame.count and int(offset[0]) < fetch.start:
            place = place[offset >= fetch.start]
            offset = place[:, _OFFSET] + frame.base_offset
        if frame.log_append:
            stamps = np.full(offset.size, frame.max_timestamp_ms, np.int64)
        else:
            stamps = place[:, _TIME] + frame.base_timestamp_ms
        columns.append((offset, stamps, np.full(offset.size, frame.log_append)))
        places.append((len(values), body, place))
        bounds = zip(place[:, _VALUE].tolist(), place[:, _VALUE_END].tolist(), strict=True)
        values += [body[start:end] if end >= 0 else None for start, end in bounds]
    if not columns:
        return Packed(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_), [], [])
    offset, stamps, is_append = (np.concatenate(c) for c in zip(*columns, strict=True))
    return Packed(offset, stamps, is_append, values, places)


@njit(cache=True, nogil=True)
def _varint(body: UInt8, at: int) -> tuple[np.int64, int]:
    """(value, next position); the position is -1 where the body ends or the number has more than 64 bits."""
    result = np.uint64(0)
    shift = np.uint64(0)
    while at < body.size and shift < np.uint64(70):
        byte = np.uint64(body[at])
        at += 1
        result |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(128):
            return np.int64(result >> np.uint64(1)) ^ -np.int64(result & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), -1


@njit(cache=True, nogil=True)
def walk(body: UInt8, count: int) -> Int64:
    """int64[n, 8]: where things lie in `body`, by record; n < `count` where something is not as it should be."""
    found = np.empty((count, 8), np.int64)
    at = 0
    for i in range(count):
        size, at = _varint(body, at)
        end = np.int64(at) + size
        if at < 0 or size < 0 or end > body.size:
            return found[:i]
        found[i, 0], found[i, 1], at = _moved(body, at)
        if at < 0:
            return found[:i]
        for field in (2, 4):
            length, at = _varint(body, at)
            if at < 0 or length > end - at:
                return found[:i]
            found[i, field] = at
            found[i, field + 1] = at + length if length >= 0 else -1
            at += int(length) if length > 0 else 0
        headers, after = _varint(body, at)
        if after < 0 or headers < 0 or (headers == 0 and after != end) or after > end:
            return found[:i]
        found[i, 6] = at if headers else end
        found[i, 7] = end
        at = int(end)
        if i and found[i, 0] <= found[i - 1, 0]:
            return found[:i]
    return found if at == body.size else found[:0]


@njit(cache=True, nogil=True)
def _moved(body: UInt8, at: int) -> tuple[np.int64, np.int64, int]:
    """(offset delta, time delta, next position), behind the record's attributes."""
    _, at = _varint(body, at)
    if at < 0:
        return np.int64(0), np.int64(0), -1
    time, at = _varint(body, at)
    if at < 0:
        return np.int64(0), np.int64(0), -1
    offset, at = _varint(body, at)
    return offset, time, at


def _unpacked(packed: bytes, codec: int) -> bytes | None:
    """Decompressed records; None for codecs and bytes that the complete reader has to look at."""
    if codec == _NONE:
        return packed
    if codec not in (_LZ4, _ZSTD):
        return None
    library = cramjam.lz4 if codec == _LZ4 else cramjam.zstd
    # Into a buffer of ours: growing one inside costs three times the decompression (measured, lz4).
    scratch = bytearray(ROOM * len(packed))
    try:
        size = library.decompress_into(packed, scratch)
        if size < len(scratch):  # a full buffer may hold only a part
            return bytes(memoryview(scratch)[:size])
    except cramjam.DecompressionError:
        pass  # too small, or damaged
    try:
        return bytes(library.decompress(packed))
    except cramjam.DecompressionError:
        return None


def _has_names(body: bytes, place: Int64) -> bool:
    """Can all headers be read? The complete reader refuses a whole batch otherwise."""
    for start, end in place[place[:, _HEADERS] < place[:, _END]][:, _HEADERS:].tolist():
        try:
            _headers(body, start, end)
        except (IndexError, ValueError):
            return False
    return True


def _headers(body: bytes, at: int, end: int) -> list[tuple[str, bytes | None]]:
    """Headers between two positions; raises `ValueError` or `IndexError` for anything else."""
    found: list[tuple[str, bytes | None]] = []
    if at == end:
        return found
    count, at = _read(body, at)
    for _ in range(count):
        size, at = _read(body, at)
        if size < 0 or at + size > end:
            raise ValueError("the name of a header leaves its record")
        name = body[at : at + size].decode()
        at += size
        size, at = _read(body, at)
        if at + size > end:
            raise ValueError("the value of a header leaves its record")
        found.append((name, None if size < 0 else body[at : at + size]))
        at += max(size, 0)
    if at != end:
        raise ValueError("headers do not end with their record")
    return found


def _read(body: bytes, at: int) -> tuple[int, int]:
    number: Any
    number, shift = 0, 0
    while True:
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
