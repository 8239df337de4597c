"""Which cells of one feature could not have been known? The rule of `monitors.leakage`, for whole columns.

Beside the verdict of every cell this gives what a corrected table needs (the newest version that was surely readable)
and an honest tier: a verdict that would be another one without the assumption "visible = write" is of tier E4.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US
from monitors.kernels import grouping, intervals
from monitors.leakage import NO_POSITION, CellSet, Verdicts, VersionSet, judge
from monitors.verdicts import Tier

Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]
UInt64 = npt.NDArray[np.uint64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Version rows copied at a time where cells are compared with a tolerance: 16 MB per column.
_TOLERANCE_ROWS = 2_000_000


@dataclass(frozen=True, slots=True)
class History:
    """All versions of one or more features that stand in the same rows, sorted: group g is entity g.

    Parameters
    ----------
    start
        int64[g + 1], rows of each entity, in winning order.
    a_us, b_us
        int64[n] bounds as `monitors.leakage.bounds` gives them.
    assumed
        bool[n]: `b_us` rests on "visible = write"; None: nowhere.
    seq, ids
        As in `VersionSet`.
    """

    start: Int64
    a_us: Int64
    b_us: Int64
    clock_error_us: int
    resolution_us: int
    assumed: Bool | None = None
    seq: Int64 | None = None
    ids: UInt64 | None = None

    def versions(self, hashes: UInt64) -> VersionSet:
        """The histories of one feature: uint64[n] value hashes in the order of the rows."""
        g = self.start.size - 1
        return VersionSet(
            self.start,
            self.a_us,
            self.b_us,
            hashes,
            ids=self.ids,
            seq=self.seq,
            eps_us=np.full(g, self.clock_error_us, np.int64),
            resolution_us=np.full(g, self.resolution_us, np.int64),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found about the cells of one feature.

    Parameters
    ----------
    as_of
        int64[c]: the version that a corrected table takes, -1: NULL.
    is_known
        bool[c]: whether `as_of` is what was readable; False where nobody knows, so that NULL stands for ignorance.
    """

    verdicts: Verdicts
    as_of: Int64
    is_known: Bool


def judge_feature(
    history: History,
    hashes: UInt64,
    cells: CellSet,
    *,
    numbers: tuple[Float64, Float64, float] | None = None,
) -> Judged:
    """Judge the cells of one feature.

    Parameters
    ----------
    hashes
        uint64[n]: value hashes of the versions.
    numbers
        (float64[n] of the versions, float64[c] of the cells, absolute tolerance): equality within the tolerance, NaN
        for NULL; None: hashes decide.

    Examples
    --------
    >>> history = History(np.array([0, 2]), np.array([100, 205]), np.array([101, 206]), 0, 1)
    >>> cells = CellSet(np.array([0, 0]), np.array([200, 200]), np.array([9, 7], np.uint64))
    >>> judged = judge_feature(history, np.array([7, 9], np.uint64), cells)
    >>> [str(v) for v, _ in judged.verdicts.words()], judged.as_of.tolist()
    (['LEAK', 'PASS'], [0, 0])
    """
    found = _judge(history, hashes, cells, numbers)
    if history.assumed is not None and history.assumed.any():
        found = _without_assumption(history, hashes, cells, numbers, found)
    as_of, is_known = _as_of(history, cells)
    return Judged(found, as_of, is_known)


def _judge(
    history: History, hashes: UInt64, cells: CellSet, numbers: tuple[Float64, Float64, float] | None
) -> Verdicts:
    if numbers is None:
        return judge(history.versions(hashes), cells)
    return _within(history, cells, *numbers)


def _without_assumption(
    history: History,
    hashes: UInt64,
    cells: CellSet,
    numbers: tuple[Float64, Float64, float] | None,
    found: Verdicts,
) -> Verdicts:
    """The same verdicts; tier E4 where the word would be another one if no upper bound had been assumed."""
    # A leak of a value that is not NULL says that nothing visible by then ever held it: no upper bound is in that.
    open_ = ~((found.verdict == intervals.LEAK) & (cells.hashes != 0))
    if cells.position is not None:
        open_ &= cells.position == NO_POSITION  # order decides there, and no clock
    at = np.flatnonzero(open_)
    if at.size == 0:
        return found
    bare = replace(history, b_us=np.where(np.asarray(history.assumed), FOREVER_US, history.b_us), assumed=None)
    some = None if numbers is None else (numbers[0], numbers[1][at], numbers[2])
    again = _judge(bare, hashes, _pick(cells, at), some)
    rests = (again.verdict != found.verdict[at]) | (again.reason != found.reason[at])
    tier = found.tier.copy()
    tier[at[rests]] = np.maximum(tier[at[rests]], Tier.E4)
    return replace(found, tier=tier)


