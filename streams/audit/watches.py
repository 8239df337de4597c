"""What else the files say about themselves, gathered beside the verdicts: clocks, units, transactions, lags."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kinds import Kind
from features.times import NEVER_US
from monitors.audit.coupled import CoupledTransactions, changed
from monitors.audit.latency import LatencySketch
from monitors.audit.outcome import Latency, TableFinding
from monitors.commits import TransactionWatch
from monitors.hygiene import CausalWatch, UnitWatch
from monitors.zones import OffsetWatch
from streams.audit.clocks import SourceClock
from streams.audit.histories import Rows
from streams.audit.intake import SNAPSHOT, Intake, LogIntake

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

    def rows(self, features: tuple[int, ...], rows: Rows, entities: UInt64) -> None:
        """The histories of some features; `entities` is uint64[g], the hash of each group's entity."""
        self._watch_lags(features, rows)
        if self._label is None or "#txid" not in rows.core:
            return
        is_write = rows.core["#op"] != SNAPSHOT
        entity = np.repeat(entities, np.diff(rows.start))
        txid = rows.core["#txid"].view(np.uint64)
        parts = (entity, txid, rows.core["#write"], rows.core["#row"])
        moved = {f: changed(rows.start, rows.hashes(f, self._kinds[f])) & is_write for f in features}
        label = moved.pop(self._label, None)
        if label is not None:
            self._coupled.observe_labels(*(part[label] for part in parts))
        if moved:
            told = {self._taken.names[f]: is_changed[is_write] for f, is_changed in moved.items()}
            self._coupled.observe_changes(*(part[is_write] for part in parts), told)

    def logs(self, tables: dict[int, pa.Table]) -> None:
        """All rows of the logs, of entities that TRAIN does not have as well."""
        for k, table in tables.items():
            self._logs[k].observe(table)
        self._coupled.settle()

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


def _array(table: pa.Table, name: str) -> Int64:
    column = table.column(name).to_numpy()
    return np.array(column.view(np.int64) if column.dtype == np.uint64 else column, np.int64)
