"""Could the value in this cell be known at the moment of the prediction? The millisecond test.

A version became visible somewhere in [a, b); a read happened somewhere in P = [p_lo, p_hi). Q is the set of versions
that could have been current then: a < p_hi, and the least b of all later versions > p_lo; ABSENT (it equals NULL and
NaN only) stands before the first version while the least b of all is > p_lo. In this order:

====================  ==========================================================================================
PASS                  the cell equals every version in Q
UNVERIFIABLE          it equals some of Q, and one of Q has no upper bound (no_upper_bound)
SKEW_AMBIGUOUS        it equals some of Q
LEAK_OR_STALE         it equals none of Q, but a superseded and a future version (an id in the row decides)
LEAK                  it equals a future version (a >= p_hi); the lead is the least a - t_p that the bounds prove
STALE                 it equals a superseded version (not in Q, not in the future); ABSENT is never superseded
UNVERIFIABLE          no version holds it (phantom), or the log does not reach the read (no_coverage)
====================  ==========================================================================================

**The reason of SKEW_AMBIGUOUS** names the bound that would have to improve. Take the versions of Q that straddle the
read (a < p_hi and b > p_lo; every ambiguous cell has one) and take away, one after the other, the clock error, the
resolution and the width of P. A version that no longer straddles without the clock error says *skew*; one that falls
out with the other two says *resolution*, or *same_ms* if neither exceeds a millisecond; one that still straddles says
*in_flight* (the read fell between write and acknowledgement), or *no_lower_bound* if its write time is unknown.
Of several versions the most stubborn speaks: no_lower_bound, in_flight, resolution, same_ms, skew.

**Position.** A read that carries a position in the sequence of the writes is decided by order: earlier writes are
visible, later ones are not, equal places stay ambiguous (same_ms). Leads are still told in microseconds.

**Stamp.** The id of the version that a serving node read proves that this version was readable: never LEAK, but PASS at
tier E0, or STALE if a later version was surely readable. A lower bound after the read then contradicts the clock:
`clock_gap_us` says by how much the clock error is too small.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.kernels import grouping, intervals
from monitors.verdicts import REASONS, VERDICTS, Reason, Tier, Verdict

Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: The position of a read that has none.
NO_POSITION = intervals.NO_POSITION


def bounds(
    write_time_us: npt.ArrayLike,
    visible_time_us: npt.ArrayLike | None = None,
    *,
    clock_error_us: int = 0,
    resolution_us: int = 1,
    input_visible_from_us: npt.ArrayLike | None = None,
) -> tuple[Int64, Int64]:
    """int64[n] a and int64[n] b: from when on, and by when at the latest, each version was visible.

    a = write time - clock error; b = visible time + resolution + clock error. The resolution is never added to a.

    Parameters
    ----------
    write_time_us
        Lower bound of visibility; NEVER_US: unknown.
    visible_time_us
        Upper bound; FOREVER_US: unknown; None: the write time is both.
    input_visible_from_us
        For derived values, when their newest input became visible (NEVER_US: unknown); both times are at least that.

    Notes
    -----
    A visible time before the write time contradicts itself; such a row gets no bounds: it neither convicts nor acquits.

    Examples
    --------
    >>> a, b = bounds([1_000], [1_500], clock_error_us=10)
    >>> a.tolist(), b.tolist()
    ([990], [1511])
    """
    write = np.array(write_time_us, np.int64)
    visible = write if visible_time_us is None else np.array(visible_time_us, np.int64)
    if visible_time_us is None:
        visible = np.where(write == NEVER_US, FOREVER_US, write)
    if input_visible_from_us is not None:
        floor = np.asarray(input_visible_from_us, np.int64)
        write, visible = np.maximum(write, floor), np.maximum(visible, floor)
    a = np.where(write == NEVER_US, NEVER_US, write - clock_error_us)
    b = np.where(visible == FOREVER_US, FOREVER_US, visible + (resolution_us + clock_error_us))
    contradiction = visible < write
    return np.where(contradiction, NEVER_US, a), np.where(contradiction, FOREVER_US, b)


def covered(p_lo_us: Int64, p_hi_us: Int64, ranges_us: Iterable[tuple[int, int]]) -> Bool:
    """bool[n]: whether one of the half-open ranges in which the log is complete holds the whole of P.

    Examples
    --------
    >>> covered(np.array([5, 9]), np.array([6, 11]), [(0, 10)]).tolist()
    [True, False]
    """
    inside = np.zeros(p_lo_us.size, np.bool_)
    for start, end in ranges_us:
        inside |= (p_lo_us >= start) & (p_hi_us <= end)
    return inside


@dataclass(frozen=True, slots=True)
class VersionSet:
    """Histories in CSR form: group g, one (entity, feature), owns rows `start[g]` to `start[g + 1]`.

    Rows of a group stand in winning order: the last visible one is current. An empty group is an entity without
    versions.

    Parameters
    ----------
    start
        int64[g + 1], from 0 to n, never falling.
    a_us, b_us
        int64[n]: bounds of visibility as `bounds` gives them; NEVER_US and FOREVER_US are infinite.
    hashes
        uint64[n]: `features.lineage.value_hash`; 0 is NULL and NaN.
    ids
        uint64[n], never 0: needed where cells name versions.
    seq
        int64[n]: places in the sequence of writes: needed where cells carry a position.
    begins
        bool[g]: the log begins at or before the first version. False where older versions were dropped: what came
        before is then unknown instead of ABSENT. Default: all True.
    eps_us, resolution_us
        int64[g]: what the bounds contain; they only name the reason of an ambiguity. Default: 0 and 1.
    tier
        int8[g]: evidence of the bounds. Default: E2.
    """

    start: Int64
    a_us: Int64
    b_us: Int64
    hashes: UInt64
    ids: UInt64 | None = None
    seq: Int64 | None = None
    begins: Bool | None = None
    eps_us: Int64 | None = None
    resolution_us: Int64 | None = None
    tier: Int8 | None = None

    @property
    def groups(self) -> int:
        """How many histories there are."""
        return self.start.size - 1


@dataclass(frozen=True, slots=True)
class CellSet:
    """Cells to be judged.

    Parameters
    ----------
    group
        int64[c]: index of the cell's history in the `VersionSet`.
    p_lo_us, p_hi_us
        int64[c]: the read interval; `p_lo_us` is the read time as stamped. Default end: one microsecond later.
    hashes
        uint64[c]: value hashes.
    stamps
        uint64[c]: id of the version that the node read; 0: not stamped.
    named
        uint64[c]: id of the version that a training row says its value is; 0: none. No stamp: it decides between LEAK
        and STALE only.
    position
        int64[c]: place of the read in the sequence of writes; NO_POSITION: none.
    covered
        bool[c]: the log is complete at the read. Default: all True.
    tier
        int8[c]: evidence of the read. Default: E0.
    """

    group: Int64
    p_lo_us: Int64
    hashes: UInt64
    p_hi_us: Int64 | None = None
    stamps: UInt64 | None = None
    named: UInt64 | None = None
    position: Int64 | None = None
    covered: Bool | None = None
    tier: Int8 | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was found, cell by cell, with the evidence that decided.

    Parameters
    ----------
    verdict, reason
        int8[c]: codes of `Verdict` and `Reason`.
    tier
        int8[c]: that of the weakest input.
    lead_us
        int64[c]: by how many microseconds, at least, the value came too late; 0 unless LEAK.
    version
        int64[c]: row of the decisive version in the `VersionSet`, -1 if there is none (or it is ABSENT). PASS and
        ambiguous: the first of Q that holds the value; LEAK and LEAK_OR_STALE: the earliest future one; STALE: the
        newest superseded one; stamped: the stamped one.
    clock_gap_us
        int64[c]: how much the clock error must grow before the bounds agree with the stamp; 0: they agree.
    """

    verdict: Int8
    reason: Int8
    tier: Int8
    lead_us: Int64
    version: Int64
    clock_gap_us: Int64

    def words(self) -> list[tuple[Verdict, Reason]]:
        """Verdict and reason of each cell as words, for people and tests."""
        return [(VERDICTS[v], REASONS[r]) for v, r in zip(self.verdict.tolist(), self.reason.tolist(), strict=True)]


