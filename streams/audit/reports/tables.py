"""The verdict of every cell, and the table as it should have been: in the row order of TRAIN."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from monitors.verdicts import REASONS, VERDICTS
from streams.audit.engine import Audit
from streams.audit.reports.shaping import Words, shaped, spelled
from streams.audit.tables import batches

_CSV = re.compile(r".*\.(?P<kind>csv|tsv)(\.(?P<packed>gz|bz2|zst|lz4))?", re.IGNORECASE | re.DOTALL)
_PACKED = {"gz": "gzip", "bz2": "bz2", "zst": "zstd", "lz4": "lz4"}
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
    schema, words = audit.train.table.schema, _words(audit)
    for index in audit.audited:
        at = schema.get_field_index(audit.names[index])
        field = schema.field(at).with_nullable(True)
        schema = schema.set(at, words[index].field(field) if index in words else field)
    found_words = {index: one_column.found() for index, one_column in words.items()}
    with _written(path) as write:
        for batch, found in aligned(audit, schema.names):
            columns = list(batch.columns)
            for index in audit.audited:
                at = schema.get_field_index(audit.names[index])
                columns[at] = shaped(one(found, f"c{index}"), schema.field(at).type, found_words.get(index))
            write(pa.RecordBatch.from_arrays(columns, schema=schema))


def _words(audit: Audit) -> dict[int, Words]:
    """The dictionaries of the corrected columns that have one: known before the first row is written."""
    schema = audit.train.table.schema
    kinds = {i: schema.field(audit.names[i]).type for i in audit.audited}
    words = {i: Words(kind.value_type) for i, kind in kinds.items() if pa.types.is_dictionary(kind)}
    if words:
        for batch, found in aligned(audit, [audit.names[i] for i in words]):
            for place, index in enumerate(words):
                words[index].observe(batch.column(place), one(found, f"c{index}"))
    return words


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


@contextmanager
def _written(path: Path) -> Iterator[Any]:
    """A writer of record batches, Parquet or CSV by the name of the file; nothing is left of a file half written."""
    place = path.resolve()  # a link stays one
    # A device stays where it is: a file put in its place would take it away.
    is_device = place.exists() and not place.is_file()
    half = place if is_device else place.with_name(f".{place.name}.part")
    csv = _CSV.fullmatch(path.name)
    writer: Any = None

    def write(batch: pa.RecordBatch) -> None:
        nonlocal writer
        batch = spelled(batch) if csv else batch
        if writer is None:
            writer = _CsvFile(half, batch.schema, csv) if csv else pq.ParquetWriter(half, batch.schema)
        writer.write_batch(batch)

    try:
        yield write
        if writer is not None:
            writer.close()
            if not is_device:
                half.replace(place)
    finally:
        if not is_device:
            half.unlink(missing_ok=True)


class _CsvFile:
    """A CSV under construction, with tabs or packed if its name says so, as LOG and TRAIN may be."""

    def __init__(self, place: Path, schema: pa.Schema, name: re.Match[str]) -> None:
        delimiter = "\t" if name["kind"].lower() == "tsv" else ","
        self._file = pa.output_stream(str(place), compression=_PACKED.get((name["packed"] or "").lower()))
        self._writer = pacsv.CSVWriter(self._file, schema, write_options=pacsv.WriteOptions(delimiter=delimiter))
        self.write_batch = self._writer.write_batch

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
        self._file.close()
