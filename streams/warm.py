"""Compile every kernel once, so that no first event waits for a compiler.

Compiled code is kept beside the kernels (or in `NUMBA_CACHE_DIR`); after that, warming is loading. What is compiled
depends on the types that arrive, so warming walks a few rows through the pipeline as it is.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from features import engine
from features.definitions import Definitions, Feature, Label, Model, Run, Source
from monitors import drift, leakage
from streams.pipeline.entity import EntityPartition
from streams.transport.packed import walk
from streams.wire.outgoing import Written
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import PlainRecord
from streams.wire.rows import RowDecoder

_T_US = 1_700_000_000_000_000


def warm() -> None:
    """Call every kernel with the types that the pipeline uses; twice what a worker needs is a second at most."""
    engine.warm_up()
    leakage.warm_up()
    drift.warm_up()
    walk(np.frombuffer(b"", np.uint8), 0)
    for witnessed in (True, False):
        _walk(witnessed)
    _audit()


def _audit() -> None:
    """One small audit of files with every kind of column."""
    from streams.audit.engine import audit
    from streams.audit.request import Request

    n = 3
    times = [_T_US + i for i in range(n)]
    columns = {"entity": pa.array(["a", "1", "b"]), "f": pa.array([1.5, None, 2.0]), "g": pa.array(["x", "y", "3"])}
    columns |= {"h": pa.array([True, False, None]), "i": pa.array(range(n)), "j": pa.array(times, pa.timestamp("us"))}
    stamps = {"write_time": pa.array(["2023-11-14T22:13:20Z"] * n), "event_time": pa.array(times)}
    with tempfile.TemporaryDirectory() as folder:
        train, log = Path(folder) / "train.csv", Path(folder) / "log.parquet"
        csv.write_csv(pa.table(columns | {"prediction_time": pa.array(times)}), train)
        pq.write_table(pa.table(columns | stamps | {"seq": pa.array(range(n)), "txid": pa.array(range(n))}), log)
        request = Request(train=train, logs=(log,), label="i", forward_dated=frozenset({"j"}), tolerance={"f": 0.1})
        for asked in (request, replace(request, order="max_event_time", label=None)):
            with audit(asked):
                pass


def _declared() -> Definitions:
    rows = Source(
        name="rows",
        topic="rows",
        entity_type="user",
        entity_field="user",
        kinds={"x": "number", "y": "any"},
    )
    asked = Source(name="asked", topic="asked", entity_type="user")
    features = (
        Feature(name="count", source="rows", aggregate="count", window_us=4_000_000, panes=2),
        Feature(name="mean", source="rows", aggregate="mean", column="x", window_us=4_000_000, panes=2),
        Feature(name="newest", source="rows", column="y"),
    )
    label = Label(source="rows", column="y", equals="gone", horizon_us=5_000_000)
    names = tuple(f.name for f in features)
    model = Model(name="model", predictions="asked", entity_type="user", features=names, label=label)
    return Definitions(
        run=Run(partitions=1),
        sources={"rows": rows, "asked": asked},
        features={f.name: f for f in features},
        models={"model": model},
    )


def _walk(witnessed: bool) -> None:
    declared = _declared()
    state = EntityPartition(declared, 0, generation=1, witnessed=witnessed)
    for log, source in (("rows/0", "rows"), ("asked/0", "asked"), ("written/0", None)):
        state.attach(log, source)
    values = [{"user": i % 2, "x": i / 2, "y": "gone" if i == 5 else i} for i in range(6)]
    rows = RowDecoder(declared, declared.sources["rows"], home=0)
    found = rows.sort(_records(values), topic="rows", partition=0, received_us=_T_US)
    state.on_rows("rows", "rows/0", found, rows.columns(found), 6)
    state.on_written("written/0", [Written("rows", 0, 0, 5, _T_US, _T_US + 1, False)], 1)
    logged = {"count": 1, "mean": None, "newest": "a"}
    asked = [
        {"prediction_id": i, "model": "model", "entity": {"user": i}, "read_time": _T_US, "features": logged}
        for i in range(2)
    ]
    predictions = PredictionDecoder(declared, declared.sources["asked"], home=0)
    taken = predictions.sort(_records(asked), topic="asked", partition=0, received_us=_T_US)
    state.on_predictions("asked", "asked/0", taken, predictions.columns(taken), 2)
    state.close()
    state.history.prune(_T_US)


def _records(values: Sequence[Mapping[str, object]]) -> list[PlainRecord]:
    return [PlainRecord(i, json.dumps(value).encode()) for i, value in enumerate(values)]


if __name__ == "__main__":
    warm()
