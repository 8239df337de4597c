"""From records of one source to columns.

This is the seam between bytes and facts: `RowDecoder` takes the records of one fetch and returns columns, the rows
that live elsewhere, and the dead letters. It reads record by record with msgspec: complete, and the twin of
`streams.wire.together`, which reads most records of plain JSON before. Nothing behind it may know which of them worked.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from features.batches import row_schema
from features.definitions import Definitions, Source, TimeField
from streams.wire.cells import cell_columns
from streams.wire.forwarding import Origin
from streams.wire.logs import Foreign, LogDecoder, Sorted
from streams.wire.records import AT_ITS_OWN_TIME, VALUE_BYTES_MAX, DecodeError, InColumns, Record, Refusal
from streams.wire.stamps import stamp_reader
from streams.wire.together import Columns, Rows, TogetherReader

#: Fewer records are quicker read one by one: columns cost some 300 us, a record some 10 (measured).
FEW = 24
_MISSING = object()
_FIXED = (
    "entity", "event_time_us", "ingest_time_us", "append_time_us", "write_time_us", "visible_time_us",
    "clock_domain", "txid", "op",
)  # fmt: skip
_json = msgspec.json.Decoder(dict[str, Any])
#: A number beyond float64 in a field that nobody reads is no reason to refuse a row; read, it is (see `_value`).
_unbounded = msgspec.json.Decoder(dict[str, Any], float_hook=float)
#: Debezium's own time: commit time to the microsecond (PostgreSQL), else milliseconds.
_DEBEZIUM_TIME = TimeField(field="source.ts_us", unit="us")


class RowDecoder(LogDecoder["Row"]):
    """Decodes the records of one source; see `LogDecoder`."""

    def __init__(self, definitions: Definitions, source: Source, *, home: int | None) -> None:
        super().__init__(definitions.run.partitions, home)
        self.source = source
        self._schema = row_schema(source)
        self._columns = list(source.kinds.items())
        self._is_change = source.format == "debezium"
        self.skips_null = self._is_change  # the tombstone behind a delete says nothing new
        self._event = stamp_reader(source.event_time) if source.event_time else None
        self._ingest = stamp_reader(source.ingest_time) if source.ingest_time else None
        self._write = stamp_reader(source.write_time) if source.write_time else None
        self._visible = stamp_reader(source.visible_time) if source.visible_time else None
        self._commit = stamp_reader(_DEBEZIUM_TIME)
        self._together = TogetherReader.of(source)
        self.few = FEW

    def read(self, value: bytes, origin: Origin, received_us: int) -> tuple[str, "Row"]:
        """Entity and row of one value."""
        row = self._row(value, origin, received_us)
        return row.entity, row

    def columns(self, found: Sorted["Row"]) -> pa.RecordBatch:
        """The rows as a batch of `features.batches.row_schema`."""
        if found.together is None:
            return _batch(found.rows, self._columns, self._schema)
        if not found.rows:
            return found.together
        both = pa.Table.from_batches([found.together, _batch(found.rows, self._columns, self._schema)])
        return both.sort_by("offset").combine_chunks().to_batches()[0]

    def sort(
        self,
        records: Iterable[Record],
        *,
        topic: str,
        partition: int,
        received_us: int,
        forwarded_below: dict[int, int] | None = None,
    ) -> Sorted["Row"]:
        """See `LogDecoder.sort`; what can be is read together, the rest one by one."""
        where: Any = {"topic": topic, "partition": partition, "received_us": received_us}
        if self._together is None or forwarded_below is not None:
            return super().sort(records, **where, forwarded_below=forwarded_below)
        known = records if isinstance(records, Sequence) else list(records)
        if len(known) < self.few:
            return super().sort(known, **where)
        columns = known if isinstance(known, InColumns) else Columns.of(known)
        read = self._together.read(columns, partition, received_us)
        if read is None:
            return super().sort(known, **where)
        left = np.ones(len(known), np.bool_)
        left[read.taken] = False
        out = super().sort([known[i] for i in np.flatnonzero(left).tolist()], **where)
        out.together = self._at_home(read, known, topic, partition, out)
        return out

    def _at_home(
        self, read: Rows, records: Sequence[Record], topic: str, partition: int, out: Sorted["Row"]
    ) -> pa.RecordBatch:
        """Rows whose entities live here; the others join the foreign ones, in order of offsets."""
        if self._home is None:
            return read.batch
        entities = read.batch.column("entity").to_pylist()
        home = self._placement.of(entities)
        is_away = home != self._home
        if not is_away.any():
            return read.batch
        ingest = read.batch.column("ingest_time_us").to_pylist()
        for i in np.flatnonzero(is_away).tolist():
            record = records[int(read.taken[i])]
            origin = Origin(topic, partition, record.offset, record.timestamp_ms, record.timestamp_is_append)
            known = (entities[i], int(home[i]), origin, record.key, record.value or b"", record.headers, ingest[i])
            out.foreign.append(Foreign(*known))
        out.foreign.sort(key=lambda foreign: foreign.origin.offset)
        return read.batch.filter(pa.array(~is_away))

    def _row(self, value: bytes, origin: Origin, received_us: int) -> "Row":
        body = parse_json(value, _unbounded)
        if self._is_change:
            return self._change(body, origin, received_us)
        event = (
            self._event(_required(body, self.source.event_time.field))
            if self._event and self.source.event_time
            else None
        )
        write = self._time(self._write, self.source.write_time, body)
        ingest, append = self._ingest_time(body, origin, received_us, write if write is not None else event)
        if event is None:
            event = write if write is not None else ingest
        return Row(
            entity=entity_text(_required(body, self.source.entity_field), self.source.entity_field),
            event_time_us=event,
            ingest_time_us=ingest,
            append_time_us=append,
            write_time_us=write,
            visible_time_us=self._time(self._visible, self.source.visible_time, body),
            clock_domain=self.source.topic if self.source.txid else None,
            txid=_text(body.get(self.source.txid)) if self.source.txid else None,
            op=None,
            values=[_value(name, kind, _required(body, name)) for name, kind in self._columns],
            changed=[None] * len(self._columns),
        )

    def _change(self, body: dict[str, Any], origin: Origin, received_us: int) -> "Row":
        if "op" not in body and isinstance(body.get("payload"), dict):
            body = body["payload"]  # the converter was left with schemas.enable=true
        op = body.get("op")
        if op not in ("c", "u", "d", "r"):
            raise DecodeError(Refusal.WRONG_TYPE, f"op: expected c, u, d or r of a change event, found {op!r}")
        witness = body.get("source")
        if not isinstance(witness, dict):
            raise DecodeError(Refusal.MISSING_FIELD, "source: missing in the change event")
        before, after = body.get("before"), body.get("after")
        image = before if op == "d" else after
        if not isinstance(image, dict):
            raise DecodeError(
                Refusal.MISSING_FIELD,
                f"{'before' if op == 'd' else 'after'}: missing in a change event of op {op}",
            )
        commit = self._commit(witness["ts_us"] if "ts_us" in witness else _required(witness, "ts_ms") * 1000)
        event = (
            self._event(_required(image, self.source.event_time.field))
            if self._event and self.source.event_time
            else commit
        )
        ingest, append = self._ingest_time(body, origin, received_us, commit)
        is_snapshot = op == "r"
        old = before if isinstance(before, dict) else None
        values = [_value(n, k, None if op == "d" else _required(image, n)) for n, k in self._columns]
        return Row(
            entity=entity_text(_required(image, self.source.entity_field), self.source.entity_field),
            event_time_us=event,
            ingest_time_us=ingest,
            append_time_us=append,
            # A snapshot row was there before the snapshot read it: no lower bound, and the read is the upper one.
            write_time_us=None if is_snapshot else commit,
            visible_time_us=commit,
            clock_domain=f"{witness.get('connector', '')}:{witness.get('name', '')}",
            txid=None if is_snapshot else _text(witness.get("txId")),
            op=op,
            values=values,
            changed=[_is_changed(name, op, old, image) for name, _ in self._columns],
        )

    def _ingest_time(
        self, body: dict[str, Any], origin: Origin, received_us: int, own_us: int | None
    ) -> tuple[int, int | None]:
        append = origin.timestamp_ms * 1000 if origin.is_append else None
        if self._ingest and self.source.ingest_time:
            return self._ingest(_required(body, self.source.ingest_time.field)), append
        if append is not None:
            return append, append
        if origin.received_us:
            return origin.received_us, None
        if received_us != AT_ITS_OWN_TIME:
            return received_us, None
        if own_us is None:
            raise DecodeError(Refusal.MISSING_FIELD, "no ingest, write or event time is declared for this source")
        return own_us, None

    def _time(
        self, read: Callable[[object], int] | None, declared: TimeField | None, body: dict[str, Any]
    ) -> int | None:
        if read is None or declared is None:
            return None
        value = body.get(declared.field)
        return None if value is None else read(value)


@dataclass(slots=True)
class Row:
    """One row of a source, decoded."""

    entity: str
    event_time_us: int
    ingest_time_us: int
    append_time_us: int | None
    write_time_us: int | None
    visible_time_us: int | None
    clock_domain: str | None
    txid: str | None
    op: str | None
    values: list[Any]
    changed: list[bool | None]


def _batch(rows: list[tuple[int, Origin, Row]], columns: list[tuple[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays: list[Any] = [
        np.array([o for o, _, _ in rows], np.int64),
        np.array([origin.partition for _, origin, _ in rows], np.int32),
        np.array([origin.offset for _, origin, _ in rows], np.int64),
    ]
    arrays += [[getattr(row, name) for _, _, row in rows] for name in _FIXED]
    for index, (_, kind) in enumerate(columns):
        values = [row.values[index] for _, _, row in rows]
        if kind != "any":
            arrays.append(values)
            continue
        arrays += cell_columns(values)
        arrays.append([row.changed[index] for _, _, row in rows])
    return pa.RecordBatch.from_arrays(
        [pa.array(a, type=f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
    )


def parse_json(value: bytes, decoder: msgspec.json.Decoder[dict[str, Any]] = _json) -> dict[str, Any]:
    """The JSON object in `value`.

    Raises
    ------
    DecodeError
        Too large, framed for a schema registry, or no JSON object; deep nesting counts as undecodable.
    """
    if len(value) > VALUE_BYTES_MAX:
        raise DecodeError(Refusal.TOO_LARGE, f"{len(value)} bytes, at most {VALUE_BYTES_MAX} are read")
    if value[:1] == b"\0":
        raise DecodeError(
            Refusal.REGISTRY_FRAME,
            "the value carries a schema registry's frame (byte 0 is 0x00), expected plain JSON",
        )
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise DecodeError(Refusal.WRONG_TYPE, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(Refusal.UNDECODABLE, str(error) or type(error).__name__) from None


def entity_text(value: object, name: str) -> str:
    """The id of an entity: UTF-8 text of a text or an integer."""
    if isinstance(value, str):
        if not value:
            raise DecodeError(Refusal.MISSING_FIELD, f"{name}: the entity is an empty text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DecodeError(Refusal.UNDECODABLE, f"{name}: the entity holds a lone surrogate") from None
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected a text or an integer as entity, found {value!r:.60}")


def _required(body: dict[str, Any], name: str) -> Any:
    value = body.get(name, _MISSING)
    if value is _MISSING:
        raise DecodeError(Refusal.MISSING_FIELD, f"{name}: missing")
    return value


def _is_changed(name: str, op: str, before: dict[str, Any] | None, image: dict[str, Any]) -> bool | None:
    """Did this change event change the column? None: it does not say."""
    if op == "c":
        return True
    if op == "r" or before is None or name not in before:
        return None
    return bool(before[name] != (None if op == "d" else image[name]))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _value(name: str, kind: str, value: Any) -> Any:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {"number": is_number, "text": isinstance(value, str), "bool": isinstance(value, bool)}.get(
        kind, is_number or isinstance(value, str | bool)
    )
    if not fits:
        expected = {"any": "a scalar", "bool": "true or false"}.get(kind, f"a {kind}")
        raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected {expected}, found {value!r:.60}")
    if is_number and abs(value) == math.inf:
        raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected {kind}, found a number beyond 64-bit floats")
    if kind == "number":
        return float(value) if abs(value) < 1e308 else None
    return value
