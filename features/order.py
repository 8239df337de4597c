"""Which of two events comes first, and how far apart can they lie?

The rules of `[order]` are difference constraints: `t(after) - t(before)` has a least and may have a greatest value. The
tightest bound between any two events is a shortest path over them (Bellman-Ford), and rules that no course of events
can fulfil are a cycle of negative length, which is named. A bound that only the order gives is strict (Dill, "Timing
assumptions and verification of finite-state concurrent systems", 1989): it counts steps below the microsecond.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from features.definitions import Precedes
from features.times import duration_text


class Bound(NamedTuple):
    """At most this much: microseconds (infinity: no bound), then steps of the order (below 0: strictly less)."""

    us: int | float
    steps: int = 0

    def plus(self, other: "Bound") -> "Bound":
        """The bound of two stretches, one after the other."""
        return Bound(self.us + other.us, self.steps + other.steps)


UNBOUNDED = Bound(math.inf)
_HERE = Bound(0)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `[order]`: `first` comes before `then`."""

    first: str
    then: str
    gap: Precedes

    @property
    def place(self) -> str:
        """Where it is declared."""
        return f"[order] {self.first}"


@dataclass(frozen=True, slots=True)
class Edge:
    """`t(end) - t(start)` is at most `bound`, because of `rule`."""

    start: str
    end: str
    bound: Bound
    rule: Rule

    def __str__(self) -> str:
        """The half of the rule that this bound is."""
        if self.bound >= _HERE:
            return f"{self.end} comes at most {duration_text(int(self.bound.us))} after {self.start}"
        least = self.rule.gap.min_us
        by = f"at least {duration_text(least)} " if least else ""
        return f"{self.end} comes {by}before {self.start}"


#: Event -> its bound, and the edge that gave it.
Bounds = dict[str, tuple[Bound, Edge | None]]


@dataclass(slots=True)
class Order:
    """The events of `[order]` and what follows from its rules.

    Parameters
    ----------
    declared
        Event -> the rules that begin with it, as in `Definitions.order`.

    Examples
    --------
    >>> order = Order({"prediction": (Precedes(before="departure", min_us=60_000_000),)})
    >>> order.least("prediction", "departure"), order.most("prediction", "departure")
    (Bound(us=60000000, steps=0), Bound(us=inf, steps=0))
    >>> order.is_before("prediction", "departure"), order.is_before("departure", "prediction")
    (True, False)
    >>> order.is_before("login", "prediction")      # an event that no rule names is before nothing
    False
    """

    declared: Mapping[str, Sequence[Precedes]]
    rules: list[Rule] = field(init=False)
    events: list[str] = field(init=False)
    _edges: list[Edge] = field(init=False)
    _paths: dict[str, Bounds] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = [Rule(first, gap.before, gap) for first, gaps in self.declared.items() for gap in gaps]
        self.events = list(dict.fromkeys([*self.declared, *(rule.then for rule in self.rules)]))
        self._edges = [edge for rule in self.rules for edge in _edges(rule)]

    def most(self, first: str, then: str) -> Bound:
        """The least upper bound of `t(then) - t(first)`; `UNBOUNDED` if there is none. Needs rules without conflict."""
        found = self._from(first).get(then)
        return UNBOUNDED if found is None else found[0]

    def least(self, first: str, then: str) -> Bound:
        """The greatest lower bound of `t(then) - t(first)`; minus infinity if there is none. `steps` > 0: strictly."""
        back = self.most(then, first)
        return Bound(-back.us, -back.steps)

    def is_before(self, first: str, then: str) -> bool:
        """Does `first` come strictly before `then` in every course of events that the rules allow?"""
        return self.least(first, then) > _HERE

    def why_most(self, first: str, then: str) -> list[Edge]:
        """The rules that give `most(first, then)`, from `first` on; empty if there is no bound."""
        paths, edges, at = self._from(first), [], then
        while at in paths and (edge := paths[at][1]) is not None:
            edges.append(edge)
            at = edge.start
        return edges[::-1]

    def why_least(self, first: str, then: str) -> list[Edge]:
        """The rules that give `least(first, then)`, from `first` on."""
        return self.why_most(then, first)[::-1]

    def conflict(self) -> list[Edge]:
        """Rules around a cycle that no course of events can fulfil together; empty if there are none."""
        return self._settle(dict.fromkeys(self.events, (_HERE, None)))

    def _from(self, first: str) -> Bounds:
        if first not in self._paths:
            bounds: Bounds = {first: (_HERE, None)}
            self._settle(bounds)
            self._paths[first] = bounds
        return self._paths[first]

    def _settle(self, bounds: Bounds) -> list[Edge]:
        """Tighten the bounds until they are tight; else the cycle that tightens them for ever."""
        while _relax(bounds, self._edges):
            cycle = _cycle(bounds)
            # Rules stand in the order of time or against it; going both ways settles a chain in two rounds.
            if cycle or not _relax(bounds, self._edges[::-1]):
                return cycle
        return []


def _edges(rule: Rule) -> Iterable[Edge]:
    """Both halves of a rule. Without a least gap the order alone holds: strictly before, by nobody knows how little."""
    least = rule.gap.min_us
    yield Edge(rule.then, rule.first, Bound(-least, 0 if least else -1), rule)
    if rule.gap.max_us is not None:
        yield Edge(rule.first, rule.then, Bound(rule.gap.max_us), rule)


def _relax(bounds: Bounds, edges: Iterable[Edge]) -> bool:
    """One round of Bellman-Ford; did any bound become tighter?"""
    is_tighter = False
    for edge in edges:
        if edge.start not in bounds:
            continue
        found = bounds[edge.start][0].plus(edge.bound)
        if edge.end not in bounds or found < bounds[edge.end][0]:
            bounds[edge.end] = (found, edge)
            is_tighter = True
    return is_tighter


def _cycle(bounds: Bounds) -> list[Edge]:
    """A cycle among the edges that the bounds rest on; it has a negative length, or it would not be there."""
    seen: set[str] = set()  # these lead to no cycle
    for event in bounds:
        path: dict[str, Edge] = {}
        at = event
        while at not in seen and at not in path and (edge := bounds[at][1]) is not None:
            path[at] = edge
            at = edge.start
        if at in path:
            edges = list(path.values())
            return edges[list(path).index(at) :][::-1]
        seen.update(path)
    return []
