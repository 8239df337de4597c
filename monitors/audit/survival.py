"""Are the rows of deleted entities missing?

Whoever joins features to the table of today's customers never sees those who left. Counted over buckets of whole
entities; `monitors.audit.rows` calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, lgamma
from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.audit.occurrences import ROWS_MAX, Occurrences
from monitors.audit.outcome import TableFinding
from monitors.kernels import grouping, lifetimes
from monitors.verdicts import JSON, Severity

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: Chance of a false alarm where TRAIN is a fair sample of the entities that were there.
FALSE_ALARM = 1e-4


class SourceRows(Protocol):
    """What is needed of the rows of a source; see `monitors.audit.rows.LogRows`."""

    @property
    def entity(self) -> UInt64: ...
    @property
    def order(self) -> Int64: ...
    @property
    def a_us(self) -> Int64: ...
    @property
    def b_us(self) -> Int64: ...
    @property
    def is_delete(self) -> Bool: ...
    @property
    def row(self) -> Int64: ...
    @property
    def file(self) -> npt.NDArray[np.int16]: ...


@dataclass(slots=True)
class Survival:
    """Counts of entities that were there during the predictions, by fate.

    Parameters
    ----------
    files
        Names of the LOGs.
    earliest_us, latest_us
        The first prediction and the end of the last.
    """

    files: Sequence[str]
    earliest_us: int
    latest_us: int
    living: int = 0
    living_missing: int = 0
    deleted: int = 0  # after the last prediction
    deleted_missing: int = 0
    between_missing: int = 0  # deleted between the first and the last prediction
    lost_positives: int | None = None
    _where: dict[int, Occurrences] = field(default_factory=dict)

    def observe(self, train: UInt64, logs: Sequence[SourceRows], positive: UInt64 | None) -> None:
        """Take in all rows of some entities: uint64 entities of TRAIN's rows, and the sources."""
        if positive is not None and self.lost_positives is None:
            self.lost_positives = 0
        if not logs or not any(log.entity.size for log in logs):
            return
        _, distinct, table = grouping.number_keys(np.concatenate([log.entity for log in logs]))
        first, gone = np.full(distinct.size, FOREVER_US), np.full(distinct.size, FOREVER_US)
        place = np.full(distinct.size, -1, np.int64)  # of the deleting row, in its source
        source = np.zeros(distinct.size, np.int64)
        for k, log in enumerate(logs):
            of = grouping.look_up(log.entity, distinct, table)
            first = np.minimum(first, births(log, of, distinct.size))
            who, at = _last_deletions(log, of, distinct.size)
            earlier = log.a_us[at] < gone[who]
            who, at = who[earlier], at[earlier]
            gone[who], place[who], source[who] = log.a_us[at], at, k
        is_there = np.zeros(distinct.size, np.bool_)
        known = grouping.look_up(train, distinct, table)
        is_there[known[known >= 0]] = True
        self._count(distinct, first, gone, is_there, logs, source, place, positive)

    def findings(self) -> tuple[TableFinding, ...]:
        """ROW_EXISTENCE: a warning, or info where the missing ones may have left before their turn."""
        present = self.living - self.living_missing
        missing = self.deleted_missing + self.between_missing
        if not missing or not present:
            return ()
        p_value = chance(self.deleted_missing, self.deleted, self.living_missing, self.living)
        certain = self.deleted_missing > 0 and self.living_missing == 0
        if certain or p_value <= FALSE_ALARM:
            return (self._finding(Severity.WARNING, p_value),)
        return (self._finding(Severity.INFO, p_value),) if self.living_missing == 0 else ()

    def _count(
        self,
        entity: UInt64,
        first: Int64,
        gone: Int64,
        is_there: Bool,
        logs: Sequence[SourceRows],
        source: Int64,
        place: Int64,
        positive: UInt64 | None,
    ) -> None:
        is_gone = gone != FOREVER_US
        whole = first < self.earliest_us
        living, after = whole & ~is_gone, whole & is_gone & (gone >= self.latest_us)
        between = is_gone & (first < self.latest_us) & (gone >= self.earliest_us) & ~after & ~is_there
        self.living += int(np.count_nonzero(living))
        self.living_missing += int(np.count_nonzero(living & ~is_there))
        self.deleted += int(np.count_nonzero(after))
        self.deleted_missing += int(np.count_nonzero(after & ~is_there))
        self.between_missing += int(np.count_nonzero(between))
        lost = np.flatnonzero((after & ~is_there) | between)
        for k, log in enumerate(logs):
            at = place[lost[source[lost] == k]]
            for number in np.unique(log.file[at]).tolist():
                self._where.setdefault(number, Occurrences()).add(log.row[at[log.file[at] == number]])
        if positive is not None:
            self.lost_positives = (self.lost_positives or 0) + int(np.count_nonzero(np.isin(entity[lost], positive)))

    def _finding(self, severity: Severity, p_value: float) -> TableFinding:
        missing = self.deleted_missing + self.between_missing
        number = min(self._where)
        first = self._where[number]
        lost = "" if not self.lost_positives else f", {self.lost_positives:,} of them lost positives"
        others = (
            "while no other is missing"
            if self.living_missing == 0
            else f"while {self.living_missing:,} of {self.living:,} others are missing (p = {p_value:.2g})"
        )
        evidence: dict[str, JSON] = {
            "entities": missing,
            "lost_positives": self.lost_positives,
            "deleted_after": self.deleted,
            "deleted_after_missing": self.deleted_missing,
            "deleted_between_missing": self.between_missing,
            "living": self.living,
            "living_missing": self.living_missing,
            "p_value": p_value,
            "file": self.files[number],
            "log_rows": [*first.rows[:ROWS_MAX]],
        }
        return TableFinding(
            "ROW_EXISTENCE",
            severity,
            "",
            f"{missing:,} {'entity' if missing == 1 else 'entities'} deleted since the first prediction "
            f"{'has' if missing == 1 else 'have'} no row{lost}, {others} (first deletion: {self.files[number]}, row "
            f"{first.first}).",
            "Take rows from the entities of the prediction's moment, not from a table that deletions have thinned out.",
            evidence,
        )


