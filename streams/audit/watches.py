"""What else the files say about themselves, gathered beside the verdicts: clocks, units, transactions, lags."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import comparison
from features.kinds import Kind
from features.plain import plain
from features.times import NEVER_US
from monitors.audit.coupled import CoupledTransactions, changed
from monitors.audit.latency import LatencySketch
from monitors.audit.outcome import Latency, TableFinding
from monitors.audit.rows import LogRows, Predictions, RowChecks
from monitors.commits import TransactionWatch
from monitors.hygiene import CausalWatch, UnitWatch
from monitors.leakage import bounds
from monitors.zones import OffsetWatch
from streams.audit.clocks import SourceClock
from streams.audit.histories import Rows
from streams.audit.intake import DELETE, EVERY_FEATURE, SNAPSHOT, Intake, LogIntake

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


class Watches:
    """Findings about the logs; every method takes one bucket.

    Parameters
    ----------
    followed
        Indices of the features that have histories, the label among them if a log has it.
    kinds
        How each is compared.
    """

    def __init__(self, taken: Intake, clocks: dict[int, SourceClock], followed: Sequence[int], kinds: dict[int, Kind]):
        self._taken, self._clocks, self._kinds = taken, clocks, kinds
        self._label = taken.label.index if taken.label is not None and taken.label.index in followed else None
        self._logs = [_LogWatch(taken, log, clocks[k]) for k, log in enumerate(taken.logs)]
        self._lags: dict[int, LatencySketch] = {}
        self._coupled = CoupledTransactions()
        self._negative = _negatives()
        request = taken.request
        newest = max((log.newest_us for log in taken.logs), default=NEVER_US)
        self._rows = RowChecks(
            [str(log.roles.table.path) for log in taken.logs],
            earliest_us=taken.first_read_us,
            latest_us=taken.last_read_us + request.prediction_resolution_us,
            extracted_us=newest if request.extracted_at_us is None else request.extracted_at_us,
            horizon_us=request.horizon_us,
        )

    def rows(self, features: tuple[int, ...], rows: Rows, entities: UInt64) -> None:
        """The histories of some features; `entities` is uint64[g], the hash of each group's entity."""
        self._watch_lags(features, rows)
        if self._label is None or "#txid" not in rows.core:
            return
        at = rows.core["#op"] != SNAPSHOT
        entity = np.repeat(entities, np.diff(rows.start))
        txid, write, row = rows.core["#txid"].view(np.uint64), rows.core["#write"], rows.core["#row"]
        hashes = {f: rows.hashes(f, self._kinds[f]) for f in features}
        moved = {f: changed(rows.start, found) & at for f, found in hashes.items()}
        is_first = np.zeros(txid.size, np.bool_)
        is_first[rows.start[:-1][rows.start[:-1] < rows.start[1:]]] = True
        is_label = moved.pop(self._label, None)
        if is_label is not None:
            # The row that makes an entity sets everything at once, the label with it: that couples nothing.
            is_label &= ~(is_first & (bool(moved) | np.isin(hashes[self._label], self._negative)))
            self._coupled.observe_labels(entity[is_label], txid[is_label], write[is_label], row[is_label])
        if moved:
            told = {self._taken.names[f]: is_changed[at] for f, is_changed in moved.items()}
            self._coupled.observe_changes(entity[at], txid[at], write[at], row[at], told)

    def logs(self, tables: dict[int, pa.Table], predictions: Predictions) -> None:
        """All rows of the logs, of entities that TRAIN does not have as well."""
        for k, table in tables.items():
            self._logs[k].observe(table)
        self._coupled.settle()
        logs = self._taken.logs
        sources: dict[SourceClock, list[int]] = {}
        for k in tables:
            if logs[k].found - {self._label}:  # what only tells labels does not tell who existed
                sources.setdefault(self._clocks[k], []).append(k)
        rows = [_log_rows(clock, [(k, logs[k], tables[k]) for k in ks]) for clock, ks in sources.items()]
        self._rows.observe(predictions, rows, positive=self._positive(tables))

    def _positive(self, tables: dict[int, pa.Table]) -> UInt64 | None:
        """Entities whose label is ever 1 or true in a log; None where no log tells labels of that kind."""
        if self._label is None or self._kinds[self._label] not in (Kind.NUMBER, Kind.BOOL):
            return None
        kind = self._kinds[self._label]
        (yes,) = comparison.hashes(pa.array([True]) if kind is Kind.BOOL else pa.array([1]), kind).tolist()
        found = []
        for k, table in tables.items():
            if self._label in self._taken.logs[k].found:
                is_long = self._taken.logs[k].roles.is_long
                column = plain(table.column("value" if is_long else str(self._label)))
                is_yes = comparison.hashes(column, kind) == yes
                if is_long:
                    is_yes &= table.column("#feature").to_numpy() == self._label
                found.append(_array(table, "#entity").view(np.uint64)[is_yes])
        return np.concatenate(found) if found else None

    def latency(self, feature: int) -> Latency | None:
        """How late a feature's versions were; None where the logs have no event times."""
        return self._lags[feature].latency() if feature in self._lags else None

    def findings(self) -> Iterator[TableFinding]:
        """All that was found: about the files first, then about features."""
        units = UnitWatch()
        for where, seen in self._taken.units.items():
            units.observe(where, seen)
        yield from units.findings()
        for log in self._logs:
            yield from log.findings()
        for clock in dict.fromkeys(self._clocks.values()):
            yield from clock.steps.findings(clock.clock_error_us)
        yield from self._rows.findings()
        yield from self._coupled.findings()
        for feature, lags in self._lags.items():
            yield from lags.findings(self._taken.names[feature])

    def _watch_lags(self, features: tuple[int, ...], rows: Rows) -> None:
        request = self._taken.request
        mine = [f for f in features if f != self._label and self._taken.names[f] not in request.forward_dated]
        if "#event" not in rows.core or not mine:
            return
        # All of them stand in the same rows, in this bucket as in every other.
        sketch = self._lags.get(mine[0]) or LatencySketch(request.assumed_lag_us, request.latency_budget_us)
        self._lags |= dict.fromkeys(mine, sketch)
        is_snapshot = rows.core["#op"] == SNAPSHOT
        sketch.observe(rows.core["#event"], rows.core["#visible"], rows.core["#row"], is_snapshot)


