"""Any readable file gives its rows, whatever wrote it; any other says where it is broken, before anything is judged."""

import csv
import gzip
import io
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.audit import delimited
from streams.audit.tables import TableError, batches, column_error, from_arrow, open_table


def put(folder: Path, content: bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def rows(path: Path, columns=None, size: int = 65_536) -> list[dict]:
    table = open_table(path)
    return [row for batch in batches(table, columns or table.schema.names, rows=size) for row in batch.to_pylist()]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n,y\n",
        b"a,b\r\n1,x\r\n,y\r\n",
        b"a,b\r1,x\r,y",
        b"\xef\xbb\xbfa,b\n1,x\n,y\n",
        b"a;b\n1;x\n;y\n",
        b"a\tb\n1\tx\n\ty\n",
        b'"a","b"\n"1","x"\n"","y"\n',
        b"a,b\n\n1,x\n\n,y\n\n",
    ],
)
def test_the_usual_dialects_of_csv_hold_the_same_rows(tmp_path, content):
    """An empty field is NULL, quoted or not: the contract knows no other NULL in CSV."""
    assert rows(put(tmp_path, content)) == [{"a": "1", "b": "x"}, {"a": None, "b": "y"}]


def test_a_csv_keeps_its_texts(tmp_path):
    """007, NaN and quoted line breaks arrive as they are: what they mean is decided once both sides are known."""
    content = b'"a\nx",b\n007,"two\nlines"\nNaN," NULL"\n5" disk,"say ""no"""\n'
    texts = [("007", "two\nlines"), ("NaN", " NULL"), ('5" disk', 'say "no"')]
    assert rows(put(tmp_path, content)) == [{"a\nx": a, "b": b} for a, b in texts]


