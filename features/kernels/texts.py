"""Compiled numbering of texts: XXH64 of their bytes (Collet, xxHash specification), open addressing, linear probing."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]

_BLOCK = 32  # texts looked up together: cache misses overlap instead of adding up

_P1 = np.uint64(11400714785074694791)
_P2 = np.uint64(14029467366897019727)
_P3 = np.uint64(1609587929392839161)
_P4 = np.uint64(9650029242287828579)
_P5 = np.uint64(2870177450012600261)


@njit(cache=True, nogil=True, inline="always")
def _rotate(x: np.uint64, by: int) -> np.uint64:
    return (x << np.uint64(by)) | (x >> np.uint64(64 - by))


@njit(cache=True, nogil=True)
def _word(text: UInt8, at: int, size: int) -> np.uint64:
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(text[at + i]) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return _rotate(lane + word * _P2, 31) * _P1


@njit(cache=True, nogil=True)
def xxh64(text: UInt8, start: int, end: int) -> np.uint64:
    """XXH64 with seed 0 of text[start:end]: what `features.lineage.text_hash` says of the same text."""
    at = start
    if end - start >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while at + 32 <= end:
            a = _round(a, _word(text, at, 8))
            b = _round(b, _word(text, at + 8, 8))
            c = _round(c, _word(text, at + 16, 8))
            d = _round(d, _word(text, at + 24, 8))
            at += 32
        h = _rotate(a, 1) + _rotate(b, 7) + _rotate(c, 12) + _rotate(d, 18)
        for lane in (a, b, c, d):
            h = (h ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        h = _P5
    h += np.uint64(end - start)
    while at + 8 <= end:
        h = _rotate(h ^ _round(np.uint64(0), _word(text, at, 8)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        h = _rotate(h ^ (_word(text, at, 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        h = _rotate(h ^ (np.uint64(text[at]) * _P5), 11) * _P1
        at += 1
    h = (h ^ (h >> np.uint64(33))) * _P2
    h = (h ^ (h >> np.uint64(29))) * _P3
    return h ^ (h >> np.uint64(32))


@njit(cache=True, nogil=True)
def _equals(arena: UInt8, start: int, size: int, text: UInt8, at: int) -> bool:
    for i in range(size):  # noqa: SIM110 (compiled: generators are not)
        if arena[start + i] != text[at + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _fetch(hashed: UInt64, start: int, stop: int, table: Int32, hashes: UInt64, ends: Int64) -> Any:
    """Touch what the texts of a block are looked up in; the sum only keeps the compiler from leaving it out."""
    mask = np.uint64(table.size - 1)
    total = np.uint64(0)
    for i in range(start, stop):
        k = table[hashed[i] & mask]
        if k >= 0:
            total += hashes[k] + np.uint64(ends[k])
    return total


@njit(cache=True, nogil=True)
def intern(
    text: UInt8, bounds: Int32, table: Int32, hashes: UInt64, arena: UInt8, ends: Int64, count: int
) -> tuple[Int32, int, Any]:
    """int32[n] numbers of the texts text[bounds[i]:bounds[i + 1]], how many are known now, and a sum of no meaning.

    Text k is arena[ends[k]:ends[k + 1]]; the caller has made room for n more, and `table` (a power of two, -1: free)
    stays at most half full.
    """
    n = bounds.size - 1
    found = np.empty(n, np.int32)
    hashed = np.empty(n, np.uint64)
    mask = np.uint64(table.size - 1)
    touched = np.uint64(0)
    for i in range(n):
        hashed[i] = xxh64(text, bounds[i], bounds[i + 1])
    for i in range(n):
        if i % _BLOCK == 0:
            touched += _fetch(hashed, i, min(i + _BLOCK, n), table, hashes, ends)
        start, end, h = bounds[i], bounds[i + 1], hashed[i]
        slot = h & mask
        while True:
            k = table[slot]
            if k < 0:
                k = count
                count += 1
                table[slot] = k
                hashes[k] = h
                begin = ends[k]
                ends[k + 1] = begin + end - start
                arena[begin : begin + end - start] = text[start:end]
                break
            size = ends[k + 1] - ends[k]
            if hashes[k] == h and size == end - start and _equals(arena, ends[k], size, text, start):
                break
            slot = (slot + np.uint64(1)) & mask
        found[i] = k
    return found, count, touched


@njit(cache=True, nogil=True)
def fill_table(table: Int32, hashes: UInt64, count: int) -> None:
    """Enter texts 0 to count - 1 into an empty table."""
    mask = np.uint64(table.size - 1)
    for k in range(count):
        slot = hashes[k] & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = k


@njit(cache=True, nogil=True)
def hash_texts(arena: UInt8, ends: Int64, count: int) -> UInt64:
    """uint64[count]: XXH64 of each text."""
    hashes = np.empty(count, np.uint64)
    for k in range(count):
        hashes[k] = xxh64(arena, ends[k], ends[k + 1])
    return hashes
