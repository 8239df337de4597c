"""Rows for a lake in tests: what stands in them is a function of their offsets."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from streams.lake.reader import LakeReader
from streams.lake.tables import TABLES
from streams.lake.writer import LakeWriter

GROUP, CONFIG = "demo", "c0ffee"


def writer(root: Path, unit: str = "entity-p0", **more: Any) -> LakeWriter:
    """A writer that is not open yet."""
    return LakeWriter(root, unit, GROUP, CONFIG, **more)


def row(table: str, **values: object) -> pa.Table:
    """One row; what is not given is a plain value of the column's type."""
    plain = {pa.string(): "x", pa.int64(): 1, pa.int32(): 0, pa.float64(): 1.0, pa.bool_(): False}
    columns = TABLES[table].columns
    whole = {c.name: values.get(c.name, None if c.is_nullable else plain[c.type]) for c in columns}
    assert values.keys() <= whole.keys()
    return pa.Table.from_pylist([whole], schema=TABLES[table].schema)


def letters(first: int, last: int) -> pa.Table:
    """Dead letters of the offsets `first` to `last`, inclusive."""
    n = last - first + 1
    texts = {name: ["x"] * n for name in ("topic", "reason", "detail", "digest", "headers")}
    numbers = dict.fromkeys(("offset", "size", "ingest_time_us"), np.arange(first, last + 1))
    return pa.table(texts | {"partition": np.zeros(n, np.int32)} | numbers)


def late(first: int, last: int) -> pa.Table:
    """Late rows of the same offsets, for a second table that must move with the first."""
    n = last - first + 1
    texts = {name: ["x"] * n for name in ("topic", "entity_type", "entity", "reason")}
    numbers = dict.fromkeys(("offset", "event_time_us", "watermark_us"), np.arange(first, last + 1))
    return pa.table(texts | {"partition": np.zeros(n, np.int32)} | numbers)


def offsets(root: Path, table: str) -> list[int]:
    """Every offset of a table in the order of the list of files, read without DuckDB."""
    import pyarrow.parquet as pq

    parts = [pq.ParquetFile(path).read(columns=["offset"]) for path in LakeReader(root).live(table)]
    return [int(x) for part in parts for x in part.column("offset").to_pylist()]
