"""Which features change in the transaction that writes the label?

A trigger that clears a column when a label is written runs in the label's transaction; a row of the label and a changed
feature of the same entity under one transaction id prove it, without any clock. One example opens the finding, the
third entity makes it a page.

A transaction over many entities proves less: a nightly job changes everybody's columns. There a feature counts only if
its changed share among the labelled entities exceeds that among the others of the same transaction.

How to call it, for each bucket of whole entities, in any order: `observe_labels` with the rows that changed the label,
`observe_changes` once per group of features that share their rows, with all those rows (changed or not: the others tell
what a bulk transaction does), and `settle` at the end of the bucket. `changed` tells which rows of a sorted history
changed a value; leave out snapshot rows. Transaction ids are hashes, 0 where there is none, and count as of one
database: rows of one id more than an hour apart are not taken for one transaction. Memory: 12 bytes per transaction and
4 more per feature; give `label_txids`, where they are known beforehand, to keep those alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from features.times import NEVER_US
from monitors.audit.occurrences import Occurrences, about
from monitors.audit.outcome import TableFinding
from monitors.kernels import grouping
from monitors.verdicts import Severity

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: Distinct entities that turn a warning into a page, as in the stream: fewer could share a transaction by accident.
ENTITIES_TO_PAGE = 3

#: Two databases number their transactions alike; a transaction open for longer than this is rarer than that.
TRANSACTION_US_MAX = 3_600_000_000

#: Counts kept apart before equal transactions are added up.
_WAITING_MAX = 500_000

_NO_KEYS = np.zeros(0, np.uint64)
_NONE = np.zeros(0, np.int64)


def changed(start: Int64, hashes: UInt64) -> Bool:
    """bool[n]: whether a version differs from the one before it; a first one does if it holds a value.

    Parameters
    ----------
    start
        int64[g + 1], rows of each entity, in source order.
    hashes
        uint64[n], value hashes, 0 for NULL.

    Examples
    --------
    >>> changed(np.array([0, 3, 4]), np.array([7, 7, 0, 0], np.uint64)).tolist()
    [True, False, True, False]
    """
    before = np.concatenate([np.zeros(1, np.uint64), hashes[:-1]])[: hashes.size]
    before[start[:-1][start[:-1] < start[1:]]] = 0
    found: Bool = hashes != before
    return found


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of some entities, transactions known; columns of one length."""

    entity: UInt64
    txid: UInt64
    write_us: Int64
    row: Int64
    changed: dict[str, Bool]


