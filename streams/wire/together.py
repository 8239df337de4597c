"""Plain JSON rows of one source, many at a time.

Reads what `RowDecoder` reads record by record, with a decoder made for the fields that somebody needs, straight into
columns. It takes only records about which there is no doubt; every other one is left to the complete reader, which
finds out what it is or why it is refused. So both agree by construction, and `tests/streams/wire` holds them to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import times
from features.batches import row_schema
from features.definitions import Source, TimeField
from features.times import EARLIEST_US, LATEST_US, NEVER_US
from streams.wire.cells import cell_columns
from streams.wire.records import AT_ITS_OWN_TIME, VALUE_BYTES_MAX, InColumns, Record

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_KINDS: dict[str, Any] = {
    "number": int | float | None,
    "text": str | None,
    "bool": bool | None,
    "any": int | float | str | bool | None,
}
#: Of numbers beyond, the complete reader makes NULL.
_NUMBER_MAX = 1e308


@dataclass(slots=True)
class Columns:
    """Records that came one by one, in columns."""

    offset: Int64
    timestamp_ms: Int64
    is_append: Bool
    values: list[bytes | None]

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Columns":
        """Columns of these records."""
        return cls(
            np.array([r.offset for r in records], np.int64),
            np.array([r.timestamp_ms for r in records], np.int64),
            np.array([r.timestamp_is_append for r in records], np.bool_),
            [r.value for r in records],
        )


@dataclass(frozen=True, slots=True)
class Rows:
    """`features.batches.row_schema` of the records that were read, and their indices (rising)."""

    batch: pa.RecordBatch
    taken: Int64


class TogetherReader:
    """Reads plain JSON of one source; `None` from `of` where the source is of another kind."""

    def __init__(self, source: Source, roles: list[tuple[str, Any, Any]]) -> None:
        # Positional names: a field of a payload may be called anything.
        fields = [
            (f"f{i}", kind) if default is msgspec.UNSET else (f"f{i}", kind, default)
            for i, (_, kind, default) in enumerate(roles)
        ]
        renamed = {f"f{i}": name for i, (name, _, _) in enumerate(roles)}
        shape = msgspec.defstruct("Shape", fields, rename=renamed, kw_only=True, gc=False)
        self._decode = msgspec.json.Decoder(shape).decode
        self._names = {name: f"f{i}" for i, (name, _, _) in enumerate(roles)}
        self._source = source
        self._schema = row_schema(source)

    @classmethod
    def of(cls, source: Source) -> "TogetherReader | None":
        """A reader, or None where the source is of another kind: change events, or one field in two roles."""
        required = [f.field for f in (source.event_time, source.ingest_time) if f is not None]
        optional = [f.field for f in (source.write_time, source.visible_time) if f is not None]
        roles: list[tuple[str, Any, Any]] = [(source.entity_field, str | int, msgspec.UNSET)]
        roles += [(name, int, msgspec.UNSET) for name in required]
        roles += [(name, int | None, None) for name in optional]
        roles += [(source.txid, str | int | None, None)] if source.txid else []
        roles += [(name, _KINDS[kind], msgspec.UNSET) for name, kind in source.kinds.items()]
        names = [name for name, _, _ in roles]
        is_plain = source.format == "json" and all(names) and len(set(names)) == len(names)
        is_plain &= all(name.isascii() and name.isprintable() and not set(name) & {'"', "\\"} for name in names)
        return cls(source, roles) if is_plain else None

    def read(self, columns: InColumns, partition: int, received_us: int) -> Rows | None:
        """Rows of the records about which there is no doubt; None: all are to be read one by one."""
        decode = self._decode
        taken: list[int] = []
        shapes: list[Any] = []
        for i, value in enumerate(columns.values):
            # Texts that nobody needs are skipped unread, so it has to be known that they are UTF-8.
            if value is None or not (value.isascii() or _is_text(value)) or len(value) > VALUE_BYTES_MAX:
                continue
            try:
                shapes.append(decode(value))
            except (msgspec.DecodeError, RecursionError):
                continue
            taken.append(i)
        try:
            return self._rows(shapes, np.array(taken, np.int64), columns, partition, received_us) if taken else None
        except (OverflowError, pa.ArrowInvalid):  # some number does not fit its column
            return None

    def _rows(self, shapes: list[Any], taken: Int64, columns: InColumns, partition: int, received_us: int) -> Rows:
        source, n = self._source, len(shapes)
        entities = self._of(shapes, source.entity_field)
        entity = pa.array([e if type(e) is str else str(e) for e in entities], pa.utf8())
        is_sure = pc.binary_length(entity).to_numpy() > 0
        at: dict[str, Int64] = {}
        for role in ("event_time", "ingest_time", "write_time", "visible_time"):
            at[role], is_time = self._times(shapes, getattr(source, role))
            is_sure &= is_time
        stamp_us = np.where(columns.is_append, columns.timestamp_ms * 1000, NEVER_US)[taken]
        own_us = np.where(at["write_time"] == NEVER_US, at["event_time"], at["write_time"])
        arrived = np.full(n, received_us, np.int64) if received_us != AT_ITS_OWN_TIME else own_us
        ingest = np.where(stamp_us == NEVER_US, arrived, stamp_us) if source.ingest_time is None else at["ingest_time"]
        event = at["event_time"] if source.event_time else np.where(own_us == NEVER_US, ingest, own_us)
        is_sure &= ingest != NEVER_US
        nothing = pa.nulls(n, pa.utf8())
        domain = pa.repeat(pa.scalar(source.topic, pa.utf8()), n) if source.txid else nothing
        offset = pa.array(columns.offset[taken])
        arrays = [
            offset, pa.array(np.full(n, partition, np.int32)), offset, entity,
            pa.array(event), pa.array(ingest), _nullable(stamp_us), _nullable(at["write_time"]),
            _nullable(at["visible_time"]), domain, self._txids(shapes), nothing,
        ]  # fmt: skip
        for name, kind in source.kinds.items():
            arrays += _payload(self._of(shapes, name), kind)
        batch = pa.RecordBatch.from_arrays(
            [a.cast(f.type) for a, f in zip(arrays, self._schema, strict=True)], schema=self._schema
        )
        return Rows(batch, taken) if is_sure.all() else Rows(batch.filter(pa.array(is_sure)), taken[is_sure])

    def _of(self, shapes: list[Any], name: str) -> list[Any]:
        return list(map(attrgetter(self._names[name]), shapes))

    def _times(self, shapes: list[Any], declared: TimeField | None) -> tuple[Int64, Bool]:
        """Microseconds, NEVER_US where there is none; and where it is certain that this is right."""
        if declared is None:
            return np.full(len(shapes), NEVER_US, np.int64), np.ones(len(shapes), np.bool_)
        found = self._of(shapes, declared.field)
        if None in found:
            stamps = np.array([0 if x is None else x for x in found], np.int64)
            is_none = np.array([x is None for x in found], np.bool_)
        else:
            stamps, is_none = np.array(found, np.int64), np.zeros(len(found), np.bool_)
        time_us = np.full(stamps.size, NEVER_US, np.int64)
        for unit in [times.UNIT_NAMES[declared.unit]] if declared.unit else times.Unit:
            # Compared in its own unit: nothing overflows. The ranges of different units are disjoint.
            is_ns = unit is times.Unit.NANOSECOND
            first = EARLIEST_US * 1000 if is_ns else EARLIEST_US // unit
            last = LATEST_US * 1000 + 999 if is_ns else LATEST_US // unit
            fits = (stamps >= first) & (stamps <= last)
            time_us[fits] = stamps[fits] // 1000 if is_ns else stamps[fits] * unit
        return time_us, is_none | (time_us != NEVER_US)

    def _txids(self, shapes: list[Any]) -> pa.Array:
        if not self._source.txid:
            return pa.nulls(len(shapes), pa.utf8())
        return pa.array([None if x is None else str(x) for x in self._of(shapes, self._source.txid)], pa.utf8())


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _nullable(time_us: Int64) -> pa.Array:
    return pa.array(time_us, mask=time_us == NEVER_US)


def _payload(values: list[Any], kind: str) -> list[pa.Array]:
    """The columns of one payload field."""
    if kind == "any":
        text, hashes, numbers = cell_columns(values)
        return [pa.array(c, t) for c, t in ((text, pa.utf8()), (hashes, pa.uint64()), (numbers, pa.float64()))] + [
            pa.nulls(len(values), pa.bool_())
        ]
    if kind != "number":
        return [pa.array(values, pa.utf8() if kind == "text" else pa.bool_())]
    numbers = pa.array(values, pa.float64())
    is_huge = pc.greater_equal(pc.abs(numbers), _NUMBER_MAX)
    if pc.any(is_huge).as_py():
        numbers = pc.if_else(is_huge, None, numbers)
    return [numbers]