def _as_of(history: History, cells: CellSet) -> tuple[Int64, Bool]:
    later_b, from_a, _ = intervals.extremes(history.a_us, history.b_us, history.start)
    found: Int64 = grouping.newest_before(history.b_us, later_b, history.start, cells.group, cells.p_lo_us)
    if cells.position is not None and history.seq is not None:
        end = history.seq + 1
        later, _, _ = intervals.extremes(history.seq, end, history.start)
        by_order = grouping.newest_before(end, later, history.start, cells.group, cells.position)
        found = np.where(cells.position == NO_POSITION, found, by_order)
    # Where no version can have been readable, NULL is the truth; else it only says that nobody knows.
    has_any = np.diff(history.start) > 0
    earliest = np.where(
        has_any, from_a[np.minimum(history.start[:-1], max(from_a.size - 1, 0))] if from_a.size else 0, 0
    )
    end = cells.p_lo_us + 1 if cells.p_hi_us is None else cells.p_hi_us
    is_known = (found >= 0) | ~has_any[cells.group] | (earliest[cells.group] >= end)
    if cells.covered is not None:
        found, is_known = np.where(cells.covered, found, -1), is_known & cells.covered
    return found, is_known


def _within(history: History, cells: CellSet, values: Float64, wanted: Float64, tolerance: float) -> Verdicts:
    """Equality within a tolerance is not transitive, so every cell gets a history of its own: equal, NULL or other."""
    lengths = np.diff(history.start)[cells.group]
    parts: list[Verdicts] = []
    begin = 0
    while begin < cells.group.size or not parts:
        end = max(begin + 1, int(np.searchsorted(np.cumsum(lengths[begin:]), _TOLERANCE_ROWS)) + begin)
        at = np.arange(begin, min(end, cells.group.size))
        parts.append(_within_some(history, _pick(cells, at), values, wanted[at], tolerance))
        begin = end
    return Verdicts(*(np.concatenate([getattr(p, name) for p in parts]) for name in Verdicts.__slots__))


def _within_some(history: History, cells: CellSet, values: Float64, wanted: Float64, tolerance: float) -> Verdicts:
    first = history.start[cells.group]
    lengths = history.start[cells.group + 1] - first
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    owner = np.repeat(np.arange(cells.group.size), lengths)
    rows = np.arange(start[-1]) - start[owner] + first[owner]
    with np.errstate(invalid="ignore"):
        near = np.abs(values[rows] - wanted[owner]) <= tolerance
    near |= values[rows] == wanted[owner]  # infinities
    hashes = np.where(np.isnan(values[rows]), 0, np.where(near, 1, 2)).astype(np.uint64)
    own = replace(
        history,
        start=start,
        a_us=history.a_us[rows],
        b_us=history.b_us[rows],
        seq=None if history.seq is None else history.seq[rows],
        ids=None if history.ids is None else history.ids[rows],
    )
    mine = replace(
        cells,
        group=np.arange(cells.group.size),
        hashes=np.where(np.isnan(wanted), 0, 1).astype(np.uint64),
    )
    found = judge(own.versions(hashes), mine)
    version = np.where(found.version >= 0, rows[np.maximum(found.version, 0)] if rows.size else -1, -1)
    return replace(found, version=version.astype(np.int64))


def _pick(cells: CellSet, at: Int64) -> CellSet:
    """Some of the cells."""
    names: tuple[str, ...] = ("group", "p_lo_us", "hashes", "p_hi_us", "stamps", "named", "position", "covered", "tier")
    given = {name: getattr(cells, name) for name in names}
    return replace(cells, **{name: column[at] for name, column in given.items() if column is not None})
