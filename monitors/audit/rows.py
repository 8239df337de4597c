"""Are these the right rows? Whether each row could exist at its prediction, and which rows are missing.

How to call it, for each bucket of whole entities: `RowChecks.observe(predictions, logs)`, with one `LogRows` per
source (LOGs that share a feature are one source: concatenate their rows, also of entities that TRAIN does not have;
leave out truncations and deletions of single features). Bounds a and b as in `monitors.leakage.bounds`, of each LOG's
own clock; for snapshot rows a is NEVER_US. `earliest_us` and `latest_us` are the first and last prediction of the whole
training set: entities that were not there in between cannot be missing. Then `findings()`, once.

Survivorship is judged among entities that were there from the first prediction to the last: if those deleted afterwards
are missing from TRAIN more often than those never deleted (one-sided hypergeometric test), or alone, then whoever made
TRAIN started from a table of survivors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.audit.occurrences import Occurrences, rows_of
from monitors.audit.outcome import TableFinding
from monitors.audit.survival import Survival, births, deletable
from monitors.kernels import grouping, lifetimes
from monitors.verdicts import JSON, Severity

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Rows of TRAIN; all columns have n rows.

    Parameters
    ----------
    entity, row
        uint64 hashes; int64 row numbers.
    p_lo_us, p_hi_us
        int64, bounds of the prediction time: [p_lo, p_hi).
    label
        uint64 value hashes, 0 for NULL; None: TRAIN has no label.
    label_time_us
        int64, when the label happened (NEVER_US: unknown); None: there is no such column.
    covered
        Whether the log is complete at the prediction; None: everywhere.
    """

    entity: UInt64
    row: Int64
    p_lo_us: Int64
    p_hi_us: Int64
    label: UInt64 | None = None
    label_time_us: Int64 | None = None
    covered: Bool | None = None


@dataclass(frozen=True, slots=True)
class LogRows:
    """Rows of one source; all columns have n rows, in the order of the file.

    Parameters
    ----------
    order
        int64: `seq` where there is one, else the write time; of equal ones the later row came later.
    a_us, b_us
        int64, bounds of visibility.
    is_delete
        Whether the row deletes the whole entity.
    row, file
        int64 row number, int16 place among the LOGs' names.
    """

    entity: UInt64
    order: Int64
    a_us: Int64
    b_us: Int64
    is_delete: Bool
    row: Int64
    file: npt.NDArray[np.int16]


@dataclass(slots=True)
class _Labels:
    """Rows that stand for one (entity, prediction time) several times."""

    duplicates: Occurrences = field(default_factory=Occurrences)
    conflicts: Occurrences = field(default_factory=Occurrences)
    pairs: int = 0
    conflicting_pairs: int = 0