def judge(versions: VersionSet, cells: CellSet) -> Verdicts:
    """The verdict of every cell.

    Raises
    ------
    ValueError
        Shapes do not agree, a group is unknown, an interval is empty, or something that a cell refers to (ids,
        sequence) is missing. Nothing is guessed.

    Examples
    --------
    >>> a, b = bounds([100, 205])
    >>> history = VersionSet(np.array([0, 2]), a, b, np.array([7, 0], np.uint64))
    >>> cells = CellSet(np.array([0, 0]), np.array([200, 200]), np.array([0, 7], np.uint64))
    >>> found = judge(history, cells)
    >>> [str(verdict) for verdict, _ in found.words()], found.lead_us.tolist()
    (['LEAK', 'PASS'], [5, 0])
    """
    _check_versions(versions)
    p_hi_us = cells.p_lo_us + 1 if cells.p_hi_us is None else cells.p_hi_us
    _check_cells(versions, cells, p_hi_us)
    g, c = versions.groups, cells.group.size
    stamp = _find(versions, cells, cells.stamps)
    position = np.full(c, NO_POSITION) if cells.position is None else cells.position
    group_tier = np.full(g, Tier.E2, np.int8) if versions.tier is None else versions.tier
    verdict, reason, lead, version, gap = intervals.judge_cells(
        versions.a_us,
        versions.b_us,
        np.empty(0, np.int64) if versions.seq is None else versions.seq,
        versions.hashes,
        versions.start,
        np.ones(g, np.bool_) if versions.begins is None else versions.begins,
        np.zeros(g, np.int64) if versions.eps_us is None else versions.eps_us,
        np.ones(g, np.int64) if versions.resolution_us is None else versions.resolution_us,
        cells.group,
        cells.p_lo_us,
        p_hi_us,
        cells.hashes,
        _find(versions, cells, cells.named),
        stamp,
        position,
        np.ones(c, np.bool_) if cells.covered is None else cells.covered,
    )
    # Order replaces the clocks, a stamp the bounds as well; "not the newest" rests on the bounds again.
    tier = group_tier[cells.group]
    if cells.position is not None:
        tier[position != NO_POSITION] = Tier.E1
    if cells.stamps is not None:
        tier[(stamp >= 0) & (verdict == intervals.PASS)] = Tier.E0
    if cells.tier is not None:
        np.maximum(tier, cells.tier, out=tier)
    return Verdicts(verdict, reason, tier, lead, version, gap)


