"""From records of a prediction log to columns, one batch per model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from features import times
from features.batches import prediction_schema
from features.definitions import Definitions, Model, Source, TimeField
from features.lineage import read_id
from streams.wire.cells import cell_columns
from streams.wire.forwarding import Origin
from streams.wire.logs import LogDecoder, Sorted
from streams.wire.records import AT_ITS_OWN_TIME, DecodeError, Refusal
from streams.wire.rows import entity_text, parse_json
from streams.wire.stamps import stamp_reader

#: A read later than its own arrival by more than this (beside the clock error) is a wrong clock or unit.
AHEAD_US_MAX = 60_000_000

_FIXED = ("prediction_id", "version", "entity", "read_time_us", "ingest_time_us", "output")


@dataclass(slots=True)
class Prediction:
    """One logged prediction; `cells` are (value, stamp) in the order of the model's features."""

    model: Model
    prediction_id: str
    version: str | None
    entity: str
    read_time_us: int
    ingest_time_us: int
    output: float | None
    cells: list[tuple[Any, int]]


class PredictionDecoder(LogDecoder[Prediction]):
    """Decodes one prediction log; see `LogDecoder`."""

    def __init__(self, definitions: Definitions, source: Source, *, home: int | None) -> None:
        super().__init__(definitions.run.partitions, home)
        self.source = source
        self._models = {m.name: m for m in definitions.models_of(source.name)}
        self._schemas = {name: prediction_schema(definitions, m) for name, m in self._models.items()}
        self._ahead_us = definitions.clock_error_us(source) + AHEAD_US_MAX
        names = ("prediction_id", "model", "version", "entity", "read_time", "output", "features", "read")
        self._names = {n: source.fields.get(n, n) for n in names}
        unit = source.event_time.unit if source.event_time else None
        self._read_time = stamp_reader(TimeField(field=self._names["read_time"], unit=unit))
        self._ingest = stamp_reader(source.ingest_time) if source.ingest_time else None

    def read(self, value: bytes, origin: Origin, received_us: int) -> tuple[str, Prediction]:
        """Entity and prediction of one value."""
        body = parse_json(value)
        model = self._model(body)
        read_us, ingest_us = self._times(body, origin, received_us)
        identity = body.get(self._names["prediction_id"])
        if not isinstance(identity, str | int) or isinstance(identity, bool):
            raise DecodeError(Refusal.MISSING_FIELD, f"{self._names['prediction_id']}: missing")
        output = body.get(self._names["output"])
        version = body.get(self._names["version"])
        entity = self._entity(body, model)
        return entity, Prediction(
            model=model,
            prediction_id=str(identity),
            version=None if version is None else str(version),
            entity=entity,
            read_time_us=read_us,
            ingest_time_us=ingest_us,
            output=float(output) if isinstance(output, int | float) and not isinstance(output, bool) else None,
            cells=self._cells(body, model),
        )

    def columns(self, found: Sorted[Prediction]) -> dict[str, pa.RecordBatch]:
        """The predictions as batches of `features.batches.prediction_schema`, by model."""
        rows: dict[str, list[tuple[int, Origin, Prediction]]] = {}
        for row in found.rows:
            rows.setdefault(row[2].model.name, []).append(row)
        return {name: self._batch(self._models[name], of_model) for name, of_model in rows.items()}

    def _model(self, body: dict[str, Any]) -> Model:
        name = body.get(self._names["model"])
        if name is None and len(self._models) == 1:
            return next(iter(self._models.values()))
        model = self._models.get(name) if isinstance(name, str) else None
        if model is None:
            known = ", ".join(self._models)
            raise DecodeError(
                Refusal.UNKNOWN_MODEL, f"{self._names['model']}: expected one of {known}, found {name!r:.60}"
            )
        return model

    def _entity(self, body: dict[str, Any], model: Model) -> str:
        name = self._names["entity"]
        entity = body.get(name)
        if isinstance(entity, dict):
            name = f"{name}.{model.entity_type}"
            entity = entity.get(model.entity_type)
        if entity is None:
            raise DecodeError(Refusal.MISSING_FIELD, f"{name}: missing")
        return entity_text(entity, name)

    def _times(self, body: dict[str, Any], origin: Origin, received_us: int) -> tuple[int, int]:
        name = self._names["read_time"]
        if body.get(name) is None:
            raise DecodeError(Refusal.MISSING_FIELD, f"{name}: missing")
        read_us = self._read_time(body[name])
        if self._ingest and self.source.ingest_time:
            ingest_us = self._ingest(body.get(self.source.ingest_time.field))
        else:
            ingest_us = origin.timestamp_ms * 1000 if origin.is_append else origin.received_us or received_us
        if ingest_us == AT_ITS_OWN_TIME:
            ingest_us = read_us
        if read_us > ingest_us + self._ahead_us:
            raise DecodeError(
                Refusal.TIME_RANGE,
                f"{name}: {times.iso(read_us)} is later than the arrival {times.iso(ingest_us)}",
            )
        return read_us, ingest_us

    def _cells(self, body: dict[str, Any], model: Model) -> list[tuple[Any, int]]:
        logged = body.get(self._names["features"])
        if not isinstance(logged, dict):
            raise DecodeError(Refusal.MISSING_FIELD, f"{self._names['features']}: missing")
        stamps = body.get(self._names["read"]) or {}
        if not isinstance(stamps, dict):
            raise DecodeError(Refusal.WRONG_TYPE, f"{self._names['read']}: expected an object of version ids")
        cells = []
        for name in model.features:
            if name not in logged:
                raise DecodeError(Refusal.MISSING_FIELD, f"{self._names['features']}.{name}: missing")
            value = logged[name]
            if not (value is None or isinstance(value, str | int | float | bool)):
                raise DecodeError(Refusal.WRONG_TYPE, f"{name}: expected a scalar, found {value!r:.60}")
            cells.append((value, _stamp(name, stamps.get(name))))
        return cells

    def _batch(self, model: Model, rows: list[tuple[int, Origin, Prediction]]) -> pa.RecordBatch:
        schema = self._schemas[model.name]
        arrays: list[Any] = [[offset for offset, _, _ in rows]]
        arrays += [[getattr(origin, name) for _, origin, _ in rows] for name in ("partition", "offset")]
        arrays += [[getattr(row, name) for _, _, row in rows] for name in _FIXED]
        for index in range(len(model.features)):
            arrays += cell_columns([row.cells[index][0] for _, _, row in rows])
            arrays.append(np.array([row.cells[index][1] for _, _, row in rows], np.uint64))
        return pa.RecordBatch.from_arrays(
            [pa.array(a, type=f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema
        )


def _stamp(name: str, text: object) -> int:
    if text is None:
        return 0
    try:
        return read_id(text) if isinstance(text, str) else _no_stamp(name, text)
    except ValueError:
        return _no_stamp(name, text)


def _no_stamp(name: str, text: object) -> int:
    raise DecodeError(Refusal.WRONG_TYPE, f"read.{name}: expected 16 hexadecimal digits, found {text!r:.60}")