class RowChecks:
    """Checks of whole rows, bucket by bucket.

    Parameters
    ----------
    files
        Names of the LOGs.
    earliest_us, latest_us
        p_lo of the first and p_hi of the last prediction.
    extracted_us
        When the training set was made; NEVER_US: unknown.
    horizon_us
        How long after a prediction its label is final; None: unknown.

    Examples
    --------
    >>> checks = RowChecks(("log.csv",), earliest_us=200, latest_us=201)
    >>> one, two = np.array([1], np.uint64), np.array([1, 2, 2], np.uint64)
    >>> log = LogRows(two, np.array([10, 10, 300]), np.array([10, 10, 300]), np.array([11, 11, 301]),
    ...               np.array([False, False, True]), np.arange(3), np.zeros(3, np.int16))
    >>> checks.observe(Predictions(one, np.array([0]), np.array([200]), np.array([201])), [log])
    >>> [(f.kind, f.evidence["entities"]) for f in checks.findings()]
    [('ROW_EXISTENCE', 1)]
    """

    def __init__(
        self,
        files: Sequence[str],
        *,
        earliest_us: int,
        latest_us: int,
        extracted_us: int = NEVER_US,
        horizon_us: int | None = None,
    ) -> None:
        self._extracted_us, self._horizon_us = extracted_us, horizon_us
        self._survival = Survival(files, earliest_us, latest_us)
        self._total = 0
        self._seen: dict[str, Occurrences] = {kind: Occurrences() for kind in _WORDS}
        self._entities: dict[str, int] = dict.fromkeys(_WORDS, 0)
        self._labels = _Labels()

    def observe(self, train: Predictions, logs: Sequence[LogRows], *, positive: UInt64 | None = None) -> None:
        """Take in all rows of some entities.

        Parameters
        ----------
        positive
            uint64, entities that a log of labels calls positive: if they have no row, positives were lost.
        """
        self._total += train.row.size
        group, distinct, table = grouping.number_keys(train.entity)
        first_us = np.full(distinct.size, FOREVER_US)
        is_deleted = np.zeros(train.row.size, np.bool_)
        for log in logs:
            of = grouping.look_up(log.entity, distinct, table)
            first_us = np.minimum(first_us, births(log, of, distinct.size))
            is_deleted |= _deleted(log, of, distinct.size, train, group)
        self._existence(train, group, first_us, is_deleted)
        self._duplicates(train)
        self._maturity(train, group)
        self._survival.observe(train.entity, logs, positive)

    def findings(self) -> tuple[TableFinding, ...]:
        """What is wrong with rows: entities, duplicates, labels, survivors."""
        found = [self._finding(kind) for kind in _WORDS if self._seen[kind].count]
        return (*found, *self._duplicate_findings(), *self._survival.findings())

    def _existence(self, train: Predictions, group: Int64, first_us: Int64, is_deleted: Bool) -> None:
        judged = np.ones(train.row.size, np.bool_) if train.covered is None else train.covered
        first = first_us[group]
        is_unknown = judged & (first == FOREVER_US)
        is_early = judged & ~is_unknown & (first >= train.p_hi_us)
        for kind, where in (
            ("ENTITY_UNKNOWN", is_unknown),
            ("ENTITY_NOT_YET", is_early),
            ("ENTITY_DELETED", judged & is_deleted),
        ):
            self._count(kind, train, group, where)

    def _maturity(self, train: Predictions, group: Int64) -> None:
        is_labelled = np.ones(train.row.size, np.bool_) if train.label is None else train.label != 0
        immature = np.zeros(train.row.size, np.bool_)
        known = self._extracted_us != NEVER_US
        if self._horizon_us is not None and known:
            immature |= train.p_lo_us > self._extracted_us - self._horizon_us
        if train.label_time_us is not None:
            timed = train.label_time_us != NEVER_US
            immature |= timed & known & (train.label_time_us > self._extracted_us)
            self._count("LABEL_BEFORE_PREDICTION", train, group, timed & (train.label_time_us < train.p_lo_us))
        self._count("LABEL_IMMATURE", train, group, immature & is_labelled)

    def _count(self, kind: str, train: Predictions, group: Int64, where: Bool) -> None:
        self._seen[kind].add(train.row, where)
        self._entities[kind] += int(np.unique(group[where]).size)

    def _duplicates(self, train: Predictions) -> None:
        order = np.lexsort((train.row, train.p_lo_us, train.entity))
        entity, p, row = train.entity[order], train.p_lo_us[order], train.row[order]
        again = np.zeros(order.size, np.bool_)
        again[1:] = (entity[1:] == entity[:-1]) & (p[1:] == p[:-1])
        if not again.any():
            return
        pair = np.cumsum(~again) - 1
        repeated = np.bincount(pair) > 1
        self._labels.pairs += int(np.count_nonzero(repeated))
        self._labels.duplicates.add(row, again)
        if train.label is not None:
            label = train.label[order]
            top = np.iinfo(np.uint64).max
            begins = np.flatnonzero(~again)
            low = np.minimum.reduceat(np.where(label == 0, top, label), begins)
            high = np.maximum.reduceat(label, begins)
            differs = repeated & (high != 0) & (low != high)  # NULL contradicts nobody
            self._labels.conflicting_pairs += int(np.count_nonzero(differs))
            self._labels.conflicts.add(row, again & differs[pair])

    def _finding(self, kind: str) -> TableFinding:
        seen, entities = self._seen[kind], self._entities[kind]
        what, advice = _WORDS[kind]
        return TableFinding(
            kind,
            Severity.WARNING,
            "",
            f"{rows_of(seen.count, self._total)} {what} (first: row {seen.first}).",
            advice,
            {"entities": entities, **seen.evidence()},
        )

    def _duplicate_findings(self) -> list[TableFinding]:
        seen = self._labels
        if not seen.pairs:
            return []
        told: list[tuple[str, Severity, Occurrences, int, str, str]] = [
            (
                "DUPLICATE_ROWS",
                Severity.INFO,
                seen.duplicates,
                seen.pairs,
                "repeat entity and prediction time of an earlier one",
                "Keep one row per entity and prediction time, or both sides of a split will share it.",
            )
        ]
        if seen.conflicting_pairs:
            told.append(
                (
                    "CONFLICTING_LABELS",
                    Severity.WARNING,
                    seen.conflicts,
                    seen.conflicting_pairs,
                    "repeat entity and prediction time of an earlier one under another label",
                    "Find out which label is true: a join has multiplied rows, or labels of different horizons were "
                    "mixed.",
                )
            )
        found = []
        for kind, severity, where, pairs, what, advice in told:
            evidence: dict[str, JSON] = {"pairs": pairs, **where.evidence()}
            message = f"{rows_of(where.count, self._total)} {what} (first: row {where.first})."
            found.append(TableFinding(kind, severity, "", message, advice, evidence))
        return found


#: What is said of rows, and what to do about it, by kind.
_WORDS: dict[str, tuple[str, str]] = {
    "ENTITY_UNKNOWN": (
        "are about an entity of which no log ever told",
        "Check that --entity names the same key in both files, and that the logs are complete.",
    ),
    "ENTITY_NOT_YET": (
        "are about an entity that no log knew at the prediction",
        "Take rows from the entities of that moment; if the log begins later than its subject, say so with --covers.",
    ),
    "ENTITY_DELETED": (
        "are about an entity that had been deleted before the prediction",
        "Take rows from the entities of that moment; nobody would have been asked about these.",
    ),
    "LABEL_IMMATURE": (
        "carry a label that was not final when the table was made",
        "Leave these rows out, or wait: what has not happened yet is not a negative.",
    ),
    "LABEL_BEFORE_PREDICTION": (
        "have a label that had happened before the prediction",
        "Leave these rows out, or mend the prediction time: the outcome was known.",
    ),
}


def _deleted(log: LogRows, of: Int64, groups: int, train: Predictions, group: Int64) -> Bool:
    """bool[rows of TRAIN]: whether the source had surely deleted the entity by the prediction."""
    if not log.is_delete.any():
        return np.zeros(train.row.size, np.bool_)
    rows, start, back = deletable(log, of, groups)
    gone = log.is_delete[rows]
    found: Bool = lifetimes.was_deleted(
        grouping.squeeze(start, gone), log.b_us[rows][gone], back[gone], group, train.p_lo_us, train.p_hi_us
    )
    return found
