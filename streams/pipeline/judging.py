"""Predictions against histories: which cells could not have been known?

Served form: what the prediction logged, against what was readable at its read time. Exposure form: at that same
moment, the value that training would join when the label has matured. Both ask the verdict kernel, with the bounds
that belong to them.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.definitions import Definitions, Feature, Model
from features.history import History, Slices
from features.joins import joined
from features.times import FOREVER_US, NEVER_US
from monitors import leakage
from monitors.leakage import CellSet, VersionSet
from monitors.verdicts import Tier
from streams.pipeline.pending import Judged

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Which bounds judge one feature, and how good they are."""

    from_view: bool
    tier: Tier
    eps_us: int
    resolution_us: int
    lag_us: int | None  # added to the upper bound; None: there is no upper bound


class Judge:
    """Judges the predictions of one partition group against its history."""

    def __init__(self, definitions: Definitions, history: History, *, witnessed: bool) -> None:
        self._definitions = definitions
        self._history = history
        self._witnessed = witnessed
        self._features = {name: i for i, name in enumerate(definitions.features)}
        self._entities: dict[tuple[str, str], int] = {}
        self._of_index: dict[str, Int64] = {}  # by source: the same number by its engine's number, -1 not looked up yet

    def key(self, entity_type: str, entity: str) -> int:
        """A number for the entity, the same for ever in this group."""
        return self._entities.setdefault((entity_type, entity), len(self._entities))

    def keys(self, source: str, entity_type: str, versions: pa.RecordBatch) -> Int64:
        """int64[n]: keys of (entity, feature) of versions from one source's engine."""
        index = versions.column("entity_index").to_numpy()
        known = self._of_index.get(source, np.empty(0, np.int64))
        if index.size and index.max() >= known.size:
            known = np.append(known, np.full(max(int(index.max()) + 1, 2 * known.size) - known.size, -1))
            self._of_index[source] = known
        new = np.flatnonzero(known[index] < 0)
        entities = versions.column("entity").take(pa.array(new)).to_pylist()
        for i, entity in zip(index[new].tolist(), entities, strict=True):
            known[i] = self.key(entity_type, entity)
        feature = versions.column("feature_index").to_numpy()
        return np.asarray(known[index] * len(self._features) + feature, np.int64)

    def served(self, model: Model, rows: pa.RecordBatch) -> Judged:
        """Verdicts of what was logged, [n, features]."""
        slices = self._slices(model, rows)
        bounds = [self._served_bounds(self._definitions.features[f]) for f in model.features]
        hashes = _grid(rows, model, "hash")
        return self._judge(model, rows, slices, bounds, hashes, stamps=_grid(rows, model, "stamp"), named=None)

    def exposure(self, model: Model, rows: pa.RecordBatch) -> Judged:
        """Verdicts of what training would join, [n, features]."""
        slices = self._slices(model, rows)
        bounds = [self._exposure_bounds(self._definitions.features[f]) for f in model.features]
        _, b_us = self._intervals(slices, bounds)
        reads = np.repeat(rows.column("read_time_us").to_numpy(), len(model.features))
        joins = [model.join.get(f, "latest") for f in model.features] * rows.num_rows
        chosen = joined(self._history, slices, joins, reads, b_us)
        rows_of = slices.rows[np.maximum(chosen, 0)] if slices.rows.size else np.zeros(chosen.size, np.int64)
        hashes = self._column("hash", rows_of, chosen >= 0)
        named = self._column("id64", rows_of, chosen >= 0)
        return self._judge(model, rows, slices, bounds, hashes, stamps=None, named=named)

    def _column(self, name: str, rows: Int64, found: npt.NDArray[np.bool_]) -> UInt64:
        """uint64 cells of versions; 0 where there is none."""
        if not len(self._history):
            return np.zeros(found.size, np.uint64)
        return np.where(found, getattr(self._history, name)[rows], np.uint64(0)).astype(np.uint64)

    def snapshot(self) -> list[list[object]]:
        """JSON-able state: entities in the order of their numbers."""
        return [[kind, entity] for kind, entity in self._entities]

    def restore(self, state: list[list[str]]) -> None:
        """Take over a snapshot."""
        self._of_index = {}
        self._entities = {(kind, entity): i for i, (kind, entity) in enumerate(state)}

    def _slices(self, model: Model, rows: pa.RecordBatch) -> Slices:
        reads = rows.column("read_time_us").to_numpy()
        width = len(self._features)
        columns = np.array([self._features[f] for f in model.features], np.int64)
        entities = [self._entities.get((model.entity_type, e), -1) for e in rows.column("entity").to_pylist()]
        keys = (np.array(entities, np.int64)[:, None] * width + columns[None, :]).ravel()
        keys = np.where(keys < 0, -1, keys)
        count = len(columns)
        until = np.repeat(reads + model.matures_after_us, count)
        since = np.repeat(reads - self._definitions.run.history_us, count)
        return self._in_winning_order(model, self._history.slices(keys, until, since))

    def _in_winning_order(self, model: Model, slices: Slices) -> Slices:
        """Where an older event never replaces a newer one, histories go by event time, then by source order."""
        features = [self._definitions.features[f] for f in model.features]
        by_event = np.array([self._definitions.sources[f.source].order == "max_event_time" for f in features], bool)
        if not by_event.any() or not slices.rows.size:
            return slices
        group = slices.group
        event = np.where(by_event[group % len(features)], self._history.event_time_us[slices.rows], 0)
        order = np.lexsort((np.arange(slices.rows.size), event, group))
        return dataclasses.replace(slices, rows=slices.rows[order])

    def _judge(
        self,
        model: Model,
        rows: pa.RecordBatch,
        slices: Slices,
        bounds: list[_Bounds],
        hashes: UInt64,
        *,
        stamps: UInt64 | None,
        named: UInt64 | None,
    ) -> Judged:
        n, count = rows.num_rows, len(model.features)
        a_us, b_us = self._intervals(slices, bounds)
        versions = VersionSet(
            start=slices.start,
            a_us=a_us,
            b_us=b_us,
            hashes=self._history.hash[slices.rows],
            ids=self._history.id64[slices.rows],
            begins=~slices.is_base,
            eps_us=np.tile(np.array([b.eps_us for b in bounds], np.int64), n),
            resolution_us=np.tile(np.array([b.resolution_us for b in bounds], np.int64), n),
            tier=np.tile(np.array([int(b.tier) for b in bounds], np.int8), n),
        )
        reads = rows.column("read_time_us").to_numpy()
        # Older than what is kept: nothing can be said, whether or not it happens to be here still.
        covered = rows.column("ingest_time_us").to_numpy() - reads <= self._definitions.run.history_us
        cells = CellSet(
            group=np.arange(n * count),
            p_lo_us=np.repeat(reads, count),
            hashes=hashes,
            stamps=stamps,
            named=named,
            covered=np.repeat(covered, count),
        )
        found = leakage.judge(versions, cells)
        at = slices.rows[np.maximum(found.version, 0)] if slices.rows.size else np.zeros(n * count, np.int64)
        decisive = self._column("id64", at, found.version >= 0)
        shape = (n, count)
        return Judged(
            found.verdict.reshape(shape),
            found.reason.reshape(shape),
            found.tier.reshape(shape),
            found.lead_us.reshape(shape),
            decisive.reshape(shape),
        )

    def _intervals(self, slices: Slices, bounds: list[_Bounds]) -> tuple[Int64, Int64]:
        """Bounds of every version in the slices, by the feature of its group."""
        history, rows = self._history, slices.rows
        feature = slices.group % len(bounds)
        from_view = np.array([b.from_view for b in bounds], bool)[feature]
        eps = np.array([b.eps_us for b in bounds], np.int64)[feature]
        lag = np.array([b.lag_us or 0 for b in bounds], np.int64)[feature]
        is_bounded = np.array([b.lag_us is not None for b in bounds], bool)[feature]
        if self._witnessed:
            lower, upper = history.view_bounds(slices)
        else:
            lower = upper = history.ingest_time_us[rows]
        view_from = np.where(lower == NEVER_US, NEVER_US, lower - eps)
        view_by = np.where((upper == FOREVER_US) | ~is_bounded, FOREVER_US, upper + 1 + eps + lag)
        a_us = np.where(from_view, view_from, history.source_from_us[rows]).astype(np.int64)
        b_us = np.where(from_view, view_by, history.source_by_us[rows]).astype(np.int64)
        wrong = a_us > b_us  # contradicts itself: neither convicts nor acquits
        return np.where(wrong, NEVER_US, a_us).astype(np.int64), np.where(wrong, FOREVER_US, b_us).astype(np.int64)

    def _served_bounds(self, feature: Feature) -> _Bounds:
        if feature.served_from == "source":
            return self._source_bounds(feature)
        return self._view_bounds(feature.serving_lag_us if self._witnessed else feature.serving_lag_us or 0)

    def _exposure_bounds(self, feature: Feature) -> _Bounds:
        return self._source_bounds(feature) if feature.aggregate is None else self._view_bounds(0)

    def _view_bounds(self, lag_us: int | None) -> _Bounds:
        run = self._definitions.run
        return _Bounds(True, Tier.E2 if self._witnessed else Tier.E3, run.clock_error_us, 1, lag_us)

    def _source_bounds(self, feature: Feature) -> _Bounds:
        source = self._definitions.sources[feature.source]
        if source.format == "debezium":
            tier = Tier.E2
        else:
            tier = Tier.E4 if source.write_time else Tier.E3
        return _Bounds(False, tier, self._definitions.clock_error_us(source), source.resolution_us, 0)


def _grid(rows: pa.RecordBatch, model: Model, what: str) -> UInt64:
    """Row-major cells [n * features] of one of a prediction's columns per feature."""
    columns = [rows.column(f"{f}.{what}").to_numpy() for f in model.features]
    return np.ascontiguousarray(np.stack(columns, axis=1)).ravel().astype(np.uint64)
