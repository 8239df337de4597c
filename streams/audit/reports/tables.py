"""The verdict of every cell, and the table as it should have been: in the row order of TRAIN."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from monitors.verdicts import REASONS, VERDICTS
from streams.audit.engine import Audit
from streams.audit.tables import batches

_VERDICTS = pa.array([verdict.value for verdict in VERDICTS])
_REASONS = pa.array([reason.value for reason in REASONS])


def write_cells(audit: Audit, path: Path) -> None:
    """Parquet: per feature ``<feature>__verdict`` and ``<feature>__reason`` (text) and ``<feature>__lead_us`` (int64,
    NULL unless LEAK)."""
    with _written(path) as write:
        for found in audit.results.ranges():
            columns: dict[str, pa.Array] = {}
            for index in audit.audited:
                name = audit.names[index]
                columns[f"{name}__verdict"] = _VERDICTS.take(one(found, f"v{index}"))
                columns[f"{name}__lead_us"] = one(found, f"l{index}")
                columns[f"{name}__reason"] = _REASONS.take(one(found, f"r{index}"))
            write(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))


def write_corrected(audit: Audit, path: Path) -> None:
    """TRAIN with every cell that did not PASS replaced by what was surely readable; other columns as they were."""
    with _written(path) as write:
        for batch, found in aligned(audit, audit.train.table.schema.names):
            columns = list(batch.columns)
            for index in audit.audited:
                at = batch.schema.get_field_index(audit.names[index])
                columns[at] = _like(one(found, f"c{index}"), batch.schema.field(at).type)
            write(pa.RecordBatch.from_arrays(columns, names=batch.schema.names))


def write_table(table: pa.Table, path: Path) -> None:
    """A table, Parquet or CSV by the name of the file."""
    with _written(path) as write:
        for batch in table.combine_chunks().to_batches():
            write(batch)


def aligned(audit: Audit, columns: list[str]) -> Iterator[tuple[pa.RecordBatch, pa.Table]]:
    """Batches of TRAIN, each with the results of its rows."""
    ranges = audit.results.ranges()
    found, used = next(ranges), 0
    for batch in batches(audit.train.table, columns, rows=audit.request.batch_rows):
        start = 0
        while start < batch.num_rows:
            if used == found.num_rows:
                found, used = next(ranges), 0
            size = min(batch.num_rows - start, found.num_rows - used)
            yield batch.slice(start, size), found.slice(used, size)
            start, used = start + size, used + size


def one(table: pa.Table, name: str) -> pa.Array:
    """A column as one array."""
    column = table.column(name)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _like(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if column.type == wanted:
        return column
    if pa.types.is_dictionary(wanted):
        encoded = column.cast(wanted.value_type).dictionary_encode()
        return encoded.cast(pa.dictionary(wanted.index_type, wanted.value_type))
    return column.cast(wanted)


@contextmanager
def _written(path: Path) -> Iterator[Any]:
    """A writer of record batches, Parquet or CSV by the name of the file; nothing is left of a file half written."""
    half = path.with_name(f".{path.name}.part")
    writer: Any = None

    def write(batch: pa.RecordBatch) -> None:
        nonlocal writer
        if writer is None:
            is_csv = path.suffix.lower() in (".csv", ".tsv")
            writer = pacsv.CSVWriter(half, batch.schema) if is_csv else pq.ParquetWriter(half, batch.schema)
        writer.write(batch) if isinstance(writer, pacsv.CSVWriter) else writer.write_batch(batch)

    try:
        yield write
        if writer is not None:
            writer.close()
            half.replace(path)
    finally:
        half.unlink(missing_ok=True)
