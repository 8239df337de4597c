"""What could have happened? An oracle that enumerates possible worlds and knows no rule of the test.

A world fixes one instant of visibility for every version, somewhere in its interval, and one instant of the read. In a
world everything is plain: visible versions are those whose instant is not after the read, the last of them in winning
order is current. Instants are halves of a microsecond, so two things of one microsecond can come in either order.

From the set of all worlds follows which verdicts are true statements about them.
"""

from dataclasses import dataclass
from itertools import product
from math import inf

#: No finite bound and no read of a generated history lies outside these; an infinite bound reaches just beyond.
EARLIEST, LATEST = -50, 50


@dataclass(frozen=True)
class Outcome:
    """What a read could see: which versions were visible (in winning order)."""

    visible: tuple[bool, ...]

    def current(self, values: tuple[int, ...]) -> int:
        """The value that the read returned; 0 (NULL) where nothing was visible."""
        seen = [value for value, is_visible in zip(values, self.visible, strict=True) if is_visible]
        return seen[-1] if seen else 0


def outcomes(intervals: list[tuple[float, float]], p_lo: int, p_hi: int) -> set[Outcome]:
    """All outcomes over all worlds. Intervals [a, b) and P in microseconds; infinities allowed."""
    found = set()
    instants = [_halves(max(a, EARLIEST - 1), min(b, LATEST + 1)) for a, b in intervals]
    for read in _halves(p_lo, p_hi):
        # Versions become visible independently; all that a world tells about one is whether it was visible by then.
        choices = [{t <= read for t in times} for times in instants]
        found |= {Outcome(visible) for visible in product(*choices)}
    return found


def truths(intervals: list[tuple[float, float]], values: tuple[int, ...], p_lo: int, p_hi: int, x: int) -> set[str]:
    """The verdicts that say nothing false about a cell with value x.

    Where the bounds are finite and P is one microsecond wide there is exactly one; else SKEW_AMBIGUOUS and
    UNVERIFIABLE, which claim nothing, may be true beside it.
    """
    worlds = outcomes(intervals, p_lo, p_hi)
    right = [world.current(values) == x for world in worlds]
    modest = {"SKEW_AMBIGUOUS"} | ({"UNVERIFIABLE"} if any(b == inf for _, b in intervals) else set())
    if all(right):
        return {"PASS"} | (modest if p_hi - p_lo > 1 else set())
    if any(right):
        return modest
    holding = [j for j, value in enumerate(values) if value == x]
    ever_visible = [any(world.visible[j] for world in worlds) for j in holding]
    if not holding:
        told = "UNVERIFIABLE"  # it never existed
    elif not any(ever_visible):
        told = "LEAK"  # it exists, and no read then could have seen it
    elif all(ever_visible):
        told = "STALE"  # a read could have seen it before, none then
    else:
        told = "LEAK_OR_STALE"
    return {told} | (modest if p_hi - p_lo > 1 else set())


def least_lead(intervals: list[tuple[float, float]], values: tuple[int, ...], p_lo: int, x: int) -> float:
    """The shortest time, over all worlds, from the stamped read to the first visibility of x, in microseconds."""
    instants = [_halves(max(a, EARLIEST - 1), min(b, LATEST + 1)) for a, b in intervals]
    holding = [times for times, value in zip(instants, values, strict=True) if value == x]
    return min(min(world) for world in product(*holding)) - p_lo


def _halves(start: float, end: float) -> list[float]:
    return [start + i / 2 for i in range(int((end - start) * 2))]
