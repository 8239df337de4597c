"""Which rows of the version table does a batch of changes become?

Columns only: what the engine found (which row changed which feature of whom, to what) is joined with the coordinates
and bounds of the rows that caused it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.batches import VERSION_SCHEMA
from features.canonical import number_texts
from features.columns import Cells
from features.definitions import Feature, Source
from features.interning import Interner
from features.lineage import number_hashes, origin_hash, version_ids
from features.times import FOREVER_US, NEVER_US
from features.windows import Changes

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """Versions of one ring or one column. All arrays [m]; `feature` is the place among the source's features."""

    row: Int64
    feature: Int64
    key: Int64
    by_time: Bool
    time_us: Int64
    input_time_us: Int64
    window_end_us: Int64  # 0: no window
    is_present: Bool  # whether the value became the present one when it came
    cells: Cells


def part_of_ring(changes: Changes, places: Int64) -> Part:
    """What a ring changed; `places` of its features among the source's."""
    cells = Cells(number_texts(changes.value), number_hashes(changes.value), changes.value)
    return Part(
        changes.row, places[changes.feature], changes.key, changes.by_time, changes.time_us, changes.input_time_us,
        changes.window_end_us, np.ones(changes.row.size, np.bool_), cells,
    )  # fmt: skip


def part_of_column(rows: Int64, present: Int64, key: Int32, event_time_us: Int64, cells: Cells, place: int) -> Part:
    """The rows of a batch that made versions of a column, and those of them that became its present value."""
    time_us = event_time_us[rows]
    is_present = np.isin(rows, present, assume_unique=True)
    taken = Cells(cells.text.take(pa.array(rows)), cells.hash[rows], cells.number[rows])
    zeros = np.zeros(rows.size, np.int64)
    return Part(rows, zeros + place, key[rows].astype(np.int64), zeros != 0, time_us, time_us, zeros, is_present, taken)


def joined(parts: list[Part], features: int) -> Part:
    """All parts as one, in order of (row, by time before own, feature, first seen entity first)."""
    if len(parts) == 1:
        return parts[0]
    names = ("row", "feature", "key", "by_time", "time_us", "input_time_us", "window_end_us", "is_present")
    arrays = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    # Each part is in this order already, so a stable sort only merges runs.
    rank = (arrays["row"] * 2 + ~arrays["by_time"]) * features + arrays["feature"]
    order = np.argsort(rank, kind="stable")
    cells = Cells(
        pa.concat_arrays([p.cells.text for p in parts]).take(pa.array(order)),
        np.concatenate([p.cells.hash for p in parts])[order],
        np.concatenate([p.cells.number for p in parts])[order],
    )
    return Part(**{name: array[order] for name, array in arrays.items()}, cells=cells)


