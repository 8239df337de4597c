"""What does a batch of rows change, and what is current after it?

One engine holds the features of one source for the entities of one partition group. Rows of the logs consumed come in
batch by batch, in the order of each log; every version comes out, in the order of rows, the same wherever batches are
cut.

A row is *late*, with a reason, if the source has window features only and none of them could apply it:

==================  ================================================================================================
behind_watermark    its event time is less than its log's watermark before it (see `features.watermark`)
outside_window      it passes the `where` of at least one window feature, and lies before the window of its entity in
                    all of those (see `features.windows`)
==================  ================================================================================================

Windows have lateness, histories do not: a `column` feature takes every row, so where a source has one, nothing is late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates import AGGREGATES
from features.assembly import Assembler, Part, joined, part_of_column, part_of_ring
from features.batches import LATE_SCHEMA, VERSION_SCHEMA, row_schema
from features.columns import Cells, Newest
from features.definitions import Definitions, Feature, Run, Source
from features.expressions import Expression, Result, compile_expression, evaluate, infer_kinds
from features.interning import Interner
from features.lineage import NULL_HASH, Scalar, show_id
from features.watermark import Watermark
from features.windows import Ring

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Features of one source: places of versions in a batch are sorted by one 64-bit number.
FEATURES_MAX = 4_096
_NO_VERSIONS = pa.RecordBatch.from_pylist([], VERSION_SCHEMA)
_NO_LATE = pa.RecordBatch.from_pylist([], LATE_SCHEMA)
_ROWS = "rows"  # input of a count without column


@dataclass(frozen=True, slots=True)
class EngineOutput:
    """What one batch changed.

    Parameters
    ----------
    versions
        `features.batches.VERSION_SCHEMA`, in order of (row, by time before own, feature, first seen entity first);
        `feature_index` counts all declared features, `entity_index` is the place in `SourceEngine.entities`.
    late
        `features.batches.LATE_SCHEMA`.
    applied
        Rows that are not late.
    changed_entities
        int32[k], rising: entities with a version.
    """

    versions: pa.RecordBatch
    late: pa.RecordBatch
    applied: int
    changed_entities: Int32


@dataclass(frozen=True, slots=True)
class Present:
    """Rows of a feature group in columns.

    Parameters
    ----------
    entities
        utf8[n].
    columns
        By feature: values (float64[n] with NaN for NULL, or scalars), event times int64[n], ids uint64[n] (0: absent).
    """

    entities: pa.Array
    columns: Mapping[str, tuple[Float64 | list[Scalar], Int64, npt.NDArray[np.uint64]]]


class SourceEngine:
    """Features of one source in one partition group.

    Parameters
    ----------
    clock_error_us
        Bound on the offset between the source's clock and the prediction clock: widens the bounds of visibility.

    Raises
    ------
    ValueError
        An expression does not fit its columns, an aggregate its input, or a column is not among the source's kinds.

    Examples
    --------
    >>> from features.batches import row_schema
    >>> from features.definitions import Run
    >>> source = Source(name="clicks", topic="events.clicks", entity_type="user")
    >>> clicks = Feature(name="clicks_20s", source="clicks", aggregate="count", window_us=20_000_000, panes=2)
    >>> declared = Definitions(run=Run(), sources={"clicks": source}, features={"clicks_20s": clicks}, models={})
    >>> engine = SourceEngine(declared, source, clock_error_us=0)
    >>> row = {"offset": 0, "origin_partition": 0, "origin_offset": 0, "entity": "42"}
    >>> row |= {"event_time_us": 1_700_000_000_000_000, "ingest_time_us": 1_700_000_000_000_000}
    >>> out = engine.on_rows(pa.RecordBatch.from_pylist([row], row_schema(source)), "events.clicks/0")
    >>> out.versions.column("value").to_pylist(), engine.current(out.changed_entities)[0]["clicks_20s"]["value"]
    (['1'], 1)
    """

    def __init__(self, definitions: Definitions, source: Source, *, clock_error_us: int) -> None:
        features = definitions.features_of(source.name)
        if len(features) > FEATURES_MAX:
            raise ValueError(f"expected at most {FEATURES_MAX} features of one source, found {len(features)}")
        order = {name: i for i, name in enumerate(definitions.features)}
        self.source = source
        self.entities = Interner()
        self._features = features
        self._place = {feature.name: i for i, feature in enumerate(features)}
        self._assembler = Assembler(source, [(f, order[f.name]) for f in features], clock_error_us)
        self._marks: dict[str, Watermark] = {}
        windowed = [f for f in features if f.aggregate is not None]
        self._columns = [
            Newest(f, by_event_time=source.order == "max_event_time") for f in features if f.aggregate is None
        ]
        self._expressions: dict[tuple[str, str], Expression] = {}
        for feature in features:
            self._compile(feature)
        shared: dict[tuple[str | None, int, int], list[Feature]] = {}
        for feature in windowed:
            shared.setdefault((feature.where, feature.pane_us, feature.panes), []).append(feature)
        self._rings = [
            Ring(group, [_input_of(f, source) for f in group], lateness_us=source.lateness_us)
            for group in shared.values()
        ]
        # Where the present value of each feature is held, in order of declaration.
        holders: dict[str, tuple[Ring | Newest, int]] = {n.feature.name: (n, 0) for n in self._columns}
        for ring in self._rings:
            holders |= {feature.name: (ring, column) for column, feature in enumerate(ring.features)}
        self._holders = {f.name: holders[f.name] for f in features}

    def on_rows(self, batch: pa.RecordBatch, log: str) -> EngineOutput:
        """Apply rows of one log, in its order.

        Parameters
        ----------
        batch
            `features.batches.row_schema` of the source; may be empty.
        log
            ``topic/partition`` as consumed; each log has a watermark of its own.
        """
        if batch.num_rows == 0:
            return EngineOutput(_NO_VERSIONS, _NO_LATE, 0, np.empty(0, np.int32))
        key = self.entities.number(batch.column("entity"))
        event_time_us = batch.column("event_time_us").to_numpy()
        mark = self._marks.setdefault(log, Watermark(self.source.lateness_us))
        before, after = mark.observe(event_time_us)
        is_behind = event_time_us < before
        number = list(self._marks).index(log)
        parts, is_lost = self._pass_rings(batch, key, event_time_us, after, is_behind, number)
        parts += self._pass_columns(batch, key, event_time_us)
        versions = self._versions(batch, parts)
        is_late = (is_behind | is_lost) if self._rings and not self._columns else np.zeros(batch.num_rows, np.bool_)
        late = _late(batch, is_late, is_behind, before)
        changed = _distinct(versions.column("entity_index").to_numpy())
        return EngineOutput(versions, late, batch.num_rows - late.num_rows, changed)

    def current(self, entity_indices: Int32) -> dict[int, dict[str, dict[str, Any]]]:
        """The whole row of the feature group of each entity: value, id (hexadecimal) and event time by feature.

        A feature without a version is absent.
        """
        found: dict[int, dict[str, dict[str, Any]]] = {int(k): {} for k in entity_indices}
        for k, values in found.items():
            for name, (holder, column) in self._holders.items():
                value, time_us, version_id = holder.present(k, column)
                if version_id:
                    values[name] = {"value": value, "id": show_id(version_id), "event_time_us": time_us}
        return found

    def present(self, entity_indices: Int32) -> Present:
        """The same as `current`, in columns."""
        columns = {name: holder.presents(entity_indices, f) for name, (holder, f) in self._holders.items()}
        return Present(self.entities.take(entity_indices), columns)

    @property
    def nbytes(self) -> int:
        """Bytes of state held in arrays."""
        return self.entities.nbytes + sum(int(part.nbytes) for part in self._parts().values())

    def watermarks(self) -> dict[str, int]:
        """The watermark of each log, microseconds."""
        return {log: mark.at_us for log, mark in self._marks.items()}

    def snapshot(self) -> dict[str, Any]:
        """Arrays and JSON-ables by dotted name; a restored engine goes on as this one would."""
        state: dict[str, Any] = {"logs": list(self._marks), "watermarks": [m.at_us for m in self._marks.values()]}
        state |= {f"entities.{k}": v for k, v in self.entities.snapshot().items()}
        for name, part in self._parts().items():
            state |= {f"{name}.{k}": v for k, v in part.snapshot(len(self.entities)).items()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a snapshot of an engine with the same definitions."""
        self._marks = {
            log: Watermark(self.source.lateness_us, at)
            for log, at in zip(state["logs"], state["watermarks"], strict=True)
        }
        self.entities.restore(_under(state, "entities."))
        for name, part in self._parts().items():
            part.restore(_under(state, f"{name}."))

    # -- parts of a step ------------------------------------------------------------------------------------------

    def _pass_rings(
        self, batch: pa.RecordBatch, key: Int32, event_time_us: Int64, after: Int64, is_behind: Bool, log: int
    ) -> tuple[list[Part], Bool]:
        """Versions of window features, and the rows that every window that wanted them refused."""
        wanted, refused = np.zeros(key.size, np.int64), np.zeros(key.size, np.int64)
        inputs = self._inputs(batch)
        parts = []
        for ring in self._rings:
            where = ring.features[0].where
            is_open = ~is_behind if where is None else ~is_behind & inputs["where", where].astype(np.bool_)
            columns = {name: inputs["input", name] for name in ring.inputs}
            changes = ring.apply(key, event_time_us, after, is_open, columns, log=log, keys=len(self.entities))
            wanted += is_open
            refused += changes.outside
            places = np.array([self._place[f.name] for f in ring.features], np.int64)
            parts.append(part_of_ring(changes, places))
        return parts, (wanted > 0) & (wanted == refused)

    def _pass_columns(self, batch: pa.RecordBatch, key: Int32, event_time_us: Int64) -> list[Part]:
        parts = []
        for newest in self._columns:
            cells = _cells(batch, str(newest.feature.column))
            made, taken = newest.apply(key, event_time_us, cells, keys=len(self.entities))
            place = self._place[newest.feature.name]
            parts.append(part_of_column(made, taken, key, event_time_us, cells, place))
        return parts

    def _versions(self, batch: pa.RecordBatch, parts: list[Part]) -> pa.RecordBatch:
        if not parts:
            return _NO_VERSIONS
        part = joined(parts, len(self._features))
        versions = self._assembler.versions(batch, part, self.entities)
        ids = versions.column("id64").to_numpy()
        for holder, column in self._holders.values():
            mine = np.flatnonzero(part.is_present & (part.feature == self._place[holder.features[column].name]))
            holder.note_ids(part.key[mine], np.full(mine.size, column), ids[mine])
        return versions

    def _inputs(self, batch: pa.RecordBatch) -> dict[tuple[str, str], npt.NDArray[Any]]:
        """Every column that some window wants: selections by `where`, numbers by input."""
        found = dict(zip(self._expressions, evaluate(list(self._expressions.values()), batch), strict=True))
        for name in {name for ring in self._rings for name in ring.inputs}:
            if ("input", name) not in found:
                found["input", name] = _folded(batch, name)
        return found

    # -- set-up ---------------------------------------------------------------------------------------------------

    def _compile(self, feature: Feature) -> None:
        kinds = self.source.kinds
        if feature.column is not None and feature.column not in kinds:
            raise ValueError(
                f"expected {feature.column!r} of {feature.name} among the columns of its source, found no such"
            )
        if feature.aggregate is None:
            if feature.column is None or kinds[feature.column] != "any":
                raise ValueError(f"expected a column of kind 'any' for {feature.name}, found {feature.column!r}")
            return
        if feature.where is not None:
            self._expressions["where", feature.where] = self._expression(feature.where, "bool")
        if feature.expr is not None:
            self._expressions["input", _input_of(feature, self.source)] = self._expression(feature.expr, "number")
        elif feature.aggregate != "count" and (feature.column is None or kinds[feature.column] == "text"):
            raise ValueError(f"expected numbers for {feature.name}, found {feature.column!r}")

    def _expression(self, text: str, result: Result) -> Expression:
        # A column that features read as it is comes as kind any; expressions read it as what fits them.
        kinds = self.source.kinds | infer_kinds(text, self.source.kinds, result=result)
        return compile_expression(text, kinds, result=result)

    def _parts(self) -> dict[str, Any]:
        """Rings and columns by a name that is stable while the definitions are."""
        rings = {f"ring.{ring.features[0].name}": ring for ring in self._rings}
        return rings | {f"column.{newest.feature.name}": newest for newest in self._columns}


