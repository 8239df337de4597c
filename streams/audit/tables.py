"""Which rows does this file hold, and if it cannot be read: where, why, and what would mend it?

Parquet and CSV are streamed in batches, so that memory does not grow with the file. A CSV says nothing about types:
every column of it arrives as text (an empty field is NULL) and `Table.is_csv` tells so; whoever compares values passes
that on as `untyped` to `features.comparison.Evidence.observe`. Row numbers count from zero and leave the header out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from streams.audit import delimited
from streams.audit.unreadable import TableError, nearest, shown_names

if TYPE_CHECKING:  # importing it takes longer than reading a small CSV
    import pyarrow.parquet as pq

__all__ = ["Table", "TableError", "batches", "column_error", "from_arrow", "open_table"]

_PARQUET, _ARROW, _ZIP, _ORC = b"PAR1", b"ARROW1", b"PK\x03\x04", b"ORC"
_STRANGERS = {_ARROW: "an Arrow IPC file", _ZIP: "a ZIP archive (a spreadsheet?)", _ORC: "an ORC file"}
_PARQUET_SUFFIXES = {".parquet", ".pq", ".parq"}

#: Bytes that one value takes once read, where its width is not fixed: a text of this length and its offset.
_TEXT_BYTES = 24

#: A damaged footer or page fails in many ways, not all of them Arrow's own.
_DAMAGE = (OSError, pa.ArrowException, ValueError, LookupError, TypeError, OverflowError, MemoryError)

#: Bytes that may lie in the buffers of all columns of one Parquet file together.
_BUFFERS_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Table:
    """A file, or a folder of Parquet files, whose columns are known and whose rows have not been read yet.

    Parameters
    ----------
    rows
        None where only reading tells (CSV).
    nbytes
        About how much memory all rows would take.
    is_csv
        All columns are text because the file knows no types.
    files
        The files in the order of their rows.
    added
        For each file the values of columns that its folders name (``year=2023``), as text.
    """

    path: Path
    schema: pa.Schema
    rows: int | None
    nbytes: int
    is_csv: bool
    files: tuple[Path, ...] = ()
    added: tuple[dict[str, str], ...] = ()
    delimiter: str = ","
    memory: pa.Table | None = field(default=None, repr=False)


def open_table(path: Path) -> Table:
    """Find out what the file is and which columns it has.

    Raises
    ------
    TableError
        It is missing, empty, cut, of another format, or has no columns, no rows or two columns of one name.
    """
    if path.is_dir():
        return _open_folder(path)
    if not path.exists():
        found = nearest(path.name, _names_beside(path))
        raise TableError(f"{path}: expected a file, found none" + (f"; did you mean {found!r}?" if found else ""))
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise TableError(f"{path}: expected a readable file, found: {error.strerror or error}") from None
    if not start:
        raise TableError(f"{path}: expected rows, found an empty file (0 bytes)")
    if start.startswith(_PARQUET):
        return _open_parquet(path, (path,), ({},))
    if path.suffix.lower() in _PARQUET_SUFFIXES:
        raise TableError(f"{path}: expected a Parquet file (it begins with PAR1), found {start!r}; write it again")
    for magic, name in _STRANGERS.items():
        if start.startswith(magic):
            raise TableError(f"{path}: expected Parquet or CSV, found {name}; save it as Parquet or CSV")
    header = delimited.read_header(path)
    schema = pa.schema([(name, pa.string()) for name in header.names])
    return Table(path, schema, None, header.nbytes, True, (path,), ({},), header.delimiter)


def from_arrow(table: pa.Table, name: str) -> Table:
    """A table that is in memory already.

    Raises
    ------
    TableError
        As `open_table`.

    Examples
    --------
    >>> from_arrow(pa.table({"entity": ["a"]}), "train").rows
    1
    """
    path = Path(name)
    _check(path, table.schema, table.num_rows)
    table = table.cast(_without_views(table.schema))
    return Table(path, table.schema, table.num_rows, table.nbytes, False, memory=table)


def batches(table: Table, columns: Sequence[str], *, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """These columns of all rows, in order, at most `rows` at a time; memory stays bounded.

    Raises
    ------
    TableError
        A line or page is broken: which, and what was found.
    """
    if table.memory is not None:
        stream: Iterator[pa.RecordBatch] = iter(table.memory.select(columns).to_batches(max_chunksize=rows))
    elif table.is_csv:
        stream = delimited.read_rows(table.path, table.schema.names, table.delimiter, columns)
    else:
        stream = _parquet_batches(table, columns, rows)
    for batch in stream:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def column_error(table: Table, wanted: str, what: str, option: str) -> TableError:
    """The error for a column that is not there, with the nearest name that is.

    Examples
    --------
    >>> print(column_error(from_arrow(pa.table({"Entity": ["a"]}), "train"), "entity", "entity column", "--entity"))
    train: expected the entity column 'entity' (--entity), found columns 'Entity'; did you mean 'Entity'?
    """
    names = table.schema.names
    near = nearest(wanted, names)
    text = f"{table.path}: expected the {what} {wanted!r} ({option}), found columns {shown_names(names)}"
    return TableError(text + (f"; did you mean {near!r}?" if near else f"; name yours with {option}"))


def _check(path: Path, schema: pa.Schema, rows: int) -> None:
    if not schema.names:
        raise TableError(f"{path}: expected columns, found none")
    delimited.check_names(path, schema.names)
    if not rows:
        raise TableError(f"{path}: expected at least one row, found none beside the columns")


def _names_beside(path: Path) -> list[str]:
    try:
        return sorted(p.name for p in path.parent.iterdir())
    except OSError:
        return []


def _open_folder(path: Path) -> Table:
    files = sorted(
        p
        for p in path.rglob("*")
        if p.is_file() and p.suffix.lower() in _PARQUET_SUFFIXES and not p.name.startswith(("_", "."))
    )
    if not files:
        raise TableError(f"{path}: expected Parquet files in this folder, found none")
    added = tuple(
        dict(part.split("=", 1) for part in file.relative_to(path).parts[:-1] if "=" in part) for file in files
    )
    return _open_parquet(path, tuple(files), added)


def _open_parquet(path: Path, files: tuple[Path, ...], added: tuple[dict[str, str], ...]) -> Table:
    schemas: list[pa.Schema] = []
    rows = nbytes = 0
    for file, extra in zip(files, added, strict=True):
        schema, held, count = _footer(file)
        rows += count
        nbytes += max(held, count * sum(_width(kind) for kind in schema.types))
        for name in extra:
            if name not in schema.names:
                schema = schema.append(pa.field(name, pa.string()))
        delimited.check_names(file, schema.names)
        if schemas and set(schema.names) != set(schemas[0].names):
            odd = sorted(set(schema.names) ^ set(schemas[0].names))
            raise TableError(
                f"{file}: expected the columns of {files[0].name}, found a difference in {shown_names(odd)}"
            )
        schemas.append(schema)
    try:
        merged = pa.unify_schemas(schemas, promote_options="permissive") if len(schemas) > 1 else schemas[0]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise TableError(f"{path}: expected one type per column in all files of the folder, found: {error}") from None
    _check(path, merged, rows)
    return Table(path, merged, rows, nbytes, False, files, added)


def _footer(file: Path) -> tuple[pa.Schema, int, int]:
    """Columns, bytes when unpacked, rows."""
    with _parquet(file) as parquet:
        try:
            held = sum(parquet.metadata.row_group(g).total_byte_size for g in range(parquet.num_row_groups))
            return _without_views(parquet.schema_arrow), held, parquet.metadata.num_rows
        except _DAMAGE as error:
            raise _cut(file, error) from None


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Arrow cannot pick rows of texts that are views into others, so they are read as texts of their own."""
    plain_texts = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    fields = [field.with_type(plain_texts.get(field.type, field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _width(kind: pa.DataType) -> int:
    try:
        return int(kind.byte_width)
    except ValueError:
        return _TEXT_BYTES


def _parquet(file: Path, columns: int = 1) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    # Bounded buffers instead of whole row groups in memory: a row group may be as large as its file.
    buffer_bytes = min(1 << 20, max(1 << 12, _BUFFERS_BYTES // max(columns, 1)))
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=buffer_bytes, page_checksum_verification=True)
    except _DAMAGE as error:
        raise _cut(file, error) from None


def _cut(file: Path, error: BaseException) -> TableError:
    found = f"found one that is cut or damaged ({_reason(error)})"
    return TableError(f"{file}: expected a whole Parquet file, {found}; write it again")


def _reason(error: BaseException) -> str:
    return (str(error).strip().split("\n")[0].rstrip(". ") or type(error).__name__)[:200]


def _parquet_batches(table: Table, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
    wanted = pa.schema([table.schema.field(name) for name in columns])
    for file, extra in zip(table.files, table.added, strict=True):
        with _parquet(file, len(columns)) as parquet:
            own = [name for name in columns if name not in extra or name in parquet.schema_arrow.names]
            for groups in _together(parquet, rows):
                try:
                    # No threads: what they read ahead is memory that nobody has bounded.
                    for batch in parquet.iter_batches(rows, row_groups=groups, columns=own, use_threads=False):
                        batch.validate(full=True)  # without checksums damage may look like text or a list
                        yield _fitted(batch, wanted, extra, file)
                except _DAMAGE as error:
                    raise _damaged(file, parquet, groups, own, error) from None


def _damaged(
    file: Path, parquet: "pq.ParquetFile", groups: list[int], columns: Sequence[str], error: BaseException
) -> TableError:
    """Row groups were read together: find the one that is damaged."""
    bad = groups[0]
    for group in groups:
        bad = group
        try:
            for batch in parquet.iter_batches(row_groups=[group], columns=columns, use_threads=False):
                batch.validate(full=True)
        except _DAMAGE:
            break
    first = sum(parquet.metadata.row_group(g).num_rows for g in range(bad))
    found = f"found damage in row group {bad} (rows from {first} on): {_reason(error)}"
    return TableError(f"{file}: expected whole pages, {found}; write the file again")


def _together(parquet: "pq.ParquetFile", rows: int) -> Iterator[list[int]]:
    """Row groups that are read at once: small ones share a batch, a large one is read in several."""
    groups: list[int] = []
    held = 0
    for group in range(parquet.num_row_groups):
        size = parquet.metadata.row_group(group).num_rows
        if groups and held + size > rows:
            yield groups
            groups, held = [], 0
        groups.append(group)
        held += size
    if groups:
        yield groups


def _fitted(batch: pa.RecordBatch, wanted: pa.Schema, extra: dict[str, str], file: Path) -> pa.RecordBatch:
    """The batch with the columns asked for, in their order and in the types of the whole table."""
    if batch.schema.equals(wanted):
        return batch
    names = set(batch.schema.names)
    arrays = []
    for one in wanted:
        column = batch[one.name] if one.name in names else pa.repeat(extra[one.name], batch.num_rows)
        try:
            arrays.append(column if column.type == one.type else column.cast(one.type))
        except pa.ArrowInvalid as error:
            raise TableError(f"{file}: column {one.name!r}: expected {one.type}, found: {_reason(error)}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)