class _LogWatch:
    """Watches over the rows of one LOG."""

    def __init__(self, taken: Intake, log: LogIntake, clock: SourceClock) -> None:
        roles, self._clock = log.roles, clock
        file = str(roles.table.path)
        ahead = taken.request.forward_dated
        self._ahead = np.array([i for i, name in enumerate(taken.names) if name in ahead], np.int32)
        own = [i for i in sorted(log.found) if taken.label is None or i != taken.label.index]
        self._is_ahead = not roles.is_long and bool(set(own) & set(self._ahead.tolist()))
        self._causal = CausalWatch(file, taken.names, own, ahead)
        self._offsets = OffsetWatch(file) if roles.event is not None else None
        self._commits = TransactionWatch(file, roles.stamp) if roles.stamp is not None else None

    def observe(self, table: pa.Table) -> None:
        columns = {n: _array(table, n) for n in table.column_names if n.startswith("#")}
        write, row = columns["#write"], columns["#row"]
        event, feature = columns.get("#event"), columns.get("#feature")
        codes = None if feature is None else feature.astype(np.int32)
        self._causal.observe(
            event,
            write,
            columns["#visible"],
            row,
            clock_error_us=self._clock.effective_error_us,
            resolution_us=self._clock.resolution_us,
            feature=codes,
        )
        if self._offsets is not None and event is not None:
            is_meant = np.isin(codes, self._ahead) if codes is not None else np.full(event.size, self._is_ahead)
            self._offsets.observe(np.where(is_meant & (event > write), NEVER_US, event), write, row)
        if self._commits is not None:
            written = columns["#op"] != SNAPSHOT
            self._commits.observe(
                columns["#entity"].view(np.uint64)[written],
                columns["#stamp"][written],
                write[written],
                row[written],
                slack_us=self._clock.effective_error_us + self._clock.resolution_us,
                txid=columns["#txid"].view(np.uint64)[written] if "#txid" in columns else None,
            )

    def findings(self) -> Iterator[TableFinding]:
        if self._offsets is not None:
            yield from self._offsets.findings()
        yield from self._causal.findings()
        if self._commits is not None:
            yield from self._commits.findings()


def _negatives() -> UInt64:
    """Hashes of labels that say "nothing happened": NULL, 0, false."""
    no = [(pa.array([0]), Kind.NUMBER), (pa.array([False]), Kind.BOOL), (pa.array(["0"]), Kind.TEXT)]
    return np.concatenate([np.zeros(1, np.uint64), *(comparison.hashes(column, kind) for column, kind in no)])


def _log_rows(clock: SourceClock, parts: list[tuple[int, LogIntake, pa.Table]]) -> LogRows:
    """The rows of one source, as checks of whole rows want them."""
    columns: dict[str, list[Int64]] = {
        name: [] for name in ("entity", "order", "write", "visible", "delete", "row", "file")
    }
    for k, log, table in parts:
        op, write = _array(table, "#op"), _array(table, "#write")
        is_whole = op < DELETE
        if log.roles.is_long:
            is_whole |= _array(table, "#feature") == EVERY_FEATURE
        else:
            is_whole |= True
        core = {
            "entity": _array(table, "#entity"),
            "order": _array(table, "#seq") if "#seq" in table.column_names else write,
            "write": np.where(op == SNAPSHOT, NEVER_US, write),
            "visible": _array(table, "#visible"),
            "delete": (op >= DELETE).astype(np.int64),
            "row": _array(table, "#row"),
            "file": np.full(op.size, k, np.int64),
        }
        for name, column in core.items():
            columns[name].append(column[is_whole])
    joined = {name: np.concatenate(pieces) for name, pieces in columns.items()}
    a_us, b_us = bounds(
        joined["write"],
        joined["visible"],
        clock_error_us=clock.effective_error_us,
        resolution_us=clock.resolution_us,
    )
    return LogRows(
        joined["entity"].view(np.uint64),
        joined["order"],
        a_us,
        b_us,
        joined["delete"] != 0,
        joined["row"],
        joined["file"].astype(np.int16),
    )


def _array(table: pa.Table, name: str) -> Int64:
    column = table.column(name).to_numpy()
    return np.array(column.view(np.int64) if column.dtype == np.uint64 else column, np.int64)
