"""Judge the cells of one bucket after the other, and keep count."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import comparison, numerals
from features.comparison import Evidence
from features.kinds import Kind
from features.plain import plain
from features.times import NEVER_US
from monitors.audit.judging import History, Judged, judge_feature
from monitors.audit.rows import Predictions
from monitors.kernels import grouping, intervals
from monitors.leakage import CellSet, Verdicts, covered
from monitors.verdicts import Tier
from streams.audit.clocks import SourceClock
from streams.audit.examples import example_of
from streams.audit.histories import Grouping, Rows, by_sequence, pieces_of, sorted_rows
from streams.audit.intake import SNAPSHOT, Intake
from streams.audit.rows_out import Results
from streams.audit.tally import FeatureTally
from streams.audit.watches import Watches

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


class BucketJudge:
    """Judges buckets; what it found stands in `tallies`, `watches` and `results`.

    Parameters
    ----------
    audited
        Indices of the features that have cells.
    kinds
        How each is compared; None: it cannot be, its cells are UNVERIFIABLE.
    clocks
        Of each LOG.
    """

    def __init__(
        self,
        taken: Intake,
        audited: tuple[int, ...],
        kinds: dict[int, Kind | None],
        clocks: dict[int, SourceClock],
        rows: int,
        results: Results,
    ) -> None:
        self.taken, self.audited, self.kinds, self.clocks = taken, audited, kinds, clocks
        self.rows, self.results = rows, results
        self.tallies = {i: FeatureTally(taken.names[i], kinds[i]) for i in audited}
        followed = (*audited, taken.label.index) if taken.label is not None else audited
        self._followed = tuple(i for i in followed if any(i in log.found for log in taken.logs))
        self._compared = {i: kinds.get(i) or Kind.TEXT for i in self._followed}
        self.watches = Watches(taken, clocks, self._followed, self._compared)

    def log_tables(self, bucket: int, *, keep: bool) -> dict[int, pa.Table]:
        """The rows of every LOG in one bucket, truncations excepted; `keep`: for another reading."""
        tables = {}
        for k, log in enumerate(self.taken.logs):
            if log.store.schema is not None:
                tables[k] = log.store.look(bucket) if keep else log.store.take(bucket)
        return tables

    def watch_clocks(self, tables: dict[int, pa.Table]) -> None:
        """Find how far stamps step back against the sequence, and sequences that contradict themselves.

        Needed before anything is judged, and of all entities: those that TRAIN lacks show the same clock.
        """
        groups = Grouping(np.concatenate([_keys(table, "#entity") for table in tables.values()]))
        for _, rows in self._sorted(groups, tables):
            if "#seq" not in rows.core:
                continue
            clock = self._clock(rows)
            order = by_sequence(rows)
            places = np.array([clock.files.index(str(p.log.roles.table.path)) for p in rows.pieces], np.int16)
            stamps = np.where(rows.core["#op"] == SNAPSHOT, NEVER_US, rows.core["#write"])
            clock.steps.observe(rows.start, stamps[order], rows.core["#row"][order], places[rows.file[order]])

    def judge(self, train: pa.Table, tables: dict[int, pa.Table]) -> None:
        """Judge every cell whose entity is in this bucket."""
        train = _by_entity(train)
        groups = Grouping(_keys(train, "#entity"))
        reads = _Reads.of(self.taken, train, groups)
        found: dict[str, pa.Array] = {"row": pa.array(reads.row)}
        for features, rows in self._sorted(groups, tables):
            clock = self._clock(rows)
            history = rows.history(clock.effective_error_us, clock.resolution_us)
            self.watches.rows(features, rows, groups.distinct)
            for feature in features:
                if feature in self.tallies:
                    self._judge_feature(feature, rows, history, reads, train, found)
        self.watches.logs(tables, reads.predictions(self.taken, train))
        self.results.put(found)

    def _sorted(self, groups: Grouping, tables: dict[int, pa.Table]) -> Iterator[tuple[tuple[int, ...], Rows]]:
        full = {k: self._with_truncates(k, table, groups) for k, table in tables.items()}
        for features, pieces in pieces_of(self.taken.logs, full, self._followed):
            yield features, sorted_rows(self.taken, pieces, features, len(groups), groups, self._compared)

    def _with_truncates(self, k: int, table: pa.Table, groups: Grouping) -> pa.Table:
        """A truncation is a row of every entity."""
        truncates = self.taken.logs[k].truncates
        if not truncates:
            return table
        everybody = pa.array(groups.distinct)
        parts = [table]
        for batch in truncates:
            for i in range(batch.num_rows):
                one = pa.Table.from_batches([batch.slice(i, 1)] * len(everybody), batch.schema)
                parts.append(one.set_column(one.schema.get_field_index("#entity"), "#entity", everybody))
        joined = pa.concat_tables(parts)
        return joined.take(pa.array(np.argsort(joined.column("#row").to_numpy(), kind="stable")))

    def _clock(self, rows: Rows) -> SourceClock:
        return self.clocks[self.taken.logs.index(rows.pieces[0].log)]

    def _judge_feature(
        self, feature: int, rows: Rows, history: History, reads: "_Reads", train: pa.Table, found: dict[str, pa.Array]
    ) -> None:
        tally, kind = self.tallies[feature], self.kinds[feature]
        tally.versions += rows.order.size
        column = plain(train.column(str(feature)))
        cells = reads.cells(
            train, feature, comparison.hashes(column, kind or Kind.TEXT), has_ids=history.ids is not None
        )
        hashes = rows.hashes(feature, self._compared[feature])
        if kind is None:
            judged = _incomparable(cells)
        else:
            judged = judge_feature(history, hashes, cells, numbers=self._numbers(feature, rows, column))
        verdicts = judged.verdicts
        tally.count(verdicts, cells.group)
        as_of = np.where(judged.as_of >= 0, hashes[np.maximum(judged.as_of, 0)] if hashes.size else 0, 0)
        is_pass = verdicts.verdict == intervals.PASS
        tally.replaced += int(np.count_nonzero(~is_pass & (as_of.astype(np.uint64) != cells.hashes)))
        for at in tally.wanted_rows(verdicts, reads.row):
            example = example_of(feature, kind or Kind.TEXT, rows, history, train, column, cells, judged, at)
            tally.keep_example(int(verdicts.verdict[at]), example)
        if self.results.is_wanted:
            known = rows.pick(feature, judged.as_of, column.type, kind or Kind.TEXT)
            found[f"v{feature}"] = pa.array(verdicts.verdict)
            found[f"r{feature}"] = pa.array(verdicts.reason)
            found[f"l{feature}"] = pa.array(verdicts.lead_us, mask=verdicts.verdict != intervals.LEAK)
            found[f"k{feature}"] = pa.array(is_pass | judged.is_known)
            found[f"c{feature}"] = pc.if_else(pa.array(is_pass), column, known)

    def _numbers(
        self, feature: int, rows: Rows, column: pa.Array
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float] | None:
        tolerance = self.taken.request.tolerance.get(self.taken.names[feature])
        if tolerance is None:
            return None
        return rows.numbers(feature), numerals.numbers(column), tolerance


@dataclass(frozen=True, slots=True)
class _Reads:
    """The predictions of one bucket."""

    group: Int64
    row: Int64
    p_lo_us: Int64
    p_hi_us: Int64
    position: Int64 | None
    covered: npt.NDArray[np.bool_] | None

    @classmethod
    def of(cls, taken: Intake, train: pa.Table, groups: Grouping) -> "_Reads":
        request = taken.request
        p_lo = _array(train, "#read")
        p_hi = p_lo + request.prediction_resolution_us
        return cls(
            groups.train,
            _array(train, "#row"),
            p_lo,
            p_hi,
            _array(train, "#position") if request.prediction_seq is not None else None,
            covered(p_lo, p_hi, request.covers) if request.covers else None,
        )

    def predictions(self, taken: Intake, train: pa.Table) -> Predictions:
        label, kind = None, Kind.TEXT
        if taken.label is not None:
            column = plain(train.column("#label"))
            evidence = Evidence()
            evidence.observe(column)
            kind = comparison.resolve(evidence, evidence) or Kind.TEXT
            label = comparison.hashes(column, kind)
        time = _array(train, "#label_time") if "#label_time" in train.column_names else None
        return Predictions(
            _keys(train, "#entity"),
            self.row,
            self.p_lo_us,
            self.p_hi_us,
            label=label,
            label_time_us=time,
            covered=self.covered,
        )

    def cells(self, train: pa.Table, feature: int, hashes: UInt64, *, has_ids: bool) -> CellSet:
        name = f"#version-{feature}"
        named = _keys(train, name) if has_ids and name in train.column_names else None
        cells = CellSet(self.group, self.p_lo_us, hashes, p_hi_us=self.p_hi_us, named=named)
        return replace(cells, position=self.position, covered=self.covered)


def _incomparable(cells: CellSet) -> Judged:
    """Values that cannot be compared are not judged: nothing passes for want of evidence."""
    n = cells.group.size
    none = np.full(n, -1, np.int64)
    verdicts = Verdicts(
        np.full(n, intervals.UNVERIFIABLE, np.int8),
        np.full(n, intervals.TYPE_MISMATCH, np.int8),
        np.full(n, Tier.E5, np.int8),
        np.zeros(n, np.int64),
        none,
        np.zeros(n, np.int64),
    )
    return Judged(verdicts, none, np.zeros(n, np.bool_))


def _by_entity(train: pa.Table) -> pa.Table:
    """Rows of one entity side by side, so that its history is in the cache when the next of them is judged."""
    number = Grouping(_keys(train, "#entity"))
    order, _ = grouping.sort_by_group(number.train, len(number), np.arange(train.num_rows))
    return train if grouping.never_falls(order) else train.take(pa.array(order))


def _array(table: pa.Table, name: str) -> Int64:
    # A copy: compiled code is made for arrays that may be written, and Arrow's may not.
    return np.array(table.column(name).to_numpy(), np.int64)


def _keys(table: pa.Table, name: str) -> UInt64:
    return np.array(table.column(name).to_numpy(), np.uint64)
