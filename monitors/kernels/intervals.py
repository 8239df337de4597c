"""Could this value be known at that instant? The law of intervals, compiled.

Version j became visible somewhere in [a_j, b_j); the read happened somewhere in P = [p_lo, p_hi). Q holds the versions
that could have been current: a_j < p_hi, and the least b of all later versions > p_lo, plus ABSENT before the first
while the least b of all versions > p_lo. The verdict compares the cell's value with Q, then with the superseded and
the future versions.

The least b of later versions never falls along the history, so Q begins at a place found by bisection; running
extremes of a tell where it ends. Histories come in CSR form: group g is `start[g]` to `start[g + 1]`, in winning order.

Codes are those of `monitors.verdicts`, written out: a compiled kernel kept on disk would not notice a change there.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Int8 = npt.NDArray[np.int8]
Bool = npt.NDArray[np.bool_]

NEVER_US = -(2**63)
FOREVER_US = 2**63 - 1

PASS, LEAK, SKEW_AMBIGUOUS, STALE, LEAK_OR_STALE, UNVERIFIABLE = 0, 1, 2, 3, 4, 5
NONE, SKEW, RESOLUTION, SAME_MS, NO_COVERAGE, NO_UPPER_BOUND, PHANTOM = 0, 1, 2, 3, 4, 5, 6
STAMP_UNKNOWN, STAMP_MISMATCH, IN_FLIGHT, NO_LOWER_BOUND, TYPE_MISMATCH = 8, 9, 10, 11, 12

NOT_NAMED = -1  # the row names no version
NOT_FOUND = -2  # it names one that the history does not have
NO_POSITION = NEVER_US  # the read has no place in the sequence of writes

#: Sums and differences of times within this bound do not overflow; it is 73,000 years either way.
TIME_MAX_US = 2**61

_MILLISECOND_US = 1_000


@njit(cache=True, nogil=True)
def extremes(a: Int64, b: Int64, start: Int64) -> tuple[Int64, Int64, Int64]:
    """Per version of its group: least b of all later ones, least a from here on, greatest a up to here."""
    later_b = np.empty(a.size, np.int64)
    from_a = np.empty(a.size, np.int64)
    to_a = np.empty(a.size, np.int64)
    for g in range(start.size - 1):
        least_b = least_a = FOREVER_US
        for j in range(start[g + 1] - 1, start[g] - 1, -1):
            later_b[j] = least_b
            least_b = min(least_b, b[j])
            least_a = min(least_a, a[j])
            from_a[j] = least_a
        greatest_a = NEVER_US
        for j in range(start[g], start[g + 1]):
            greatest_a = max(greatest_a, a[j])
            to_a[j] = greatest_a
    return later_b, from_a, to_a


@njit(cache=True, nogil=True)
def find_versions(ids: UInt64, start: Int64, cell_group: Int64, wanted: UInt64) -> Int64:
    """int64[c]: index of the version with the wanted id in the cell's group; NOT_NAMED for id 0, else NOT_FOUND."""
    found = np.empty(wanted.size, np.int64)
    for c in range(wanted.size):
        g = cell_group[c]
        found[c] = NOT_NAMED if wanted[c] == 0 else NOT_FOUND
        if wanted[c] != 0:
            for j in range(start[g + 1] - 1, start[g] - 1, -1):  # serving reads the newest versions
                if ids[j] == wanted[c]:
                    found[c] = j
                    break
    return found


@njit(cache=True, nogil=True)
def is_csr(start: Int64, n: int) -> bool:
    """Whether these are group starts: from 0 to n, never falling."""
    rises = start.size > 0 and start[0] == 0 and start[-1] == n
    for g in range(start.size - 1):
        rises &= start[g] <= start[g + 1]
    return rises


@njit(cache=True, nogil=True)
def odd_version(a: Int64, b: Int64) -> int:
    """First row whose bounds are no interval of times that can be added safely; -1: none."""
    for j in range(a.size):
        if a[j] > b[j]:
            return j
        if a[j] != NEVER_US and (a[j] < -TIME_MAX_US or a[j] > TIME_MAX_US):
            return j
        if b[j] != FOREVER_US and (b[j] < -TIME_MAX_US or b[j] > TIME_MAX_US):
            return j
    return -1