class CoupledTransactions:
    """Tier 0 of the post-label test, over files.

    Parameters
    ----------
    label_txids
        A superset of the transactions that write labels, if known; others are then not kept.

    Examples
    --------
    >>> watch = CoupledTransactions()
    >>> user, tx, row = np.array([42], np.uint64), np.array([571], np.uint64), np.array([1])
    >>> watch.observe_labels(user, tx, np.array([5_000_000]), row)
    >>> watch.observe_changes(user, tx, np.array([5_003_000]), row, {"last_login": np.array([True])})
    >>> [(f.kind, f.subject, str(f.severity)) for f in watch.findings()]
    [('COUPLED_TX', 'last_login', 'warning')]
    """

    def __init__(self, label_txids: UInt64 | None = None) -> None:
        self._within = None if label_txids is None else np.unique(label_txids)
        self._labels: list[_Rows] = []
        self._changes: dict[tuple[str, ...], list[_Rows]] = {}
        self._labelled = _Counts(1)
        # By group of features: members without a label, and those of them in which each feature changed.
        self._others: dict[tuple[str, ...], _Counts] = {}
        self._found: dict[str, list[_Coincidences]] = {}

    def observe_labels(self, entity: UInt64, txid: UInt64, write_us: Int64, row: Int64) -> None:
        """Rows that changed the label: uint64[n] hashes of entity and transaction, int64[n] write times and rows."""
        self._labels.append(self._kept(_Rows(entity, txid, write_us, row, {})))

    def observe_changes(
        self, entity: UInt64, txid: UInt64, write_us: Int64, row: Int64, changed: Mapping[str, Bool]
    ) -> None:
        """All rows of some features, and for each bool[n] whether they changed it."""
        names = tuple(sorted(changed))
        rows = _Rows(entity, txid, write_us, row, {name: changed[name] for name in names})
        self._changes.setdefault(names, []).append(self._kept(rows))

    def settle(self) -> None:
        """The entities seen since the last time are complete."""
        labels = _Labels.of(_joined(self._labels, ()))
        self._labelled.add(*labels.by_transaction())
        for names, parts in self._changes.items():
            self._settle_group(names, _joined(parts, names), labels)
        self._labels, self._changes = [], {}

    def findings(self) -> tuple[TableFinding, ...]:
        """COUPLED_TX per feature, features by name."""
        self.settle()
        return tuple(f for name in sorted(self._found) for f in self._finding(name))

    def _kept(self, rows: _Rows) -> _Rows:
        keep = rows.txid != 0
        if self._within is not None:
            keep &= np.isin(rows.txid, self._within)
        return rows if keep.all() else _some(rows, np.flatnonzero(keep))

    def _settle_group(self, names: tuple[str, ...], rows: _Rows, labels: "_Labels") -> None:
        member, keys, _ = grouping.number_keys(_pair(rows))  # a member: one entity in one transaction
        place = grouping.look_up(keys, labels.keys, labels.table)
        txid = np.zeros(keys.size, np.uint64)
        txid[member] = rows.txid
        other = np.flatnonzero(place < 0)
        transaction, distinct, _ = grouping.number_keys(txid[other])
        columns = [np.bincount(transaction, minlength=distinct.size)]
        labelled = np.flatnonzero(place[member] >= 0)
        for name in names:
            is_changed = np.zeros(keys.size, np.bool_)
            is_changed[member[rows.changed[name]]] = True
            columns.append(np.bincount(transaction[is_changed[other]], minlength=distinct.size))
            at = labelled[rows.changed[name][labelled]]
            hits = _coincidences(rows, at, member[at], labels, place)
            if hits.row.size:
                self._found.setdefault(name, []).append(hits)
        self._others.setdefault(names, _Counts(len(columns))).add(distinct, *columns)

    def _finding(self, feature: str) -> tuple[TableFinding, ...]:
        parts = self._found[feature]
        txid, entity = (np.concatenate([getattr(p, name) for p in parts]) for name in ("txid", "entity"))
        row, delay = (np.concatenate([getattr(p, name) for p in parts]) for name in ("row", "delay_us"))
        transaction, distinct, _ = grouping.number_keys(txid)
        coincident = np.bincount(transaction, minlength=distinct.size)
        labelled = self._labelled.of(distinct)[0]
        others = others_changed = np.zeros(distinct.size, np.int64)
        for names, counts in self._others.items():
            if feature in names:
                members = counts.of(distinct)
                others = others + members[0]
                others_changed = others_changed + members[1 + names.index(feature)]
        # Shares compared without division; with no others there is nothing to explain the change away.
        exceeds = (others == 0) | (coincident * others > others_changed * labelled)
        proves = exceeds[transaction]
        if not proves.any():
            return ()
        where = Occurrences()
        where.add(row, proves)
        return (_told(feature, where, int(np.unique(entity[proves]).size), delay[proves]),)


@dataclass(slots=True)
class _Counts:
    """Sums by transaction, in some columns."""

    columns: int
    parts: list[tuple[UInt64, list[Int32]]] = field(default_factory=list)
    waiting: int = 0
    table: Int64 | None = None  # to look up transactions in the one part that is left

    def add(self, txid: UInt64, *columns: npt.NDArray[Any]) -> None:
        if txid.size == 0:
            return
        self.parts.append((txid, [column.astype(np.int32) for column in columns]))
        self.waiting += txid.size
        self.table = None
        # Added up when as much has come as there is: so each count is touched a few times only.
        if self.waiting > max(_WAITING_MAX, self.parts[0][0].size):
            self.add_up()
            self.waiting = 0

    def add_up(self) -> tuple[UInt64, Int64, list[Int32]]:
        if self.table is None:
            together = np.concatenate([keys for keys, _ in self.parts]) if self.parts else _NO_KEYS
            place, keys, self.table = grouping.number_keys(together)
            sums = []
            for i in range(self.columns if self.parts else 0):
                total = np.zeros(keys.size, np.int32)
                np.add.at(total, place, np.concatenate([part[i] for _, part in self.parts]))
                sums.append(total)
            self.parts = [(keys, sums)] if self.parts else []
        if not self.parts:
            return _NO_KEYS, self.table, [np.zeros(0, np.int32)] * self.columns
        return self.parts[0][0], self.table, self.parts[0][1]

    def of(self, txid: UInt64) -> list[Int64]:
        """The sums of each transaction, 0 where it has none."""
        keys, table, sums = self.add_up()
        at = grouping.look_up(txid, keys, table)
        return [np.append(total, np.int32(0))[at].astype(np.int64) for total in sums]


