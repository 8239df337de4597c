"""Compiled grouping of rows by 64-bit keys: numbering, look-up and a stable counting sort. All linear in the rows."""

import numpy as np
import numpy.typing as npt
from numba import njit

from features.kernels.mixing import mix64

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def number_keys(keys: UInt64) -> tuple[Int64, UInt64, Int64]:
    """int64[n] number of each key by first appearance; uint64[g] the distinct keys; int64 table for `look_up`."""
    size = 16
    while size < 2 * keys.size:
        size *= 2
    table = np.full(size, -1, np.int64)
    mask = np.uint64(size - 1)
    number = np.empty(keys.size, np.int64)
    distinct = np.empty(keys.size, np.uint64)
    count = 0
    for i in range(keys.size):
        at = mix64(keys[i]) & mask
        while table[at] >= 0 and distinct[table[at]] != keys[i]:
            at = (at + np.uint64(1)) & mask
        if table[at] < 0:
            table[at] = count
            distinct[count] = keys[i]
            count += 1
        number[i] = table[at]
    return number, distinct[:count].copy(), table


@njit(cache=True, nogil=True)
def look_up(keys: UInt64, distinct: UInt64, table: Int64) -> Int64:
    """int64[n]: the number of each key, -1 where it has none."""
    mask = np.uint64(table.size - 1)
    number = np.empty(keys.size, np.int64)
    for i in range(keys.size):
        at = mix64(keys[i]) & mask
        while table[at] >= 0 and distinct[table[at]] != keys[i]:
            at = (at + np.uint64(1)) & mask
        number[i] = table[at]
    return number


@njit(cache=True, nogil=True)
def never_falls(values: Int64) -> bool:
    """Whether the values are in order already, as logs usually are."""
    for i in range(1, values.size):  # noqa: SIM110 (compiled: generators are not)
        if values[i] < values[i - 1]:
            return False
    return True


@njit(cache=True, nogil=True)
def sort_by_group(group: Int64, groups: int, order: Int64) -> tuple[Int64, Int64]:
    """Rows `order` sorted by group, stable, without those of group -1: (rows int64[m], start int64[groups + 1])."""
    start = np.zeros(groups + 1, np.int64)
    for g in group:
        if g >= 0:
            start[g + 1] += 1
    for g in range(groups):
        start[g + 1] += start[g]
    place = start[:-1].copy()
    rows = np.empty(start[-1], np.int64)
    for row in order:
        g = group[row]
        if g >= 0:
            rows[place[g]] = row
            place[g] += 1
    return rows, start


@njit(cache=True, nogil=True)
def has_ties(start: Int64, key: Int64) -> bool:
    """Whether two neighbours of one group have the same key."""
    for g in range(start.size - 1):
        for j in range(start[g] + 1, start[g + 1]):
            if key[j] == key[j - 1]:
                return True
    return False


@njit(cache=True, nogil=True)
def first_of_each(ident: UInt64) -> Bool:
    """bool[n]: whether a row is the first with its 64-bit identity."""
    size = 16
    while size < 2 * ident.size:
        size *= 2
    table = np.full(size, -1, np.int64)
    mask = np.uint64(size - 1)
    is_first = np.ones(ident.size, np.bool_)
    for i in range(ident.size):
        at = mix64(ident[i]) & mask
        while table[at] >= 0 and ident[table[at]] != ident[i]:
            at = (at + np.uint64(1)) & mask
        if table[at] < 0:
            table[at] = i
        else:
            is_first[i] = False
    return is_first


@njit(cache=True, nogil=True)
def contradiction(start: Int64, key: Int64, content: UInt64) -> int:
    """First row that has the key of the row before it in its group and says something else; -1: none."""
    for g in range(start.size - 1):
        for j in range(start[g] + 1, start[g + 1]):
            if key[j] == key[j - 1] and content[j] != content[j - 1]:
                return j
    return -1


@njit(cache=True, nogil=True)
def squeeze(start: Int64, keep: Bool) -> Int64:
    """Group starts after the rows that are not kept have been taken out."""
    new = np.zeros(start.size, np.int64)
    kept = 0
    for g in range(start.size - 1):
        for j in range(start[g], start[g + 1]):
            kept += keep[j]
        new[g + 1] = kept
    return new


@njit(cache=True, nogil=True)
def mix_columns(into: UInt64, column: UInt64) -> None:
    """Mix one more column into the content hash of each row, in place."""
    for i in range(into.size):
        into[i] = mix64(into[i] * np.uint64(0x9E3779B97F4A7C15) + column[i])


@njit(cache=True, nogil=True)
def newest_before(b_us: Int64, later_b: Int64, start: Int64, cell_group: Int64, p_lo: Int64) -> Int64:
    """int64[c]: the last version in winning order that was surely visible at the read; -1: none.

    `later_b` never falls along a group, so the place is found by bisection: the first version that no later one has
    surely beaten.
    """
    found = np.full(cell_group.size, -1, np.int64)
    for c in range(cell_group.size):
        lo, hi = start[cell_group[c]], start[cell_group[c] + 1]
        end = hi
        while lo < hi:
            middle = (lo + hi) // 2
            if later_b[middle] > p_lo[c]:
                hi = middle
            else:
                lo = middle + 1
        if lo < end and b_us[lo] <= p_lo[c]:
            found[c] = lo
    return found
