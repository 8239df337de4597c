"""How far has each log been read?

A judge waits for coverage: everything that had arrived in a log until an instant has been applied. Rows move it to
their ingest time; an idle log is moved by having been seen empty; a log of forwarded rows is covered as far as the
slowest of its original partitions, which markers tell.
"""

from dataclasses import dataclass, field

from features.times import FOREVER_US, NEVER_US


@dataclass(slots=True)
class Coverage:
    """Coverage of the logs of one partition group.

    Examples
    --------
    >>> coverage = Coverage()
    >>> coverage.reach("users/0", 100)
    >>> coverage.mark("by-user.users/0", 0, 50), coverage.mark("by-user.users/0", 1, 70)
    (None, None)
    >>> coverage.expect("by-user.users/0", 2)
    >>> coverage.until(["users/0", "by-user.users/0"])
    50
    """

    _reached: dict[str, int] = field(default_factory=dict)
    _marked: dict[str, dict[int, int]] = field(default_factory=dict)
    _expected: dict[str, int] = field(default_factory=dict)

    def reach(self, log: str, covered_us: int) -> None:
        """Everything that arrived in `log` until `covered_us` has been applied."""
        self._reached[log] = max(covered_us, self._reached.get(log, NEVER_US))

    def expect(self, log: str, origins: int) -> None:
        """`log` carries forwarded rows of that many original partitions."""
        self._expected[log] = origins

    def mark(self, log: str, origin: int, covered_us: int) -> None:
        """A marker: of original partition `origin`, everything until `covered_us` has been forwarded."""
        marks = self._marked.setdefault(log, {})
        marks[origin] = max(covered_us, marks.get(origin, NEVER_US))

    def finish(self, log: str) -> None:
        """Nothing more will come: `log` is covered for ever."""
        self._expected.pop(log, None)
        self._reached[log] = FOREVER_US

    def reached(self, log: str) -> int:
        """How far the rows of `log` itself have been applied; NEVER_US if none."""
        return self._reached.get(log, NEVER_US)

    def of(self, log: str) -> int:
        """The instant until which one log is covered; NEVER_US if unknown."""
        if log in self._expected:
            marks = self._marked.get(log, {})
            return min(marks.values()) if len(marks) >= self._expected[log] else NEVER_US
        return self._reached.get(log, NEVER_US)

    def until(self, logs: list[str]) -> int:
        """The instant until which all of `logs` are covered; FOREVER_US for none."""
        return min((self.of(log) for log in logs), default=FOREVER_US)

    def snapshot(self) -> dict[str, object]:
        """JSON-able state."""
        marks = {log: [[k, v] for k, v in found.items()] for log, found in self._marked.items()}
        return {"reached": self._reached, "marked": marks}

    def restore(self, state: dict[str, object]) -> None:
        """Take over a snapshot; what is expected is declared anew."""
        self._reached = dict(state["reached"])  # type: ignore[call-overload]
        marked: dict[str, list[tuple[int, int]]] = state["marked"]  # type: ignore[assignment]
        self._marked = {log: dict(found) for log, found in marked.items()}
