"""Which rows does this CSV hold, and on which line is it broken?"""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from streams.audit.unreadable import TableError, shown_names

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t|"

#: Bytes read at once. A row must fit: a longer one is nearly always a quotation mark that was never closed.
BLOCK_BYTES = 1 << 22
_HEADER_BYTES_MAX = 1 << 24
_PACKED = 8  # how much a compressed file grows, about
_OFFSET_BYTES = 4  # per field in memory, beside its letters


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a CSV, and about how much memory all rows would take."""

    names: list[str]
    delimiter: str
    nbytes: int


def read_header(path: Path) -> Header:
    """Column names of a CSV; the delimiter is the one that the first line has most of.

    Raises
    ------
    TableError
        There is no header, no row after it, two columns of one name, or the text is not UTF-8.
    """
    line, has_rows = _first_line(path)
    text = _text(path, line)
    delimiter = _delimiter(text)
    try:
        names = next(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise TableError(f"{path}: expected column names in the first line, found {text[:60]!r} ({error})") from None
    if not names:
        raise TableError(f"{path}: expected column names in the first line, found an empty line")
    check_names(path, names)
    if not has_rows:
        raise TableError(f"{path}: expected at least one row, found none beside the columns")
    size = path.stat().st_size
    packed = _compression(path) is not None
    fields = text.count(delimiter) + 1
    return Header(names, delimiter, (size * _PACKED if packed else size) + _OFFSET_BYTES * fields * (size // len(line)))


def check_names(path: Path, names: Sequence[str]) -> None:
    """Two columns of one name cannot be told apart.

    Raises
    ------
    TableError
        There are such.
    """
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        raise TableError(f"{path}: expected column names that differ, found {shown_names(twice)} more than once")


def read_rows(path: Path, names: Sequence[str], delimiter: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All rows as text, an empty field as NULL, quoted or not.

    Raises
    ------
    TableError
        A line has too few or too many fields, is not UTF-8, or a quotation mark is never closed.
    """
    from pyarrow import csv as arrow_csv

    source = _Watched(_opened(path))
    try:
        reader = arrow_csv.open_csv(
            pa.PythonFile(source, mode="r"),
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(columns),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
        yield from reader
    except (OSError, EOFError, pa.ArrowException) as error:
        raise _broken(path, names, delimiter, str(error)) from None
    finally:
        source.close()
    if source.quotes % 2:
        # Arrow takes all that follows an open quotation mark as one value: rows would be lost without a word.
        _raise_if_open(path, names, delimiter)


class _Watched(io.RawIOBase):
    """A file that counts the quotation marks read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        got = self._file.read(size)
        self.quotes += got.count(b'"')
        return got

    def close(self) -> None:
        self._file.close()
        super().close()


def _compression(path: Path) -> str | None:
    return {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}.get(path.suffix.lower())


def _opened(path: Path) -> IO[bytes]:
    """The bytes of the file, unpacked if its name says so."""
    try:
        return pa.input_stream(str(path), compression=_compression(path), buffer_size=1 << 20)  # type: ignore[no-any-return]
    except OSError as error:
        raise TableError(f"{path}: expected a readable file, found: {error}") from None


def _first_line(path: Path) -> tuple[bytes, bool]:
    """The header with what follows of its line, and whether anything but empty lines comes after it."""
    read = b""
    with _opened(path) as file:
        while True:
            try:
                got = file.read(1 << 16)
            except (OSError, EOFError) as error:
                raise TableError(f"{path}: expected a whole compressed file, found: {error}") from None
            read += got
            if read.startswith(_UTF16):
                raise TableError(f"{path}: expected UTF-8, found UTF-16; save it again as UTF-8")
            end = _line_end(read)
            if end >= 0 and read[end:].strip(b"\r\n"):
                return read[:end].removeprefix(_BOM), True
            if not got or len(read) > _HEADER_BYTES_MAX:
                return (read[:end] if end >= 0 else read).removeprefix(_BOM), False


def _line_end(read: bytes) -> int:
    """Where the first line ends, a quoted line break not counting; -1 if it does not."""
    quoted = False
    at = 0
    while True:
        ends = [found for found in (read.find(b"\n", at), read.find(b"\r", at)) if found >= 0]
        if not ends:
            return -1
        end = min(ends)
        quoted ^= read.count(b'"', at, end) % 2 == 1
        if not quoted:
            return end
        at = end + 1


def _text(path: Path, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: expected UTF-8, found the byte 0x{line[error.start]:02x} in the first line; save it as UTF-8"
        ) from None


def _delimiter(header: str) -> str:
    outside = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=lambda delimiter: (outside.count(delimiter), -_DELIMITERS.index(delimiter)))


def _raise_if_open(path: Path, names: Sequence[str], delimiter: str) -> None:
    row, line, found = _first_broken(path, len(names), delimiter)
    if found:
        raise TableError(f"{path}: row {row} (line {line}): {found}")


def _broken(path: Path, names: Sequence[str], delimiter: str, reason: str) -> TableError:
    """Read again, slowly, to say where: this happens once, before the end."""
    if "inflate" in reason or "decompress" in reason.lower() or "truncated" in reason.lower():
        return TableError(f"{path}: expected a whole compressed file, found: {reason}; write it again")
    row, line, found = _first_broken(path, len(names), delimiter)
    if found:
        return TableError(f"{path}: row {row} (line {line}): {found}")
    return TableError(f"{path}: expected rows of {len(names)} fields, found: {reason}")


def _first_broken(path: Path, fields: int, delimiter: str) -> tuple[int, int, str]:
    """Row, line and complaint of the first row that is no good; no complaint if all are."""
    row, line = -1, 1
    limit = csv.field_size_limit(BLOCK_BYTES)
    with (
        _opened(path) as raw,
        io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        lines = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for got in lines:
                found = "" if not got else _complaint(got, fields, delimiter)
                if found:
                    return row, line, found
                line = lines.line_num + 1
                row += bool(got)
        except csv.Error as error:
            if "unexpected end" in str(error) or "field larger" in str(error):
                return row, line, "expected a closing quotation mark, found none until the end; close it"
            return row, line, f"expected a whole row, found: {error}; mend or remove the line"
        finally:
            csv.field_size_limit(limit)
    return row, line, ""


def _complaint(got: list[str], fields: int, delimiter: str) -> str:
    text = delimiter.join(got)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"expected UTF-8, found the byte 0x{ord(text[error.start]) - 0xDC00:02x}; save the file as UTF-8"
    if len(got) != fields:
        return f"expected {fields} fields, found {len(got)}: {text[:60]!r}; mend or remove the line"
    return ""
