"""Compiled sliding windows by panes: one pass over a batch for all features that share `where`, width and panes.

State of key k: `end[k]`, the newest pane of its window; P slots, pane q in slot q mod P; `newest`, the newest event
time of each input; the present value of each feature. A wheel (Varghese and Lauck, 1987) per log holds each key at
its oldest pane that is not empty, so time passing touches only keys that lose something: at most one visit per pane
that a row has opened.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from features.aggregates import COUNT, LAST, MAX, MEAN, MIN, SUM

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Int16 = npt.NDArray[np.int16]
UInt32 = npt.NDArray[np.uint32]
UInt8 = npt.NDArray[np.uint8]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

NEVER = np.int64(-(2**63))  # no pane yet; the watermark before the first row
UNWHEELED = np.int32(-2)  # `older` of a key that is in no wheel


@njit(cache=True, nogil=True)
def _unlink(k: int, head: Int32, due: Int64, newer: Int32, older: Int32) -> None:
    """Take a key out of its wheel."""
    slot = due[k] & (head.size - 1)
    if newer[k] >= 0:
        older[newer[k]] = older[k]
    else:
        head[slot] = older[k]
    if older[k] >= 0:
        newer[older[k]] = newer[k]
    older[k] = UNWHEELED


@njit(cache=True, nogil=True)
def _link(k: int, pane: int, head: Int32, due: Int64, newer: Int32, older: Int32) -> None:
    """Put a key into a wheel at its oldest pane."""
    slot = pane & (head.size - 1)
    due[k] = pane
    newer[k] = -1
    older[k] = head[slot]
    if head[slot] >= 0:
        newer[head[slot]] = k
    head[slot] = k


@njit(cache=True, nogil=True)
def _advance(k: int, pane: Any, end: Int64, opened: UInt8, counts: UInt32, cells: Float64, empty: Float64) -> None:
    """Let the window of key k end at `pane` (not before its present end): what falls out is forgotten."""
    panes = opened.shape[1]
    if end[k] == NEVER:
        end[k] = pane
        return
    for q in range(end[k] + 1, min(pane, end[k] + panes) + 1):
        slot = q % panes
        opened[k, slot] = 0
        counts[k, :, slot] = 0
        for c in range(empty.size):
            cells[k, c, slot] = empty[c]
    end[k] = pane


@njit(cache=True, nogil=True)
def _oldest(k: int, end: Int64, opened: UInt8) -> Any:
    """The oldest pane of the window that is not empty; NEVER if all are."""
    panes = opened.shape[1]
    for q in range(end[k] - panes + 1, end[k] + 1):
        if opened[k, q % panes]:
            return q
    return NEVER


@njit(cache=True, nogil=True)
def _value(
    kind: int, k: int, source: int, cell: int, end: Int64, counts: UInt32, cells: Float64, newest: Int64,
    last: Float64, pane_us: int,
) -> float:  # fmt: skip
    """The present value of one feature; NaN is NULL."""
    panes = counts.shape[2]
    first = end[k] - panes + 1
    if kind == LAST:
        return last[k, source] if newest[k, source] != NEVER and newest[k, source] // pane_us >= first else np.nan
    n = np.int64(0)
    for slot in range(panes):
        n += counts[k, source, slot]
    if kind == COUNT:
        return np.float64(n)
    if n == 0:
        return 0.0 if kind == SUM else np.nan
    value = cells[k, cell, first % panes]
    for q in range(first + 1, end[k] + 1):
        x = cells[k, cell, q % panes]
        if kind == MIN:
            value = min(value, x)
        elif kind == MAX:
            value = max(value, x)
        else:
            value += x
    if kind == MEAN:
        value /= n
    return value + 0.0 if np.isfinite(value) else np.nan  # one zero: -0.0 and 0.0 are no change


@njit(cache=True, nogil=True)
def _room(found: Int64, numbers: Float64, needed: int) -> tuple[Int64, Float64]:
    """Room for `needed` versions, doubling."""
    if needed <= numbers.size:
        return found, numbers
    wider = np.empty((2 * needed, found.shape[1]), np.int64)
    wider[: found.shape[0]] = found
    more = np.empty(2 * needed, np.float64)
    more[: numbers.size] = numbers
    return wider, more


@njit(cache=True, nogil=True)
def _tell(
    m: int, i: int, own: int, f: int, k: int, time_us: int, row_time_us: int, pane_us: int, kind: int, source: int,
    cell: int, end: Int64, counts: UInt32, cells: Float64, newest: Int64, last: Float64, value: Float64,
    value_time: Int64, found: Int64, values: Float64,
) -> int:  # fmt: skip
    """Write down version m of feature f of key k if its value has changed; how many versions there are then."""
    x = _value(kind, k, source, cell, end, counts, cells, newest, last, pane_us)
    if x == value[k, f] or (np.isnan(x) and np.isnan(value[k, f])):
        return m
    value[k, f] = x
    value_time[k, f] = time_us
    is_held = newest[k, source] != NEVER and newest[k, source] // pane_us > end[k] - counts.shape[2]
    found[m, 0], found[m, 1], found[m, 2], found[m, 3] = i, own, f, k
    found[m, 4] = newest[k, source] if is_held else row_time_us
    found[m, 5] = end[k]
    values[m] = x
    return m + 1


@njit(cache=True, nogil=True)
def _take_fallen(
    passed: Any, steps: Any, head: Int32, due: Int64, newer: Int32, older: Int32, fallen: Int32
) -> tuple[Int32, int]:
    """Take out of a wheel the keys whose oldest pane is `passed` or older; looks at `steps` slots."""
    lost = 0
    for step in range(steps):
        k = head[(passed - step) & (head.size - 1)]
        while k >= 0:
            following = older[k]
            if due[k] <= passed:
                _unlink(k, head, due, newer, older)
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
    k: int, slot: int, i: int, time_us: int, inputs: Float64, cell_kind: Int32, cell_source: Int32, opened: UInt8,
    counts: UInt32, newest: Int64, cells: Float64, last: Float64,
) -> None:  # fmt: skip
    """Fold row i into the pane of key k."""
    opened[k, slot] = 1
    for s in range(inputs.shape[0]):
        x = inputs[s, i]
        if np.isnan(x):
            continue
        counts[k, s, slot] += 1
        if time_us >= newest[k, s]:
            newest[k, s] = time_us
            last[k, s] = x
    for c in range(cell_kind.size):
        x = inputs[cell_source[c], i]
        if np.isnan(x):
            continue
        if cell_kind[c] == MIN:
            cells[k, c, slot] = min(cells[k, c, slot], x)
        elif cell_kind[c] == MAX:
            cells[k, c, slot] = max(cells[k, c, slot], x)
        else:
            cells[k, c, slot] += x


@njit(cache=True, nogil=True)
def pass_rows(
    entity: Int32, event_time: Int64, mark_pane: Int64, is_open: Bool, inputs: Float64, log: int, pane_us: int,
    kinds: Int32, sources: Int32, cell_of: Int32, cell_kind: Int32, cell_source: Int32, empty: Float64,
    end: Int64, home: Int16, due: Int64, newer: Int32, older: Int32, opened: UInt8, counts: UInt32, newest: Int64,
    cells: Float64, last: Float64, value: Float64, value_time: Int64, heads: Int32, marks: Int64,
) -> tuple[Int64, Float64, Bool]:  # fmt: skip
    """Apply rows of one log in its order; state is changed in place.

    Parameters
    ----------
    mark_pane
        int64[n]: pane of the watermark of this log after each row.
    is_open
        bool[n]: on time and selected.
    inputs
        float64[sources, n]: finite, or NaN for NULL.
    kinds, sources, cell_of
        int32[features]: aggregate, input and accumulator (-1: none) of each feature.
    cell_kind, cell_source, empty
        [cells]: what each accumulator is (SUM, MIN, MAX), its input, and its value without rows.
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
    """
    n, panes, size = entity.size, opened.shape[1], np.int64(heads.shape[1])
    found = np.empty((n * kinds.size + 16, 6), np.int64)
    values = np.empty(found.shape[0], np.float64)
    outside = np.zeros(n, np.bool_)
    fallen = np.empty(64, np.int32)
    m = 0
    for i in range(n):
        k, time_us, now = entity[i], event_time[i], mark_pane[i]
        pane = time_us // pane_us
        closes = now if end[k] == NEVER else max(now, end[k], marks[home[k]])
        applies = is_open[i] and pane > closes - panes
        outside[i] = is_open[i] and not applies

        if now > marks[log]:
            steps = size if marks[log] == NEVER else min(size, now - marks[log])
            marks[log] = now
            fallen, lost = _take_fallen(now - panes, steps, heads[log], due, newer, older, fallen)
            moved = np.sort(fallen[:lost])
            if applies:  # the row's own key tells both, its loss and its gain, in one version
                moved = moved[moved != k]
            for j in moved:
                _advance(j, max(now, end[j]), end, opened, counts, cells, empty)
                oldest = _oldest(j, end, opened)
                if oldest != NEVER:
                    _link(j, oldest, heads[log], due, newer, older)
            found, values = _room(found, values, m + moved.size * kinds.size)
            for f in range(kinds.size):
                for j in moved:
                    m = _tell(
                        m, i, 0, f, j, now * pane_us, time_us, pane_us, kinds[f], sources[f], cell_of[f],
                        end, counts, cells, newest, last, value, value_time, found, values,
                    )  # fmt: skip
        if not applies:
            continue

        _advance(k, max(closes, pane), end, opened, counts, cells, empty)
        _add(k, pane % panes, i, time_us, inputs, cell_kind, cell_source, opened, counts, newest, cells, last)
        if older[k] == UNWHEELED:
            _link(k, _oldest(k, end, opened), heads[log], due, newer, older)
        elif home[k] != log or pane < due[k]:
            _unlink(k, heads[home[k]], due, newer, older)
            _link(k, _oldest(k, end, opened), heads[log], due, newer, older)
        home[k] = log
        found, values = _room(found, values, m + kinds.size)
        for f in range(kinds.size):
            m = _tell(
                m, i, 1, f, k, time_us, time_us, pane_us, kinds[f], sources[f], cell_of[f],
                end, counts, cells, newest, last, value, value_time, found, values,
            )  # fmt: skip
    return found[:m], values[:m], outside
