"""Which number has this entity?

Entity ids get consecutive numbers in the order of their first appearance; state arrays are indexed by them. The texts
lie in one arena, found through a compiled hash table that compares whole texts: no object per row, and no two ids
ever share a number.
"""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kernels import texts

Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]

_FIRST_SIZE = 64


class Interner(Sequence[str]):
    """A list of distinct texts that knows the place of each.

    Examples
    --------
    >>> ids = Interner()
    >>> ids.number(pa.array(["b", "a", "b"])).tolist(), list(ids), ids[1]
    ([0, 1, 0], ['b', 'a'], 'a')
    """

    def __init__(self) -> None:
        self._count = 0
        self._table = np.full(2 * _FIRST_SIZE, -1, np.int32)
        self._hashes = np.empty(_FIRST_SIZE, np.uint64)
        self._ends = np.zeros(_FIRST_SIZE + 1, np.int64)
        self._arena = np.empty(16 * _FIRST_SIZE, np.uint8)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not 0 <= index < self._count:
            raise IndexError(f"expected a number below {self._count}, found {index}")
        return self._arena[self._ends[index] : self._ends[index + 1]].tobytes().decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(self._count))

    @property
    def hashes(self) -> UInt64:
        """uint64[len]: `features.lineage.text_hash` of each text."""
        return self._hashes[: self._count]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + self._hashes.nbytes + self._ends.nbytes + self._arena.nbytes

    def number(self, ids: pa.Array) -> Int32:
        """int32[n]: the number of each text (utf8, no nulls); new ones get the next numbers."""
        n = len(ids)
        if n == 0:
            return np.empty(0, np.int32)
        _, offsets, content = ids.buffers()
        bounds = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + n + 1]
        text = np.frombuffer(content, np.uint8) if content is not None and content.size else np.empty(0, np.uint8)
        self._reserve(self._count + n, int(self._ends[self._count]) + int(bounds[-1] - bounds[0]))
        found, self._count, _ = texts.intern(
            text, bounds, self._table, self._hashes, self._arena, self._ends, self._count
        )
        return np.asarray(found, np.int32)

    def take(self, numbers: npt.NDArray[np.signedinteger[Any]]) -> pa.Array:
        """utf8[n]: the texts of these numbers."""
        ends = pa.py_buffer(np.ascontiguousarray(self._ends[: self._count + 1]))
        arena = pa.py_buffer(self._arena)
        known = pa.Array.from_buffers(pa.large_utf8(), self._count, [None, ends, arena])
        return known.take(pa.array(numbers)).cast(pa.utf8())

    def snapshot(self) -> dict[str, Any]:
        """Arrays from which `restore` makes the same list."""
        return {"ends": self._ends[: self._count + 1].copy(), "arena": self._arena[: self._ends[self._count]].copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot."""
        self._ends, self._arena = np.array(state["ends"], np.int64), np.array(state["arena"], np.uint8)
        self._count = self._ends.size - 1
        self._hashes = np.asarray(texts.hash_texts(self._arena, self._ends, self._count), np.uint64)
        self._rebuild(max(self._count, _FIRST_SIZE))

    def _reserve(self, count: int, size: int) -> None:
        if size > self._arena.size:
            self._arena = _grown(self._arena, size)
        if count > self._hashes.size:
            self._hashes = _grown(self._hashes, count)
            self._ends = _grown(self._ends, count + 1)
        if 2 * count > self._table.size:
            self._rebuild(count)

    def _rebuild(self, count: int) -> None:
        self._table = np.full(2 ** int(2 * count - 1).bit_length(), -1, np.int32)
        texts.fill_table(self._table, self._hashes, self._count)


def _grown(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """The same content with room for `size`, at least half as much again: growing costs a constant per entry."""
    wider = np.zeros(max(size, array.size + array.size // 2), array.dtype)
    wider[: array.size] = array
    return wider
