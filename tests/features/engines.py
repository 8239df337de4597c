"""Row batches and engines for tests, typed in as small tables."""

import pyarrow as pa

from features.batches import row_schema
from features.definitions import Definitions, Feature, Run, Source
from features.engine import SourceEngine
from features.lineage import canonical, value_hash

LOG = "events/0"
SEEN = (
    "log_offset",
    "by_time",
    "feature",
    "entity",
    "value_num",
    "event_time_us",
    "input_event_time_us",
    "window_end_us",
)


def declared(source, *features):
    named = {f.name: f for f in features}
    return Definitions(run=Run(), sources={source.name: source}, features=named, models={})


def an_engine(*features, clock_error_us=0, **options):
    """An engine over source `s`; every option is one of `Source`."""
    source = Source(**{"name": "s", "topic": "events", "entity_type": "user"} | options)
    return SourceEngine(declared(source, *features), source, clock_error_us=clock_error_us)


def a_window(name="f", aggregate="count", **options):
    return Feature(**{"name": name, "source": "s", "aggregate": aggregate, "window_us": 20, "panes": 2} | options)


def batch(source, rows):
    """Rows (dicts; what is left out is null, offsets count up, one entity) as a decoded batch."""
    filled = []
    for i, row in enumerate(rows):
        full = {"offset": i, "origin_partition": 0, "entity": "a", "event_time_us": 0, "op": None} | row
        full = {"origin_offset": full["offset"], "ingest_time_us": full["event_time_us"]} | full
        for name, kind in source.kinds.items():
            if kind == "any":
                value = full.get(name)
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                full |= {name: canonical(value), f"{name}.hash": value_hash(value)}
                full |= {f"{name}.number": float(value) if is_number else float("nan")}
        filled.append(full)
    return pa.RecordBatch.from_pylist(filled, row_schema(source))


def seen(versions):
    """What a twin can say about versions."""
    return list(zip(*(versions.column(name).to_pylist() for name in SEEN), strict=True))


def run(engine, rows, log=LOG):
    return engine.on_rows(batch(engine.source, rows), log)
