"""What could a read have found? Enumerated, version by version, and turned into the words of the millisecond test.

A version became visible at some instant of [a, b); the read happened in the microsecond from p. For each version, and
for "nothing yet", it is asked whether there is a world in which it was the current one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """A version as a judge sees it: bounds of visibility, value as (kind, text), and its name."""

    a: float
    b: float
    value: Any
    name: Any = None


def currents(history: Sequence[Candidate], p: int) -> set[int]:
    """Places of all versions that could have been current at p; -1: nothing was visible.

    World by world while there are few of them, else by looking for one witness world per version.
    """
    must = [v.b <= p for v in history]
    may = [v.a < p + 1 for v in history]
    open_places = [i for i in range(len(history)) if may[i] and not must[i]]
    found = set()
    if len(open_places) <= 6:
        for chosen in product([False, True], repeat=len(open_places)):
            opened = dict(zip(open_places, chosen, strict=True))
            visible = [i for i in range(len(history)) if opened.get(i, must[i])]
            found.add(visible[-1] if visible else -1)
        return found
    for i in range(-1, len(history)):
        is_possible = i < 0 or may[i] or must[i]
        if is_possible and not any(must[i + 1 :]):
            found.add(i)
    return found


def verdict(
    history: Sequence[Candidate], p: int, value: Any, *, stamp: Any = None, named: Any = None
) -> tuple[str, int | None]:
    """(verdict, lead in microseconds or None) of one cell; versions in winning order, values as (kind, text)."""
    possible = currents(history, p)
    if stamp is not None:
        return _stamped(history, possible, value, stamp), None
    agreeing = {i for i in possible if (None if i < 0 else history[i].value) == value}
    if agreeing == possible:
        return "PASS", None
    if agreeing:
        is_open = any(history[i].b == inf for i in possible if i >= 0)
        return ("UNVERIFIABLE" if is_open else "SKEW_AMBIGUOUS"), None
    equal = [i for i, v in enumerate(history) if v.value == value]
    future = [i for i in equal if history[i].a >= p + 1]
    past = [i for i in equal if i not in future]
    lead = max(1, int(min((history[i].a for i in future), default=0)) - p)
    if future and past:
        for i in equal:
            if named is not None and history[i].name == named:
                return ("LEAK", max(1, int(history[i].a) - p)) if i in future else ("STALE", None)
        return "LEAK_OR_STALE", None
    if future:
        return "LEAK", lead
    return ("STALE" if past else "UNVERIFIABLE"), None


def _stamped(history: Sequence[Candidate], possible: set[int], value: Any, stamp: Any) -> str:
    places = [i for i, v in enumerate(history) if v.name == stamp]
    if not places or history[places[0]].value != value:
        return "UNVERIFIABLE"
    # The stamp proves that this version was readable: stale only where a later one certainly was, too.
    return "STALE" if all(i > places[0] for i in possible) and possible else "PASS"
