"""Where did every offset go?

Each offset of a log ends in exactly one class. Counts are kept since the last cut and leave with it, so the sums in
the lake are exact after any crash; rows applied again after a crash are not counted again.
"""

from dataclasses import dataclass
from typing import Any

from streams.wire.logs import Sorted

CLASSES = ("applied", "forwarded", "late", "duplicate", "dead_lettered", "empty", "gap")


@dataclass(slots=True)
class Account:
    """Offsets of one log since the last cut, by class.

    Examples
    --------
    >>> account = Account()
    >>> account.consumed(0, 10, 0, applied=7)
    >>> account.applied, account.empty, account.take(10)["applied"]
    (7, 3, 7)
    """

    first: int = -1
    applied: int = 0
    forwarded: int = 0
    late: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    empty: int = 0
    gap: int = 0

    def add(self, start: int, end: int, told: int, found: Sorted[Any], *, applied: int, late: int) -> None:
        """Count one fetch, offsets `start` to `end`; nothing below `told`, which was counted before."""
        self.consumed(
            start,
            end,
            told,
            applied=applied,
            late=late,
            forwarded=len(found.foreign),
            duplicate=found.duplicates,
            dead_lettered=len(found.rejected),
        )

    def consumed(self, start: int, end: int, told: int, **classes: int) -> None:
        """Count offsets `start` to `end` by class; what no class names was empty (control records, compacted away)."""
        if end <= told:
            return
        if self.first < 0:
            self.first = start
        for name, n in classes.items():
            setattr(self, name, getattr(self, name) + n)
        self.empty += end - start - sum(classes.values())

    def skip(self, start: int, end: int) -> None:
        """The log began above the fence: offsets that nobody can read any more."""
        if self.first < 0:
            self.first = start
        self.gap += end - start

    def take(self, next_offset: int) -> dict[str, int]:
        """The counts since the last cut, and begin anew."""
        counts = {name: getattr(self, name) for name in CLASSES}
        counts |= {"first": self.first if self.first >= 0 else next_offset, "next": next_offset}
        self.first = -1
        for name in CLASSES:
            setattr(self, name, 0)
        return counts