def warm_up() -> None:
    """Compile (or load from the cache) every kernel, so that no first event waits for it."""
    source = Source(name="w", topic="w", lateness_us=1, kinds={"x": "number", "y": "any"})
    window = {"source": "w", "window_us": 4, "panes": 2}
    features = [Feature(name=a, aggregate=a, column="x", **window) for a in AGGREGATES]  # type: ignore[arg-type]
    features.append(Feature(name="y", source="w", column="y"))
    declared = Definitions(run=Run(), sources={"w": source}, features={f.name: f for f in features}, models={})
    rows = [_warm_row(offset) for offset in range(12)]
    engine = SourceEngine(declared, source, clock_error_us=0)
    engine.on_rows(pa.RecordBatch.from_pylist(rows, row_schema(source)), "w/0")
    engine.restore(engine.snapshot())


def _warm_row(offset: int) -> dict[str, Any]:
    row = {"offset": offset, "origin_partition": 0, "origin_offset": offset, "entity": str(offset % 3)}
    row |= {"event_time_us": 2 * offset, "ingest_time_us": 0, "x": 1.0, "y": "1", "y.hash": offset, "y.number": 1.0}
    return row


def _input_of(feature: Feature, source: Source) -> str:
    """A name for what an aggregate folds; features with one name share its panes."""
    if feature.expr is not None:
        return f"expr {feature.expr}"
    if feature.column is None:
        return _ROWS
    is_counted = feature.aggregate == "count" and source.kinds[feature.column] in ("any", "text")
    return f"{'present' if is_counted else 'number'} {feature.column}"