class Assembler:
    """Makes version batches of one source.

    Parameters
    ----------
    features
        The source's features in order of declaration, and the place of each among all features.
    clock_error_us
        Bound on the offset between the source's clock and the prediction clock.
    """

    def __init__(self, source: Source, features: list[tuple[Feature, int]], clock_error_us: int) -> None:
        self._source = source
        self._names = pa.array([f.name for f, _ in features], pa.utf8())
        self._definitions = np.array([f.definition for f, _ in features], "S16")
        self._places = np.array([place for _, place in features], np.int32)
        self._origins = np.array(
            [origin_hash(f.definition, source.entity_type, source.topic) for f, _ in features], np.uint64
        )
        self._clock_error_us = clock_error_us

    def versions(self, rows: pa.RecordBatch, part: Part, entities: Interner) -> pa.RecordBatch:
        """A batch of `VERSION_SCHEMA`."""
        n, row = part.row.size, part.row
        own = {name: rows.column(name).to_numpy()[row] for name in ("offset", "origin_partition", "origin_offset")}
        ids = version_ids(
            self._origins[part.feature],
            entities.hashes[part.key],
            own["origin_partition"].astype(np.int64),
            own["origin_offset"],
            part.window_end_us,
        )
        from_us, by_us, known_us, append_us = (times[row] for times in self._bounds(rows))
        feature = pa.array(part.feature)
        columns = {
            "entity_type": _constant(self._source.entity_type, n),
            "entity": _entities(rows.column("entity"), part, entities),
            "feature": self._names.take(feature),
            "value": part.cells.text,
            "value_num": pa.array(part.cells.number, mask=np.isnan(part.cells.number)),
            "event_time_us": pa.array(part.time_us),
            "ingest_time_us": pa.array(rows.column("ingest_time_us").to_numpy()[row]),
            "input_event_time_us": pa.array(part.input_time_us),
            "input_visible_from_us": pa.array(known_us, mask=known_us == NEVER_US),
            "topic": _constant(self._source.topic, n),
            "partition": pa.array(own["origin_partition"]),
            "offset": pa.array(own["origin_offset"]),
            "definition": _fixed_width(self._definitions[part.feature]),
            "id": _hexadecimal(ids),
            "window_end_us": pa.array(part.window_end_us, mask=part.window_end_us == 0),
            "by_time": pa.array(part.by_time),
            "log_offset": pa.array(own["offset"]),
            "append_time_us": pa.array(append_us, mask=append_us == NEVER_US),
            "source_from_us": pa.array(from_us),
            "source_by_us": pa.array(by_us),
            "hash": pa.array(part.cells.hash),
            "id64": pa.array(ids),
            "entity_index": pa.array(part.key.astype(np.int32)),
            "feature_index": pa.array(self._places[part.feature]),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in VERSION_SCHEMA.names], schema=VERSION_SCHEMA)

    def _bounds(self, rows: pa.RecordBatch) -> tuple[Int64, Int64, Int64, Int64]:
        """int64[n] each: bounds of visibility by the source's own times, the lower one as stamped, append times."""
        write = rows.column("write_time_us").fill_null(NEVER_US).to_numpy()
        append = rows.column("append_time_us").fill_null(NEVER_US).to_numpy()
        known = np.where(write == NEVER_US, append, write)
        from_us = np.where(known == NEVER_US, NEVER_US, known - self._clock_error_us)
        visible = rows.column("visible_time_us").fill_null(FOREVER_US).to_numpy()
        if self._source.write_time is not None and self._source.visible_time is None:
            # A store without visible times: what was written could be read. A visible time that is merely NULL proves
            # nothing, so its bound stays open.
            visible = np.where((visible == FOREVER_US) & (write != NEVER_US), write, visible)
        margin = self._source.resolution_us + self._clock_error_us
        by_us = np.where(visible == FOREVER_US, FOREVER_US, visible + margin)
        return from_us, by_us, known, append


def _entities(own: pa.Array, part: Part, entities: Interner) -> pa.Array:
    """The entity of each version: that of its row, but for versions by time."""
    moved = np.flatnonzero(part.by_time)
    if moved.size == 0:
        return own.take(pa.array(part.row))
    index = part.row.copy()
    index[moved] = len(own) + np.arange(moved.size)
    return pa.concat_arrays([own, entities.take(part.key[moved])]).take(pa.array(index))


def _hexadecimal(ids: UInt64) -> pa.Array:
    """utf8[n]: `features.lineage.show_id` of each id."""
    return _fixed_width(np.frombuffer(ids.astype(">u8").tobytes().hex().encode(), "S16"))


def _fixed_width(texts: npt.NDArray[np.bytes_]) -> pa.Array:
    """utf8[n] of texts that all fill their width."""
    bounds = np.arange(texts.size + 1, dtype=np.int32) * texts.itemsize
    return pa.StringArray.from_buffers(texts.size, pa.py_buffer(bounds), pa.py_buffer(texts))


def _constant(text: str, n: int) -> pa.Array:
    content = text.encode()
    bounds = np.arange(n + 1, dtype=np.int32) * len(content)
    return pa.StringArray.from_buffers(n, pa.py_buffer(bounds), pa.py_buffer(content * n))