@njit(cache=True, nogil=True)
def odd_cell(group: Int64, groups: int, p_lo: Int64, p_hi: Int64) -> int:
    """First cell of an unknown group or with a read that is no interval of times; -1: none."""
    for c in range(group.size):
        if group[c] < 0 or group[c] >= groups:
            return c
        if p_lo[c] >= p_hi[c] or p_lo[c] < -TIME_MAX_US or p_hi[c] > TIME_MAX_US:
            return c
    return -1


@njit(cache=True, nogil=True)
def _first_not_beaten(later_b: Int64, s: int, e: int, p_lo: int) -> int:
    """First j of [s, e) with later_b[j] > p_lo; e if there is none."""
    while s < e:
        middle = (s + e) // 2
        if later_b[middle] > p_lo:
            e = middle
        else:
            s = middle + 1
    return s


@njit(cache=True, nogil=True)
def _rank(reason: int) -> int:
    """How stubborn a reason is: the ambiguity is named after the bound that would be the last to go."""
    if reason == NO_LOWER_BOUND:
        return 4
    if reason == IN_FLIGHT:
        return 3
    if reason == RESOLUTION:
        return 2
    return 1 if reason == SAME_MS else 0


@njit(cache=True, nogil=True)
def _reason(a: Int64, b: Int64, from_a: Int64, first: int, e: int, p_lo: int, p_hi: int, eps: int, res: int) -> int:
    """Why the versions of Q that are neither surely visible nor surely not are so: see `monitors.leakage`."""
    worst = SKEW
    for j in range(first, e):
        if from_a[j] >= p_hi:
            break
        if a[j] >= p_hi or b[j] <= p_lo:
            continue
        write = a[j] if a[j] == NEVER_US else a[j] + eps
        end = b[j] - eps  # finite: an infinite b is answered before
        reason = SKEW
        if write < p_hi and end > p_lo:
            if write <= p_lo and end - res > p_lo:
                reason = NO_LOWER_BOUND if a[j] == NEVER_US else IN_FLIGHT
            elif max(res, p_hi - p_lo) > _MILLISECOND_US:
                reason = RESOLUTION
            else:
                reason = SAME_MS
        if _rank(reason) > _rank(worst):
            worst = reason
    return worst


@njit(cache=True, nogil=True)
def _lead(a_us: int, t_p: int) -> int:
    """Microseconds from the read to the earliest instant of visibility, at least 1."""
    return a_us - t_p if a_us > t_p else 1


@njit(cache=True, nogil=True)
def _verdict(
    a: Int64,
    b: Int64,
    later_b: Int64,
    from_a: Int64,
    to_a: Int64,
    a_us: Int64,
    from_a_us: Int64,
    value: UInt64,
    s: int,
    e: int,
    p_lo: int,
    p_hi: int,
    t_p: int,
    x: int,
    named: int,
    begins: bool,
    eps: int,
    res: int,
) -> tuple[int, int, int, int]:
    """(verdict, reason, lead, decisive version) of one cell; a and b in microseconds or in positions of a sequence."""
    absent = s == e or min(b[s], later_b[s]) > p_lo
    if absent and not begins:
        return UNVERIFIABLE, NO_COVERAGE, 0, -1
    first = _first_not_beaten(later_b, s, e, p_lo)

    holds = absent and x == 0
    differs = absent and x != 0
    endless = False
    holder = -1
    for j in range(first, e):
        if from_a[j] >= p_hi:
            break
        if a[j] >= p_hi:
            continue
        if value[j] != x:
            differs = True
        elif not holds:
            holds = True
            holder = j
        if b[j] == FOREVER_US:
            endless = True
        if holds and differs and endless:
            return UNVERIFIABLE, NO_UPPER_BOUND, 0, holder
    if holds:
        if not differs:
            return PASS, NONE, 0, holder
        return SKEW_AMBIGUOUS, _reason(a, b, from_a, first, e, p_lo, p_hi, eps, res), 0, holder

    future = -1
    soonest = FOREVER_US
    for j in range(first, e):
        if from_a_us[j] >= soonest:
            break
        if value[j] == x and a[j] >= p_hi and a_us[j] < soonest:
            soonest = a_us[j]
            future = j
    past = -1
    for j in range(first - 1, s - 1, -1):
        if past >= 0 and to_a[j] < p_hi:
            break
        if value[j] != x:
            continue
        if a[j] < p_hi:
            past = max(past, j)
        elif a_us[j] <= soonest:  # beaten and yet in the future: the future counts
            soonest = a_us[j]
            future = j

    if future < 0 and past < 0:
        return UNVERIFIABLE, PHANTOM if begins else NO_COVERAGE, 0, -1
    if future < 0:
        return STALE, NONE, 0, past
    if past < 0 and begins:
        return LEAK, NONE, _lead(soonest, t_p), future
    if named >= s and named < e and value[named] == x:
        if a[named] >= p_hi:
            return LEAK, NONE, _lead(a_us[named], t_p), named
        return STALE, NONE, 0, named
    return LEAK_OR_STALE, NONE if past >= 0 else NO_COVERAGE, 0, future


