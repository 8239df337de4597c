"""What are the files of a table called, and how are rows put into them?

A segment's name holds its unit, the generation of its writer and the commits whose rows it has. Names of different
generations never meet, so a writer that slept cannot touch what its successor wrote.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams import faults
from streams.lake import durable
from streams.lake.manifest import Segment
from streams.lake.tables import TABLES

_SEGMENT = re.compile(r"^\.?h-(?P<unit>.+)-g(?P<generation>\d+)-\d+-\d+\.parquet$")

ZERO = "zero.parquet"


def segment_file(table: str, unit: str, generation: int, first: int, last: int) -> str:
    """Path of a segment, relative to the lake.

    Examples
    --------
    >>> segment_file("dlq", "entity-p3", 7, 12, 12)
    'dlq/h-entity-p3-g7-000000000012-000000000012.parquet'
    """
    return f"{table}/h-{unit}-g{generation}-{first:012d}-{last:012d}.parquet"


def owner_of(name: str) -> tuple[str, int] | None:
    """Unit and generation in a segment's (dot-)name; None if it is none.

    Examples
    --------
    >>> owner_of(".h-entity-p3-g7-000000000012-000000000012.parquet"), owner_of("zero.parquet")
    (('entity-p3', 7), None)
    """
    found = _SEGMENT.match(name)
    return (found["unit"], int(found["generation"])) if found else None


def write_segment(
    root: Path, table: str, rows: pa.Table, name: str, *, first: int, last: int, level: int = 0
) -> Segment:
    """Write `rows` to the file `name`; the folder is not synced yet."""

    def fill(file: BinaryIO) -> None:
        # Comments live in the zero-row segment; here they would outweigh the rows.
        pq.write_table(rows, file, compression="zstd", store_schema=False)
        faults.hit("lake.segment.write")

    size = durable.write(root / name, fill, before_rename=lambda: faults.hit("lake.segment.rename.before"))
    faults.hit("lake.segment.rename.after")
    time_column = TABLES[table].time_column
    span = pc.min_max(rows.column(time_column)).as_py() if time_column else {"min": None, "max": None}
    return Segment(
        file=name,
        rows=rows.num_rows,
        size=size,
        first=first,
        last=last,
        level=level,
        min_event_time_us=span["min"],
        max_event_time_us=span["max"],
    )


def read_segments(root: Path, table: str, segments: Sequence[Segment]) -> pa.Table:
    """The rows of `segments`, in their order, with the columns of today; columns they lack are NULL."""
    schema = TABLES[table].schema
    # One release may lack a column of the next: NULL, as DuckDB's union by name shows it.
    parts = [pq.ParquetFile(root / segment.file).read() for segment in segments]
    return pa.concat_tables([_widened(part, schema) for part in parts])


def _widened(part: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        part.column(field.name) if field.name in part.column_names else pa.nulls(part.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_zero(root: Path, table: str) -> Segment:
    """The zero-row segment with schema and comments; written again only when the schema has changed."""
    path = root / table / ZERO
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = TABLES[table].schema.empty_table()
    if not path.exists() or not pq.read_schema(path).equals(empty.schema, check_metadata=True):
        content = pa.BufferOutputStream()
        pq.write_table(empty, content)
        durable.replace(path, content.getvalue().to_pybytes())  # several stages may make the lake at the same moment
    return Segment(file=f"{table}/{ZERO}", rows=0, size=path.stat().st_size, first=0, last=0)
