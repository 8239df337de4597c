"""What does one event cost in the engine, from decoded columns to versions?

Run it with `python -m benchmarks.engine`. Count and mean over the same sliding window of eight panes, 100,000 users,
lateness on; almost every event makes two versions. Beside it Polars groups the same columns once (user and pane, count
and mean), which is the least that anybody does with them: no versions, no lineage, no lateness, all rows at hand. Both
are CPU seconds of all threads, taken in turns. Not shown: decoding, histories, the lake, Kafka.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable

import numba
import numpy as np
import polars as pl
import pyarrow as pa

from features.batches import row_schema
from features.definitions import Definitions, Feature, Run, Source
from features.engine import SourceEngine, warm_up

KEYS = 100_000
ROWS = 1_000_000
BATCH = 5_000
ROUNDS = 5
SECOND = 1_000_000
START_US = 1_700_000_000 * SECOND


def declared(aggregates: list[str], where: str | None = None) -> tuple[Definitions, Source]:
    """Aggregates of `x` over five minutes in eight panes."""
    source = Source(
        name="s", topic="events", entity_type="user", lateness_us=30 * SECOND, kinds={"x": "number", "page": "text"}
    )
    features = {
        f"{a}_{i}": Feature(
            name=f"{a}_{i}", source="s", aggregate=a, column=None if a == "count" else "x",  # type: ignore[arg-type]
            window_us=320 * SECOND, panes=8, where=where,
        )
        for i, a in enumerate(aggregates)
    }  # fmt: skip
    return Definitions(run=Run(), sources={"s": source}, features=features, models={}), source


def decoded(source: Source, rows: int = ROWS) -> pa.Table:
    """Events of one log: 500 a second, up to 20 s out of order."""
    rng = np.random.default_rng(1)
    event = START_US + np.arange(rows) * 2_000 - rng.integers(0, 20 * SECOND, rows)
    columns = {
        "offset": np.arange(rows),
        "origin_partition": np.zeros(rows, np.int32),
        "origin_offset": np.arange(rows),
        "entity": pa.array([f"user-{k}" for k in rng.integers(0, KEYS, rows)]),
        "event_time_us": event,
        "ingest_time_us": START_US + np.arange(rows) * 2_000,
        "append_time_us": START_US + np.arange(rows) * 2_000,
        "x": rng.normal(size=rows).round(3),
        "page": pa.array(["home", "cart", "health"]).take(pa.array(rng.integers(0, 3, rows))),
    }
    schema = row_schema(source)
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run, all threads."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def stream(engine: SourceEngine, batches: list[pa.RecordBatch]) -> int:
    """Versions made."""
    return sum(engine.on_rows(batch, "events/0").versions.num_rows for batch in batches)


def measure(name: str, aggregates: list[str], where: str | None, batch: int) -> None:
    """One line: ours beside Polars over the same columns."""
    definitions, source = declared(aggregates, where)
    table = decoded(source)
    batches = table.to_batches(max_chunksize=batch)
    frame = pl.DataFrame(pl.from_arrow(table.select(["entity", "event_time_us", "x"])))
    pane = pl.col("event_time_us") // (40 * SECOND)
    ours, theirs, versions = [], [], 0
    for _ in range(ROUNDS):
        engine = SourceEngine(definitions, source, clock_error_us=0)
        begin = time.process_time()
        versions = stream(engine, batches)
        ours.append(time.process_time() - begin)
        theirs.append(seconds(lambda: frame.group_by("entity", pane).agg(pl.len(), pl.col("x").mean())))
    us, peer = statistics.median(ours) / ROWS * 1e6, statistics.median(theirs) / ROWS * 1e6
    print(
        f"{name:<34} batches of {batch:>6,}: {us:5.2f} us/event ({min(ours) / ROWS * 1e6:.2f} to "
        f"{max(ours) / ROWS * 1e6:.2f}), {us * ROWS / max(versions, 1):.2f} us/version, {versions:,} versions; "
        f"Polars group_by {peer:.2f} us/event; state {engine.nbytes / len(engine.entities):.0f} B/key"
    )


def main() -> None:
    """Print one line per case."""
    begin = time.perf_counter()
    warm_up()
    print(f"warm-up {time.perf_counter() - begin:.2f} s (compiled kernels in the cache or not)")
    print(
        f"{ROWS:,} events, {KEYS:,} keys; python {sys.version.split()[0]}, numpy {np.__version__}, numba "
        f"{numba.__version__}, polars {pl.__version__}, pyarrow {pa.__version__}, {platform.machine()}"
    )
    measure("count, mean", ["count", "mean"], None, BATCH)
    measure("count, mean", ["count", "mean"], None, 500)
    measure("count", ["count"], None, BATCH)
    measure("count, sum, mean, min, max, last", ["count", "sum", "mean", "min", "max", "last"], None, BATCH)
    measure("count, mean where page <> 'health'", ["count", "mean"], "page <> 'health'", BATCH)


if __name__ == "__main__":
    main()