def chance(missing: int, deleted: int, living_missing: int, living: int) -> float:
    """Chance of at least so many deleted entities among the missing, if who is missing had nothing to do with it.

    The upper tail of the hypergeometric distribution (Fisher's exact test, one-sided); 1 where no more than expected
    are missing.

    Examples
    --------
    >>> round(chance(3, 3, 1, 10), 5)
    0.01399
    """
    total, drawn = deleted + living, missing + living_missing
    if missing * total <= deleted * drawn:
        return 1.0
    log_all = _log_choose(total, drawn)
    term = exp(_log_choose(deleted, missing) + _log_choose(living, living_missing) - log_all)
    tail = 0.0
    k = missing
    # Above the expectation each term is smaller than the one before; those that no longer count end it.
    while term > tail * 1e-17 and term > 0:
        tail += term
        term *= (deleted - k) * (drawn - k) / ((k + 1) * (living - drawn + k + 1))
        k += 1
    return min(1.0, tail)


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def births(log: SourceRows, of: Int64, groups: int) -> Int64:
    """int64[groups]: from when on each entity was there at the earliest; NEVER_US if the log begins with its deletion,
    forever if it says nothing. `of` int64[n]: the entity of each row, -1: none."""
    born, gone = np.full(groups, FOREVER_US), np.full(groups, FOREVER_US)
    for least, which in ((born, ~log.is_delete), (gone, log.is_delete)):
        at = np.flatnonzero(which & (of >= 0))
        np.minimum.at(least, of[at], log.a_us[at])
    return np.where(gone < born, NEVER_US, born)


def deletable(log: SourceRows, of: Int64, groups: int) -> tuple[Int64, Int64, Int64]:
    """Rows of the entities that are ever deleted, sorted: (rows, start, `lifetimes.returns`)."""
    is_wanted = np.zeros(groups + 1, np.bool_)
    is_wanted[of[log.is_delete]] = True
    is_wanted[-1] = False  # where -1, no entity, leads
    at = np.flatnonzero(is_wanted[of])
    order = at[np.argsort(log.order[at], kind="stable")]
    rows, start = grouping.sort_by_group(np.where(is_wanted[of], of, -1), groups, order)
    return rows, start, lifetimes.returns(start, log.a_us[rows], log.is_delete[rows])


def _last_deletions(log: SourceRows, of: Int64, groups: int) -> tuple[Int64, Int64]:
    """(entities, rows): of each entity that no version follows the first of its last deletions."""
    if not log.is_delete.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, start, back = deletable(log, of, groups)
    final = np.flatnonzero(log.is_delete[rows] & (back == FOREVER_US))
    who = np.repeat(np.arange(groups), np.diff(start))[final]
    is_first = np.ones(who.size, np.bool_)
    is_first[1:] = who[1:] != who[:-1]
    return who[is_first], rows[final[is_first]]