# A lone carriage return outside quotation marks ends a line for Arrow; the writer of the twin leaves it bare.
cells = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=4) | st.sampled_from(['"', "a\nb", ","])
SAME_FILE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@SAME_FILE
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=6),
    st.sampled_from(",;\t|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_library_writes_is_read_back(tmp_path, wanted, delimiter, quoting, end):
    """The twin: any texts, in any dialect, row for row."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows([("a", "b"), *wanted])
    got = [tuple(row.values()) for row in rows(put(tmp_path, text.getvalue().encode()), size=2)]
    assert got == [tuple(cell or None for cell in row) for row in wanted]


@SAME_FILE
@given(
    st.lists(st.sampled_from([b"a", b",", b"\n", b'"', b"\r", b"\xff", b"1", b";", b"\0", b"\xef\xbb\xbf"])).map(
        b"".join
    )
)
def test_junk_is_read_or_refused_and_never_a_traceback(tmp_path, content):
    with suppress(TableError):
        rows(put(tmp_path, content))


def test_a_packed_csv_is_unpacked(tmp_path):
    assert rows(put(tmp_path, gzip.compress(b"a,b\n1,x\n"), "train.csv.gz")) == [{"a": "1", "b": "x"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected rows, found an empty file (0 bytes)"),
        (b"\n\n", "expected column names in the first line, found an empty line"),
        (b"a,b\n", "expected at least one row, found none beside the columns"),
        (b"a,b,b\n1,2,3\n", "expected column names that differ, found 'b' more than once"),
        (b"a,b\n1,2\n3,4,5\n", "row 1 (line 3): expected 2 fields, found 3: '3,4,5'; mend or remove the line"),
        (b"a,b\n1,2\n3\n", "row 1 (line 3): expected 2 fields, found 1: '3'; mend or remove the line"),
        (b'a,b\n\n1,"x\ny"\n3\n', "row 1 (line 5): expected 2 fields, found 1: '3'; mend or remove the line"),
        (b"a,b\n1,2\n3,\xff\n", "row 1 (line 3): expected UTF-8, found the byte 0xff; save the file as UTF-8"),
        (b"a\xff,b\n1,2\n", "expected UTF-8, found the byte 0xff in the first line; save it as UTF-8"),
        (b"\xff\xfea\x00,\x00", "expected UTF-8, found UTF-16; save it again as UTF-8"),
        (
            b'a,b\n1,2\n3,"abc\n4,5\n',
            "row 1 (line 3): expected a closing quotation mark, found none until the end; close it",
        ),
        (b"PK\x03\x04....", "expected Parquet or CSV, found a ZIP archive (a spreadsheet?); save it as Parquet or CSV"),
    ],
)
def test_a_broken_csv_says_where_and_what(tmp_path, content, message):
    """Lines that are dropped in silence would be evidence that is dropped in silence."""
    path = put(tmp_path, content)
    with pytest.raises(TableError) as caught:
        rows(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_break_far_behind_the_first_block_is_found(tmp_path, monkeypatch):
    """Rows are counted over all blocks, not within the one that broke."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    with pytest.raises(TableError, match=r"row 1000 \(line 1002\)"):
        rows(put(tmp_path, b"a,b\n" + b"1,2\n" * 1000 + b"3\n"))


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_a_cut_packed_csv_is_an_error(tmp_path, keep):
    packed = gzip.compress("\n".join(["a,b"] + [f"{i},{i * 7919}" for i in range(20_000)]).encode())
    with pytest.raises(TableError, match="expected a whole compressed file"):
        rows(put(tmp_path, packed[: int(len(packed) * keep)], "train.csv.gz"))


TABLE = pa.table({"a": np.random.default_rng(0).integers(0, 2**60, 5_000), "b": [str(i) for i in range(5_000)]})


@pytest.fixture
def whole(tmp_path) -> bytes:
    pq.write_table(TABLE, tmp_path / "whole.parquet", row_group_size=700, write_page_checksum=True)
    return (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("size", [1, 699, 2_000, 10**6])
def test_parquet_gives_its_rows_in_order_in_any_batch_size(tmp_path, whole, size):
    table = open_table(put(tmp_path, whole, "train.bin"))  # by content: the name says nothing
    assert (table.rows, table.is_csv, table.schema.names) == (5_000, False, ["a", "b"])
    got = list(batches(table, ["b", "a"], rows=size))
    assert max(batch.num_rows for batch in got) <= size
    assert pa.Table.from_batches(got).equals(TABLE.select(["b", "a"]))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda b: b[: len(b) // 2], "expected a whole Parquet file, found one that is cut or damaged"),
        (lambda b: b[:10], "expected a whole Parquet file"),
        (lambda b: b"", "found an empty file"),
        (lambda b: b"a,b\n1,2\n", "expected a Parquet file"),
        (
            lambda b: b[: len(b) // 2] + b"\0" * 300 + b[len(b) // 2 + 300 :],
            r"found damage in row group 3 \(rows from 2100",
        ),
    ],
)
def test_a_cut_or_damaged_parquet_says_where(tmp_path, whole, break_it, message):
    with pytest.raises(TableError, match=message):
        rows(put(tmp_path, break_it(whole), "train.parquet"))


def test_a_checksum_is_checked_where_there_is_one(tmp_path):
    """Uncompressed numbers have no other way to show that they were changed."""
    path = tmp_path / "train.parquet"
    pq.write_table(TABLE, path, write_page_checksum=True, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    with pytest.raises(TableError, match="found damage in row group 0"):
        rows(put(tmp_path, bytes(content), "train.parquet"))


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_changed_are_read_or_refused_and_never_a_traceback(tmp_path, seed):
    """Without checksums a changed number is a number; all else is noticed."""
    pq.write_table(TABLE, tmp_path / "plain.parquet", row_group_size=700)
    content = bytearray((tmp_path / "plain.parquet").read_bytes())
    chosen = random.Random(seed)
    for at in [chosen.randrange(4, len(content)), chosen.randrange(len(content) - 2_000, len(content))]:
        content[at] = chosen.randrange(256)
    with suppress(TableError):
        assert len(rows(put(tmp_path, bytes(content), "train.parquet"))) == 5_000


def test_no_rows_and_no_columns_are_errors(tmp_path):
    """An empty log would otherwise acquit every NULL."""
    pq.write_table(TABLE.slice(0, 0), tmp_path / "rows.parquet")
    pq.write_table(pa.table({}), tmp_path / "columns.parquet")
    with pytest.raises(TableError, match="expected at least one row"):
        open_table(tmp_path / "rows.parquet")
    with pytest.raises(TableError, match="expected columns, found none"):
        open_table(tmp_path / "columns.parquet")


def test_a_missing_file_names_its_neighbour(tmp_path):
    put(tmp_path, b"a\n1\n", "train.csv")
    with pytest.raises(TableError, match=r"expected a file, found none; did you mean 'train.csv'\?"):
        open_table(tmp_path / "trian.csv")


def test_a_folder_is_read_as_its_files_in_order(tmp_path):
    """Hive-style folders name columns; a file whose integers are narrower is no other table."""
    for year, kind in (("2023", pa.int32()), ("2024", pa.int64())):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(pa.table({"a": pa.array([int(year)], kind)}), tmp_path / f"year={year}" / "part-0.parquet")
    assert rows(tmp_path) == [{"a": 2023, "year": "2023"}, {"a": 2024, "year": "2024"}]
    pq.write_table(pa.table({"b": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TableError, match="found a difference in 'a', 'b', 'year'"):
        open_table(tmp_path)


def test_names_with_dots_are_not_paths_into_structs(tmp_path):
    pq.write_table(pa.table({"a.b": [1], "a": [{"b": 2}]}), tmp_path / "dots.parquet")
    assert rows(tmp_path / "dots.parquet", ["a.b"]) == [{"a.b": 1}]


def test_a_table_in_memory_is_read_alike():
    table = from_arrow(TABLE, "train")
    assert pa.Table.from_batches(batches(table, ["a"], rows=999)).equals(TABLE.select(["a"]))


def test_a_missing_column_names_the_option_and_the_nearest_name():
    table = from_arrow(pa.table({"customer_id": [1]}), "train")
    message = str(column_error(table, "customer", "entity column", "--entity"))
    assert message.endswith("(--entity), found columns 'customer_id'; did you mean 'customer_id'?")
