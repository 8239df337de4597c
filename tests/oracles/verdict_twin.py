"""The text of the millisecond test, written down once more, slowly: definition, readings, stamps, reasons.

Nothing is shared with the code under test. Infinite bounds are Python infinities, versions are objects, Q is a list.
"""

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Version:
    a: float
    b: float
    value: int  # 0 is NULL
    seq: int = 0
    id: int = 0


@dataclass(frozen=True)
class Cell:
    p_lo: int
    p_hi: int
    value: int
    named: int = 0
    stamp: int = 0
    position: int | None = None
    covered: bool = True


@dataclass(frozen=True)
class Answer:
    verdict: str
    reason: str = "none"
    lead: int = 0
    version: int = -1  # place in the history
    gap: int = 0


def answer(history: list[Version], cell: Cell, *, eps: int = 0, res: int = 1, begins: bool = True) -> Answer:
    """The verdict of one cell on one history in winning order."""
    if not cell.covered:
        return Answer("UNVERIFIABLE", "no_coverage")
    if cell.position is None:
        a, b = [v.a for v in history], [v.b for v in history]
        p_lo, p_hi = cell.p_lo, cell.p_hi
    else:
        a, b = [v.seq for v in history], [v.seq + 1 for v in history]
        p_lo, p_hi, eps, res = cell.position, cell.position + 1, 0, 1
    n, x = len(history), cell.value

    def least_later_b(j: int) -> float:
        return min(b[j + 1 :], default=inf)

    if cell.stamp:
        places = [j for j in range(n) if history[j].id == cell.stamp]
        if not places:
            return Answer("UNVERIFIABLE", "stamp_unknown")
        (j,) = places
        if history[j].value != x:
            return Answer("UNVERIFIABLE", "stamp_mismatch", version=j)
        gap = max(0, int(history[j].a) - cell.p_hi + 1) if history[j].a > -inf else 0
        return Answer("STALE" if least_later_b(j) <= p_lo else "PASS", version=j, gap=gap)

    absent_in_q = min(b, default=inf) > p_lo
    if absent_in_q and not begins:
        return Answer("UNVERIFIABLE", "no_coverage")
    q = [j for j in range(n) if a[j] < p_hi and least_later_b(j) > p_lo]
    future = [j for j in range(n) if a[j] >= p_hi]
    superseded = [j for j in range(n) if j not in q and j not in future]

    agree = [history[j].value == x for j in q]
    if absent_in_q:
        agree = [x == 0, *agree]
    holder = -1 if absent_in_q and x == 0 else next((j for j in q if history[j].value == x), -1)
    if all(agree):
        return Answer("PASS", version=holder)
    if any(agree):
        if any(b[j] == inf for j in q):
            return Answer("UNVERIFIABLE", "no_upper_bound", version=holder)
        straddling = [(a[j], b[j]) for j in q if b[j] > p_lo]
        return Answer("SKEW_AMBIGUOUS", _reason(straddling, p_lo, p_hi, eps, res), version=holder)

    def lead(j: int) -> int:
        return max(1, int(history[j].a) - cell.p_lo) if history[j].a > -inf else 1

    later = [j for j in future if history[j].value == x]
    earlier = [j for j in superseded if history[j].value == x]
    if later:
        first = min(later, key=lambda j: (history[j].a, j))
        if not earlier and begins:
            return Answer("LEAK", lead=lead(first), version=first)
        for j in later:
            if cell.named and history[j].id == cell.named:
                return Answer("LEAK", lead=lead(j), version=j)
        for j in earlier:
            if cell.named and history[j].id == cell.named:
                return Answer("STALE", version=j)
        return Answer("LEAK_OR_STALE", "none" if earlier else "no_coverage", version=first)
    if earlier:
        return Answer("STALE", version=max(earlier))
    return Answer("UNVERIFIABLE", "phantom" if begins else "no_coverage")


def _reason(straddling: list[tuple[float, float]], p_lo: int, p_hi: int, eps: int, res: int) -> str:
    """Take clock error, resolution and width of P away in turn; the last bound that one of them still needs."""
    coarse = "resolution" if res > 1000 or p_hi - p_lo > 1000 else "same_ms"
    said = set()
    for a, b in straddling:
        without_eps = a + eps < p_hi and b - eps > p_lo
        as_points = a + eps <= p_lo < b - eps - res
        if as_points and without_eps:
            said.add("no_lower_bound" if a == -inf else "in_flight")
        else:
            said.add(coarse if without_eps else "skew")
    return next(r for r in ("no_lower_bound", "in_flight", "resolution", "same_ms", "skew") if r in said)