def warm_up() -> None:
    """Compile or load the kernels, so that no first prediction waits for it."""
    a_us, b_us = bounds([1])
    one = np.array([1], np.uint64)
    zero = np.array([0])
    judge(VersionSet(np.array([0, 1]), a_us, b_us, one, ids=one), CellSet(zero, zero, one, stamps=one))


def group_rows(
    group: Int64,
    groups: int,
    write_time_us: Int64,
    *,
    seq: Int64 | None = None,
    event_time_us: Int64 | None = None,
    order: Literal["last_write", "max_event_time"] = "last_write",
) -> tuple[Int64, Int64]:
    """How to bring the rows of a log into CSR form: (permutation int64[n], start int64[g + 1]).

    Source order is `seq`, else the write time; ties keep the order of rows. Under ``max_event_time`` an older event
    never replaces a newer one, so the event time comes first. Rows of group -1 are left out.

    Raises
    ------
    ValueError
        ``max_event_time`` without event times, or a group outside -1 to `groups` - 1.

    Examples
    --------
    >>> rows, start = group_rows(np.array([1, 0, 1]), 3, np.array([20, 5, 10]))
    >>> rows.tolist(), start.tolist()
    ([1, 2, 0], [0, 1, 3, 3])
    """
    if group.size and (group.min() < -1 or group.max() >= groups):
        raise ValueError(f"expected groups from -1 to {groups - 1}, found {group.min()} to {group.max()}")
    keys: list[Int64] = [write_time_us if seq is None else seq]
    if order == "max_event_time":
        if event_time_us is None:
            raise ValueError("expected event times, because the order is 'max_event_time'; found none")
        keys.append(event_time_us)
    rows = np.arange(group.size)
    for key in keys:
        if not grouping.never_falls(key[rows]):  # logs are usually written in order
            rows = rows[np.argsort(key[rows], kind="stable")]
    found: tuple[Int64, Int64] = grouping.sort_by_group(group, groups, rows)
    return found


def _find(versions: VersionSet, cells: CellSet, wanted: UInt64 | None) -> Int64:
    """Rows of the versions with these ids; the kernel's codes for "none named" and "not found"."""
    if wanted is None or not wanted.any():
        return np.full(cells.group.size, intervals.NOT_NAMED, np.int64)
    if versions.ids is None:
        raise ValueError("expected version ids in the histories, because cells name versions; found none")
    found: Int64 = intervals.find_versions(versions.ids, versions.start, cells.group, wanted)
    return found


def _check_versions(versions: VersionSet) -> None:
    start, n, g = versions.start, versions.a_us.size, versions.groups
    if not intervals.is_csr(start, n):
        raise ValueError(
            f"expected group starts rising from 0 to {n}, found {start[:3].tolist()} to {start[-1:].tolist()}"
        )
    _check_sizes("versions", n, b_us=versions.b_us, hashes=versions.hashes, ids=versions.ids, seq=versions.seq)
    _check_sizes(
        "groups",
        g,
        begins=versions.begins,
        eps_us=versions.eps_us,
        resolution_us=versions.resolution_us,
        tier=versions.tier,
    )
    row = intervals.odd_version(versions.a_us, versions.b_us)
    if row >= 0:
        found = f"[{versions.a_us[row]}, {versions.b_us[row]})"
        raise ValueError(f"expected an interval of visibility in microseconds, found {found} in row {row}")


def _check_cells(versions: VersionSet, cells: CellSet, p_hi_us: Int64) -> None:
    _check_sizes(
        "cells",
        cells.group.size,
        p_lo_us=cells.p_lo_us,
        p_hi_us=p_hi_us,
        hashes=cells.hashes,
        stamps=cells.stamps,
        named=cells.named,
        position=cells.position,
        covered=cells.covered,
        tier=cells.tier,
    )
    row = intervals.odd_cell(cells.group, versions.groups, cells.p_lo_us, p_hi_us)
    if row >= 0:
        group, read = cells.group[row], f"[{cells.p_lo_us[row]}, {p_hi_us[row]})"
        raise ValueError(
            f"expected a group from 0 to {versions.groups - 1} and a read interval in microseconds, "
            f"found group {group} and {read} in cell {row}"
        )
    if cells.position is not None and versions.seq is None and (cells.position != NO_POSITION).any():
        raise ValueError("expected a sequence in the histories, because cells carry a position; found none")


def _check_sizes(what: str, size: int, **columns: npt.NDArray[np.generic] | None) -> None:
    for name, column in columns.items():
        if column is not None and column.shape != (size,):
            raise ValueError(f"expected {size} {what} in {name}, found shape {column.shape}")