@dataclass(frozen=True, slots=True)
class _Labels:
    """The members of transactions that have a label: one write time each, and where to find them."""

    txid: UInt64
    write_us: Int64
    keys: UInt64
    table: Int64

    @classmethod
    def of(cls, rows: _Rows) -> "_Labels":
        order = np.lexsort((rows.row, rows.write_us))[::-1]
        member, keys, table = grouping.number_keys(_pair(rows))
        txid, write_us = np.zeros(keys.size, np.uint64), np.zeros(keys.size, np.int64)
        txid[member] = rows.txid
        write_us[member[order]] = rows.write_us[order]  # the first of several stays
        return cls(txid, write_us, keys, table)

    def by_transaction(self) -> tuple[UInt64, Int64]:
        transaction, distinct, _ = grouping.number_keys(self.txid)
        return distinct, np.bincount(transaction, minlength=distinct.size)


@dataclass(frozen=True, slots=True)
class _Coincidences:
    txid: UInt64
    entity: UInt64
    row: Int64
    delay_us: Int64


def _coincidences(rows: _Rows, at: Int64, member: Int64, labels: _Labels, place: Int64) -> _Coincidences:
    """Of each labelled member the first row, among rows `at`, that changed the feature near the label."""
    write_us, label_us = rows.write_us[at], labels.write_us[place[member]]
    is_timed = (write_us != NEVER_US) & (label_us != NEVER_US)
    delay = np.where(is_timed, write_us - np.where(is_timed, label_us, write_us), 0)
    near = np.flatnonzero(np.abs(delay) <= TRANSACTION_US_MAX)
    order = near[np.lexsort((rows.row[at[near]], write_us[near], member[near]))]
    is_first = np.ones(order.size, np.bool_)
    is_first[1:] = member[order][1:] != member[order][:-1]
    first = order[is_first]
    return _Coincidences(rows.txid[at[first]], rows.entity[at[first]], rows.row[at[first]], delay[first])


def _told(feature: str, where: Occurrences, entities: int, delay: Int64) -> TableFinding:
    low, high = int(delay.min()), int(delay.max())
    apart = f"{about(low)} to {about(high)} after it" if low < high else f"{about(high)} after it"
    apart = "at its very time" if low == high == 0 else apart
    return TableFinding(
        "COUPLED_TX",
        Severity.PAGE if entities >= ENTITIES_TO_PAGE else Severity.WARNING,
        feature,
        f"{feature!r} changes in the transaction that writes the label: {where.count:,} times, for {entities:,} "
        f"{'entity' if entities == 1 else 'entities'}, {apart} (first: row {where.first} of its log).",
        f"Join {feature!r} as of the prediction, never its latest value: the database changes it with the label.",
        {"entities": entities, "delay_us_min": low, "delay_us_max": high, **where.evidence()},
    )


def _joined(parts: list[_Rows], names: tuple[str, ...]) -> _Rows:
    if not parts:
        return _Rows(_NO_KEYS, _NO_KEYS, _NONE, _NONE, {})
    entity, txid = (np.concatenate([getattr(p, name) for p in parts]) for name in ("entity", "txid"))
    write_us, row = (np.concatenate([getattr(p, name) for p in parts]) for name in ("write_us", "row"))
    return _Rows(entity, txid, write_us, row, {n: np.concatenate([p.changed[n] for p in parts]) for n in names})


def _some(rows: _Rows, at: Int64) -> _Rows:
    changed = {name: column[at] for name, column in rows.changed.items()}
    return _Rows(rows.entity[at], rows.txid[at], rows.write_us[at], rows.row[at], changed)


def _pair(rows: _Rows) -> UInt64:
    """uint64[n]: one hash of transaction and entity (the finaliser of splitmix64 in between)."""
    x = (rows.txid ^ (rows.txid >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: UInt64 = (x ^ (x >> np.uint64(31))) + rows.entity
    return found
