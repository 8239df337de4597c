"""Compiled walks along chains of versions, newest to oldest."""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def link(keys: Int64, first: int, heads: Int64, previous: Int64, has_older: Bool) -> None:
    """Chain rows `first`, `first + 1`, … of these keys behind what is there."""
    for i in range(keys.size):
        row = first + i
        previous[row] = heads[keys[i]]
        has_older[row] = previous[row] >= 0
        heads[keys[i]] = row


@njit(cache=True, nogil=True)
def count_rows(keys: Int64, until_us: Int64, since_us: Int64, heads: Int64, previous: Int64, ingest_us: Int64) -> Int64:
    """int64[g]: rows per request that arrived until `until`, down to the first that arrived before `since`."""
    counts = np.zeros(keys.size, np.int64)
    for g in range(keys.size):
        if keys[g] < 0 or keys[g] >= heads.size:
            continue
        row = heads[keys[g]]
        while row >= 0:
            if ingest_us[row] <= until_us[g]:
                counts[g] += 1
                if ingest_us[row] < since_us[g]:
                    break
            row = previous[row]
    return counts


@njit(cache=True, nogil=True)
def fill_rows(
    keys: Int64,
    until_us: Int64,
    since_us: Int64,
    heads: Int64,
    previous: Int64,
    ingest_us: Int64,
    has_older: Bool,
    start: Int64,
) -> tuple[Int64, Bool]:
    """Rows of each request, oldest first, and whether older ones are left out."""
    rows = np.empty(start[-1], np.int64)
    is_base = np.zeros(keys.size, np.bool_)
    for g in range(keys.size):
        if start[g] == start[g + 1]:
            continue
        at = start[g + 1]
        row = heads[keys[g]]
        while row >= 0 and at > start[g]:
            if ingest_us[row] <= until_us[g]:
                at -= 1
                rows[at] = row
                is_base[g] = has_older[row]
            row = previous[row]
    return rows, is_base


@njit(cache=True, nogil=True)
def kept_rows(n: int, heads: Int64, previous: Int64, ingest_us: Int64, before_us: int) -> Bool:
    """bool[n]: rows that arrived from `before` on, and per key the newest of the others."""
    keep = np.zeros(n, np.bool_)
    for key in range(heads.size):
        row = heads[key]
        while row >= 0:
            keep[row] = True
            if ingest_us[row] < before_us:
                break
            row = previous[row]
    return keep
