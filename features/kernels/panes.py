"""Compiled sliding windows by panes: one pass over a batch for all features that share `where`, width and panes.

The state of a key is one row of 64-bit words, because a visit costs little more than the cache lines it touches. Word 0
is the newest pane of the window, word 1 the oldest pane that is not empty; then come links, and at places that the
caller has laid out the newest event time of each input, counts and accumulators by pane (pane q in slot q mod P), and
value, time and id of each feature's present version.

A wheel (Varghese and Lauck, 1987) per log holds each key at its oldest pane that is not empty, so time passing touches
only keys that lose something: at most one visit per pane that a row has opened.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from features.aggregates import COUNT, LAST, MAX, MEAN, MIN, SUM

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

NEVER = np.int64(-(2**63))  # no pane yet; the watermark before the first row
UNWHEELED = np.int32(-2)  # `older` of a key that is in no wheel

END, DUE = 0, 1  # 64-bit words of a key
NEWER, OLDER, HOME = 4, 5, 6  # the same row as 32-bit words
FIRST_FREE = 4  # first 64-bit word that the caller lays out
VALUE, VALUE_TIME, VALUE_ID = 0, 1, 2  # words of a feature

_BLOCK = 32  # rows whose keys are fetched together: misses overlap instead of adding up
_LINE = 8  # words of a cache line


@njit(cache=True, nogil=True)
def _unlink(k: int, head: Int32, words: Int64, halves: Int32) -> None:
    """Take a key out of its wheel."""
    newer, older = halves[k, NEWER], halves[k, OLDER]
    if newer >= 0:
        halves[newer, OLDER] = older
    else:
        head[words[k, DUE] & (head.size - 1)] = older
    if older >= 0:
        halves[older, NEWER] = newer
    halves[k, OLDER] = UNWHEELED


@njit(cache=True, nogil=True)
def _link(k: int, pane: Any, head: Int32, words: Int64, halves: Int32) -> None:
    """Put a key into a wheel at its oldest pane; NEVER: it has none."""
    if pane == NEVER:
        return
    slot = pane & (head.size - 1)
    older = head[slot]
    words[k, DUE] = pane
    halves[k, NEWER] = -1
    halves[k, OLDER] = older
    if older >= 0:
        halves[older, NEWER] = k
    head[slot] = k


@njit(cache=True, nogil=True)
def _advance(
    k: int, pane: Any, panes: int, words: Int64, halves: Int32, numbers: Float64, counts: Int32, cells: Int32,
    empty: Float64,
) -> None:  # fmt: skip
    """Let the window of key k end at `pane` (not before its present end): what falls out is forgotten."""
    end = words[k, END]
    words[k, END] = pane
    if end == NEVER:
        return
    slot = end % panes
    for _ in range(min(pane - end, panes)):
        slot = slot + 1 if slot + 1 < panes else 0
        for s in range(counts.size):
            halves[k, counts[s] + slot] = 0
        for c in range(cells.size):
            numbers[k, cells[c] + slot] = empty[c]


@njit(cache=True, nogil=True)
def _oldest(k: int, panes: int, words: Int64, halves: Int32, counts: Int32) -> Any:
    """The oldest pane of the window that is not empty; NEVER if all are."""
    first = words[k, END] - panes + 1
    slot = first % panes
    for q in range(first, first + panes):
        for s in range(counts.size):
            if halves[k, counts[s] + slot] > 0:
                return q
        slot = slot + 1 if slot + 1 < panes else 0  # a division costs more than all the rest of the loop
    return NEVER


@njit(cache=True, nogil=True)
def _value(
    kind: int, k: int, first: Any, panes: int, is_held: bool, count: int, cell: int, last: int, halves: Int32,
    numbers: Float64,
) -> float:  # fmt: skip
    """The present value of one feature whose window begins with pane `first`; NaN is NULL."""
    if kind == LAST:
        return numbers[k, last] + 0.0 if is_held else np.nan  # one zero: from -0.0 to 0.0 is no change
    n = np.int64(0)
    for slot in range(panes):
        n += halves[k, count + slot]
    if kind == COUNT:
        return np.float64(n)
    if n == 0:
        return 0.0 if kind == SUM else np.nan
    slot = first % panes
    value = numbers[k, cell + slot]
    for _ in range(panes - 1):
        slot = slot + 1 if slot + 1 < panes else 0
        x = numbers[k, cell + slot]
        if kind == MIN:
            value = min(value, x)
        elif kind == MAX:
            value = max(value, x)
        else:
            value += x
    if kind == MEAN:
        value /= n
    return value + 0.0 if np.isfinite(value) else np.nan


@njit(cache=True, nogil=True)
def _room(found: Int64, values: Float64, needed: int) -> tuple[Int64, Float64]:
    """Room for `needed` versions, doubling."""
    if needed <= values.size:
        return found, values
    wider = np.empty((2 * needed, found.shape[1]), np.int64)
    wider[: found.shape[0]] = found
    more = np.empty(2 * needed, np.float64)
    more[: values.size] = values
    return wider, more


@njit(cache=True, nogil=True)
def _tell(
    m: int, i: int, own: int, f: int, k: int, time_us: int, row_time_us: int, panes: int, pane_us: int, kind: int,
    newest: int, count: int, cell: int, last: int, at: int, words: Int64, halves: Int32, numbers: Float64,
    found: Int64, values: Float64,
) -> int:  # fmt: skip
    """Write down version m of feature f of key k if its value has changed; how many versions there are then."""
    first = words[k, END] - panes + 1
    newest_us = words[k, newest]
    is_held = newest_us != NEVER and newest_us >= first * pane_us
    x = _value(kind, k, first, panes, is_held, count, cell, last, halves, numbers)
    before = numbers[k, at + VALUE]
    if x == before or (np.isnan(x) and np.isnan(before)):
        return m
    numbers[k, at + VALUE] = x
    words[k, at + VALUE_TIME] = time_us
    found[m, 0], found[m, 1], found[m, 2], found[m, 3] = i, own, f, k
    found[m, 4] = newest_us if is_held else row_time_us
    found[m, 5] = words[k, END]
    values[m] = x
    return m + 1


@njit(cache=True, nogil=True)
def _take_fallen(passed: Any, steps: Any, head: Int32, words: Int64, halves: Int32, fallen: Int32) -> tuple[Int32, int]:
    """Take out of a wheel the keys whose oldest pane is `passed` or older; looks at `steps` slots."""
    lost = 0
    for step in range(steps):
        k = head[(passed - step) & (head.size - 1)]
        while k >= 0:
            following = halves[k, OLDER]
            if words[k, DUE] <= passed:
                _unlink(k, head, words, halves)
                if lost == fallen.size:
                    wider = np.empty(2 * lost, np.int32)
                    wider[:lost] = fallen
                    fallen = wider
                fallen[lost] = k
                lost += 1
            k = following
    return fallen, lost


@njit(cache=True, nogil=True)
def _add(
    k: int, slot: int, i: int, time_us: int, inputs: Float64, newest: Int32, counts: Int32, lasts: Int32, cells: Int32,
    cell_kind: Int32, cell_source: Int32, words: Int64, halves: Int32, numbers: Float64,
) -> None:  # fmt: skip
    """Fold row i into the pane of key k."""
    for s in range(counts.size):
        x = inputs[s, i]
        if np.isnan(x):
            continue
        halves[k, counts[s] + slot] += 1
        if time_us >= words[k, newest[s]]:
            words[k, newest[s]] = time_us
            if lasts[s] >= 0:
                numbers[k, lasts[s]] = x
    for c in range(cells.size):
        x = inputs[cell_source[c], i]
        if np.isnan(x):
            continue
        at = cells[c] + slot
        if cell_kind[c] == MIN:
            numbers[k, at] = min(numbers[k, at], x)
        elif cell_kind[c] == MAX:
            numbers[k, at] = max(numbers[k, at], x)
        else:
            numbers[k, at] += x


@njit(cache=True, nogil=True)
def _fetch(keys: Int32, start: int, stop: int, words: Int64) -> Any:
    """Touch the state of keys[start:stop], line by line; the sum only keeps the compiler from leaving it out."""
    total = np.int64(0)
    for i in range(start, stop):
        for word in range(0, words.shape[1], _LINE):
            total += words[keys[i], word]
    return total


@njit(cache=True, nogil=True)
def pass_rows(
    entity: Int32, event_time: Int64, mark_pane: Int64, is_open: Bool, inputs: Float64, log: int, panes: int,
    pane_us: int, kinds: Int32, sources: Int32, cell_of: Int32, places: Int32, newest: Int32, counts: Int32,
    lasts: Int32, cells: Int32, cell_kind: Int32, cell_source: Int32, empty: Float64, words: Int64, halves: Int32,
    numbers: Float64, heads: Int32, marks: Int64,
) -> tuple[Int64, Float64, Bool, Any]:  # fmt: skip
    """Apply rows of one log in its order; state is changed in place.

    Parameters
    ----------
    mark_pane
        int64[n]: pane of the watermark of this log after each row.
    is_open
        bool[n]: on time and selected.
    inputs
        float64[sources, n]: finite, or NaN for NULL.
    kinds, sources, cell_of, places
        int32[features]: aggregate, input, accumulator (-1: none) and words of each feature.
    newest, counts, lasts
        int32[sources]: word of the newest event time, 32-bit word of the first pane's count, word of the newest value
        (-1: nobody asks).
    cells, cell_kind, cell_source, empty
        [accumulators]: word of the first pane, what it is (SUM, MIN, MAX), its input, its value without rows.
    words, halves, numbers
        The state of all keys, three times the same memory.
    heads, marks
        int32[logs, slots] and int64[logs]: wheel and pane of the watermark of each log.

    Returns
    -------
    found
        int64[m, 6]: row, 1 if the row's own (0: by time), feature, key, newest input time, pane that ends the window.
    values
        float64[m]: NaN is NULL.
    outside
        bool[n]: open rows that lie before the window of their entity.
    touched
        Of no meaning.
    """
    n, size = entity.size, np.int64(heads.shape[1])
    found = np.empty((n * kinds.size + 16, 6), np.int64)
    values = np.empty(found.shape[0], np.float64)
    outside = np.zeros(n, np.bool_)
    fallen = np.empty(64, np.int32)
    m = touched = 0
    for i in range(n):
        if i % _BLOCK == 0:
            touched += _fetch(entity, i, min(i + _BLOCK, n), words)
        k, time_us, now = entity[i], event_time[i], mark_pane[i]
        pane = time_us // pane_us
        end, home = words[k, END], halves[k, HOME]
        closes = now if end == NEVER else max(now, end, marks[home])
        applies = is_open[i] and pane > closes - panes
        outside[i] = is_open[i] and not applies

        if now > marks[log]:
            steps = size if marks[log] == NEVER else min(size, now - marks[log])
            marks[log] = now
            fallen, lost = _take_fallen(now - panes, steps, heads[log], words, halves, fallen)
            moved = np.sort(fallen[:lost])
            if applies:  # the row's own key tells both, its loss and its gain, in one version
                moved = moved[moved != k]
            found, values = _room(found, values, m + moved.size * kinds.size)
            for at in range(moved.size):
                if at % _BLOCK == 0:
                    touched += _fetch(moved, at, min(at + _BLOCK, moved.size), words)
                j = moved[at]
                _advance(j, max(now, words[j, END]), panes, words, halves, numbers, counts, cells, empty)
                _link(j, _oldest(j, panes, words, halves, counts), heads[log], words, halves)
            for f in range(kinds.size):
                s = sources[f]
                for j in moved:
                    m = _tell(
                        m, i, 0, f, j, now * pane_us, time_us, panes, pane_us, kinds[f], newest[s], counts[s],
                        cell_of[f], lasts[s], places[f], words, halves, numbers, found, values,
                    )  # fmt: skip
        if not applies:
            continue

        _advance(k, max(closes, pane), panes, words, halves, numbers, counts, cells, empty)
        _add(k, pane % panes, i, time_us, inputs, newest, counts, lasts, cells, cell_kind, cell_source, words, halves,
             numbers)  # fmt: skip
        if halves[k, OLDER] == UNWHEELED:
            _link(k, _oldest(k, panes, words, halves, counts), heads[log], words, halves)
        elif home != log or pane < words[k, DUE]:
            _unlink(k, heads[home], words, halves)
            _link(k, _oldest(k, panes, words, halves, counts), heads[log], words, halves)
        halves[k, HOME] = log
        found, values = _room(found, values, m + kinds.size)
        for f in range(kinds.size):
            s = sources[f]
            m = _tell(
                m, i, 1, f, k, time_us, time_us, panes, pane_us, kinds[f], newest[s], counts[s],
                cell_of[f], lasts[s], places[f], words, halves, numbers, found, values,
            )  # fmt: skip
    return found[:m], values[:m], outside, touched


@njit(cache=True, nogil=True)
def note_ids(key: Int64, word: Int32, ids: npt.NDArray[np.uint64], words: npt.NDArray[np.uint64]) -> None:
    """Remember the ids of present versions: of several the last."""
    for i in range(key.size):
        words[key[i], word[i]] = ids[i]