def _folded(batch: pa.RecordBatch, name: str) -> Float64:
    """float64[n]: what an input folds of a batch; NaN is NULL, true is 1."""
    if name == _ROWS:
        return np.zeros(batch.num_rows)
    what, column = name.split(" ", 1)
    if what == "present":
        return np.where(batch.column(column).is_valid().to_numpy(zero_copy_only=False), 0.0, np.nan)
    if batch.schema.get_field_index(f"{column}.hash") >= 0:
        return np.asarray(batch.column(f"{column}.number").to_numpy(), np.float64)
    return np.asarray(batch.column(column).cast(pa.float64()).fill_null(np.nan).to_numpy(), np.float64)


def _cells(batch: pa.RecordBatch, name: str) -> Cells:
    """A payload column of kind any; a deleting change event makes NULL."""
    text, hashes = batch.column(name), batch.column(f"{name}.hash").to_numpy()
    numbers = batch.column(f"{name}.number").to_numpy()
    is_deleted = pc.equal(batch.column("op"), "d").fill_null(False)
    if not is_deleted.true_count:
        return Cells(text, hashes, numbers)
    deleted = is_deleted.to_numpy(zero_copy_only=False)
    text = pc.if_else(is_deleted, pa.scalar(None, pa.utf8()), text)
    hashes = np.where(deleted, np.uint64(NULL_HASH), hashes).astype(np.uint64)
    return Cells(text, hashes, np.where(deleted, np.nan, numbers))


def _late(batch: pa.RecordBatch, is_late: Bool, is_behind: Bool, before: Int64) -> pa.RecordBatch:
    rows = np.flatnonzero(is_late)
    if rows.size == 0:
        return _NO_LATE
    taken = batch.select(["offset", "origin_partition", "origin_offset", "entity", "event_time_us"]).take(
        pa.array(rows)
    )
    reasons = pa.array(["outside_window", "behind_watermark"], pa.utf8()).take(
        pa.array(is_behind[rows].astype(np.int8))
    )
    return pa.RecordBatch.from_arrays([*taken.columns, pa.array(before[rows]), reasons], schema=LATE_SCHEMA)


def _distinct(numbers: Int32) -> Int32:
    """Sorted without repetitions; on a batch, sorting is many times quicker than the hash table of `numpy.unique`."""
    ordered = np.sort(numbers)
    is_first = np.ones(ordered.size, np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return np.asarray(ordered[is_first], np.int32)


def _under(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