@njit(cache=True, nogil=True)
def _stamped(
    a_us: Int64, later_b: Int64, value: UInt64, stamp: int, p_lo: int, x: int, p_hi_us: int
) -> tuple[int, int, int, int]:
    """(verdict, reason, version, clock gap) of a cell that says which version was read."""
    if stamp == NOT_FOUND:
        return UNVERIFIABLE, STAMP_UNKNOWN, -1, 0
    if value[stamp] != x:
        return UNVERIFIABLE, STAMP_MISMATCH, stamp, 0
    # A stamp proves that the version was readable, so a lower bound after the read convicts the clock, not the cell.
    gap = a_us[stamp] - p_hi_us + 1 if a_us[stamp] >= p_hi_us else 0
    return (STALE if later_b[stamp] <= p_lo else PASS), NONE, stamp, gap


@njit(cache=True, nogil=True)
def judge_cells(
    a_us: Int64,
    b_us: Int64,
    seq: Int64,
    value: UInt64,
    start: Int64,
    begins: Bool,
    eps: Int64,
    res: Int64,
    cell_group: Int64,
    p_lo: Int64,
    p_hi: Int64,
    cell_value: UInt64,
    named: Int64,
    stamp: Int64,
    position: Int64,
    covered: Bool,
) -> tuple[Int8, Int8, Int64, Int64, Int64]:
    """Verdicts of many cells; every array checked by the caller, `seq` empty if no cell has a position.

    Returns int8[c] verdict, int8[c] reason, int64[c] lead, int64[c] decisive version, int64[c] clock gap.
    """
    n = cell_group.size
    verdict = np.empty(n, np.int8)
    reason = np.empty(n, np.int8)
    lead = np.zeros(n, np.int64)
    version = np.full(n, -1, np.int64)
    gap = np.zeros(n, np.int64)
    later_b, from_a, to_a = extremes(a_us, b_us, start)
    # A place in the sequence is an instant of a clock without error: equal places stay undecided, as equal stamps do.
    seq_end = seq + 1
    later_seq, from_seq, to_seq = later_b, from_a, to_a
    if seq.size > 0:
        later_seq, from_seq, to_seq = extremes(seq, seq_end, start)
    for c in range(n):
        g = cell_group[c]
        s, e = start[g], start[g + 1]
        by_order = position[c] != NO_POSITION
        if not covered[c]:
            verdict[c], reason[c] = UNVERIFIABLE, NO_COVERAGE
        elif stamp[c] != NOT_NAMED:
            later, lo = (later_seq, position[c]) if by_order else (later_b, p_lo[c])
            verdict[c], reason[c], version[c], gap[c] = _stamped(
                a_us, later, value, stamp[c], lo, cell_value[c], p_hi[c]
            )
        elif by_order:
            verdict[c], reason[c], lead[c], version[c] = _verdict(
                seq, seq_end, later_seq, from_seq, to_seq, a_us, from_a, value, s, e,
                position[c], position[c] + 1, p_lo[c], cell_value[c], named[c], begins[g], 0, 1,
            )  # fmt: skip
        else:
            verdict[c], reason[c], lead[c], version[c] = _verdict(
                a_us, b_us, later_b, from_a, to_a, a_us, from_a, value, s, e,
                p_lo[c], p_hi[c], p_lo[c], cell_value[c], named[c], begins[g], eps[g], res[g],
            )  # fmt: skip
    return verdict, reason, lead, version, gap
