"""What a notebook gives to `tminus.audit` and what it gets back."""

import datetime as dt
import doctest
import gc
import signal
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import _tminus_frames as frames
import tminus
from streams.lake.layout import prepare

ROOT = Path(__file__).parents[3]
FILES = ROOT / "docs" / "examples" / "ci"
#: In docs/examples/ci/train.csv.
LEAKING = [1, 4, 6]


def as_arrow(name: str) -> pa.Table:
    return pacsv.read_csv(FILES / f"{name}.csv", convert_options=pacsv.ConvertOptions(strings_can_be_null=True))


@pytest.fixture(scope="module")
def pandas_report() -> tminus.Report:
    """One audit of pandas frames with an index of their own, for all who only look at it."""
    train = as_arrow("train").to_pandas()
    train.index = pd.Index(np.arange(8) * 10, name="row")
    return tminus.audit(train, as_arrow("log").to_pandas(), label="cancelled")


def test_importing_it_takes_nothing_along():
    """Everybody pays for an import at the top of a notebook."""
    program = "import sys; old = set(sys.modules); import tminus; print(*(set(sys.modules) - old))"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    names = {name.split(".")[0] for name in done.stdout.split()}
    assert names <= sys.stdlib_module_names | {"tminus"}


def test_a_pandas_frame_comes_back_with_its_index_and_types(pandas_report: tminus.Report):
    """A frame that came back sorted or renumbered would be joined to the wrong rows."""
    found, given = pandas_report.corrected, as_arrow("train").to_pandas()
    assert found.index.tolist() == list(range(0, 80, 10))
    assert found.index.name == "row"
    assert found.columns.tolist() == given.columns.tolist()
    assert found.dtypes.equals(given.dtypes)
    assert found["last_login"].notna().all()
    for column in ("entity", "prediction_time", "plan", "orders_7d", "cancelled"):
        assert found[column].tolist() == given[column].tolist()


def test_cells_stand_beside_the_rows_that_they_are_about(pandas_report: tminus.Report):
    """`train[cells.last_login__verdict == "LEAK"]` is what people write first."""
    cells = pandas_report.cells
    assert cells.index[cells["last_login__verdict"] == "LEAK"].tolist() == [10, 40, 60]
    assert cells["last_login__lead_us"].notna().sum() == len(LEAKING)


def test_a_report_tells_itself(pandas_report: tminus.Report):
    """The page is shown inside another page and must not run or break anything there."""
    assert [one["feature"] for one in pandas_report.features] == ["last_login", "plan", "orders_7d"]
    assert pandas_report.report["schema"] == "tminus.audit/1"
    assert "last_login" in repr(pandas_report)
    assert "report.json" not in repr(pandas_report)
    shown = pandas_report._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox=""' in shown
    assert shown.count('"') == 8  # four attributes; nothing of the report ends one of them
    assert pandas_report.html.lstrip().lower().startswith("<!doctype html>")


def test_polars_frames_come_back_as_polars_frames():
    """Also lazy ones; the types of columns stay, categories too."""
    train = pl.from_arrow(as_arrow("train")).with_columns(pl.col("plan").cast(pl.Categorical))
    report = tminus.audit(train.lazy(), pl.from_arrow(as_arrow("log")), label="cancelled")
    assert isinstance(report.corrected, pl.DataFrame)
    assert isinstance(report.cells, pl.DataFrame)
    assert report.corrected.schema == train.schema
    assert report.corrected["last_login"].null_count() == 0
    assert report.corrected.drop("last_login").equals(train.drop("last_login"))


def test_paths_and_tables_mix_and_reports_are_written_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A log is often both: an old file, and what was queried just now. Paths are those of the notebook's folder.

    What lies in a temporary folder goes with the report: a notebook that audits all day must not fill the disk.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    log = as_arrow("log")
    pq.write_table(log.slice(0, 9), tmp_path / "old.parquet")
    pq.write_table(as_arrow("train"), tmp_path / "train.parquet")
    monkeypatch.chdir(tmp_path)
    report = tminus.audit(
        "train.parquet",
        ["old.parquet", log.slice(9)],
        label="cancelled",
        feature=["last_login"],
        fail_on="never",
        clock_error=dt.timedelta(milliseconds=5),
        json="said.json",
        junit="said.xml",
        html=tmp_path / "said.html",
        corrected="known.parquet",
    )
    assert report.status == 0
    assert isinstance(report.corrected, pa.Table)
    assert report.corrected.equals(pq.read_table("known.parquet"))
    assert list(report.report["features"]) == ["last_login"]
    assert report.report["features"]["last_login"]["clock_error_us"] == 5_000
    assert all("last_login" in Path(name).read_text() for name in ("said.json", "said.xml", "said.html"))
    assert len(list(temporary.iterdir())) == 1
    del report
    gc.collect()
    assert list(temporary.iterdir()) == []


def test_a_leak_stops_a_script(pandas_report: tminus.Report):
    """The status is that of the command."""
    assert pandas_report.status == 1
    with pytest.raises(tminus.LeakFound, match=r"last_login \(3 rows\)"):
        pandas_report.raise_for_leak()


def test_what_lies_in_the_folder_of_the_notebook_is_not_loaded(tmp_path: Path):
    """Strangers' repositories have folders called `features`, and files called `polars.py`."""
    for name in ("features", "monitors", "streams", "polars", "pandas", "click", "numba"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not this one')")
    (tmp_path / "notebook.py").write_text(
        "import sys, tminus\n"
        f"result = tminus.audit({str(FILES / 'train.csv')!r}, {str(FILES / 'log.csv')!r}, label='cancelled')\n"
        "assert result.corrected['last_login'].null_count == 0\n"
        "print(result.status, sorted({'features', 'monitors', 'streams', 'polars', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1 []\n", "")


# Mistakes.


def test_a_mistake_of_the_command_is_an_error_with_its_sentence_and_code():
    """The name of a file of ours in a temporary folder helps nobody."""
    train = as_arrow("train")
    with pytest.raises(tminus.AuditError, match=r"^train\.parquet: expected .*'when'") as found:
        tminus.audit(train, as_arrow("log"), prediction_time="when")
    assert found.value.code.startswith("TM2")
    assert found.value.status == 4


@pytest.mark.parametrize(
    ("train", "log", "options", "said"),
    [
        ("nowhere.csv", "log.csv", {}, "nowhere.csv as train, found none"),
        ({"entity": [1]}, "log.csv", {}, "train: expected a pandas or Polars frame, .* found dict"),
        (pa.table({"entity": [1]}), [], {}, "log: expected at least one table"),
        (pa.table({"entity": [1]}), pa.table({"a": [1]}), {"clock_error": 5}, "clock_error: expected a text such as"),
        (pa.table([[1], [2]], names=["a", "a"]), "log.csv", {}, "train: expected every column .* 'a' more than once"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "log.csv", {}, "'1' more than once"),
        (pd.DataFrame({"x": [1]}, index=pd.Index([7], name="entity")), "log.csv", {}, r"pass train\.reset_index\(\)"),
        (pl.DataFrame({"x": [object()]}), "log.csv", {}, "train: expected columns that Parquet can hold"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_runs(train, log, options, said, tmp_path, monkeypatch):
    """And leave nothing behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(tminus.AuditError, match=said):
        tminus.audit(train, log, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_command_is_explained():
    """`pip install tminus` into another environment than the kernel's is the likely reason."""
    said = "python: Error while finding module specification for 'streams.cli.main' (No module named 'streams')"
    assert "found no module 'streams'" in str(tminus._failure(1, said))
    assert isinstance(tminus._failure(130, "interrupted\n"), KeyboardInterrupt)
    assert isinstance(tminus._failure(1, "Traceback ..."), RuntimeError)


def test_words_of_a_terminal_are_made_plain():
    """Progress is overwritten on a terminal; in an error only what stayed counts."""
    said = "\r\x1b[2Kreading 1,000\r\x1b[2K\x1b[1merror:\x1b[0m train: expected x (TM214)\r\n  see: it\r\n"
    found = tminus._failure(4, said)
    assert str(found) == "train: expected x (TM214)\n  see: it"
    assert found.code == "TM214"


def test_an_interrupt_ends_the_child():
    """The first time politely."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    tminus._end(child)
    child.stdin.close()
    assert child.returncode in (-signal.SIGINT, 1, 130)


def test_a_lake_opens_also_after_it_was_moved(tmp_path: Path):
    """A colleague unpacks it somewhere else."""
    prepare(tmp_path / "lake")
    (tmp_path / "lake").rename(tmp_path / "moved")
    with tminus.connect(tmp_path / "moved") as connection:
        assert connection.execute("SELECT count(*) FROM verdicts").fetchall() == [(0,)]


def test_a_lake_that_is_none_is_named(tmp_path: Path):
    """DuckDB would speak of a file."""
    with pytest.raises(FileNotFoundError, match="expected a lake in"):
        tminus.connect(tmp_path)


# Columns of every type, without the command: out, changed in some rows, and back.


def there_and_back(column: pd.Series, changed: list[bool], new: pa.Array, tmp_path: Path) -> pd.Series:
    given = frames.given(pd.DataFrame({"x": column}), "train")
    given.stored(tmp_path)
    return given.corrected(pa.table({"x": new}), {"x": pa.array(changed)})["x"]


_ZONE = "Asia/Tokyo"
_NS = 1_700_000_000_123_456_789
_MOMENT = pd.Timestamp(_NS, tz="UTC")


@pytest.mark.parametrize(
    ("column", "new", "expected", "dtype"),
    [
        (pd.Series([2**60 + 1, 3]), [2**60 + 3], [2**60 + 1, 2**60 + 3], "int64"),
        (pd.Series([2**60 + 1, 3]), [None], [2**60 + 1, pd.NA], "Int64"),
        (pd.Series([7, 3], dtype="uint8"), [None], [7, pd.NA], "UInt8"),
        (pd.Series([True, False]), [None], [True, pd.NA], "boolean"),
        (pd.Series([1, pd.NA], dtype="Int64"), [5], [1, 5], "Int64"),
        (pd.Series([0.1, 0.2]), [None], [0.1, np.nan], "float64"),
        (pd.Series(["a", "b"], dtype="category"), ["z"], ["a", "z"], "category"),
        (pd.Series(["a", None], dtype=object), ["z"], ["a", "z"], "object"),
        (pd.Series(["a", "b"], dtype="string"), [None], ["a", pd.NA], "string"),
        (pd.Series([_MOMENT, pd.NaT]), [_MOMENT.floor("us")], [_MOMENT, _MOMENT.floor("us")], "datetime64[ns, UTC]"),
        (pd.Series([_MOMENT, _MOMENT]), [None], [_MOMENT, pd.NaT], "datetime64[ns, UTC]"),
        (pd.Series([Decimal("1.10"), None]), [Decimal("2.20")], [Decimal("1.10"), Decimal("2.20")], "object"),
        (pd.Series([1, 2], dtype=pd.ArrowDtype(pa.int32())), [None], [1, pd.NA], "int32[pyarrow]"),
        (pd.Series(pd.arrays.SparseArray([0.0, 1.5])), [2.5], [0.0, 2.5], None),
        (pd.Series([pd.Period("2023-11"), pd.NaT]), ["2023-12"], ["2023-11", "2023-12"], None),
    ],
)  # fmt: skip
def test_pandas_columns_keep_what_they_are(column, new, expected, dtype, tmp_path):
    """The second row changes; the first stays the very object that it was, to the last nanosecond."""
    found = there_and_back(column, [False, True], pa.array([None, *new], pa.array(new).type), tmp_path)
    assert [str(value) for value in found] == [str(value) for value in expected]
    assert dtype is None or str(found.dtype) == dtype


def test_an_index_with_repeated_labels_does_no_harm(tmp_path: Path):
    """As after `pd.concat`: rows are places, not labels."""
    column = pd.Series([1, 2, 3], index=[0, 0, 1])
    assert there_and_back(column, [False, True, False], pa.array([0, 9, 0]), tmp_path).tolist() == [1, 9, 3]


def test_names_that_are_no_text_come_back_as_they_were(tmp_path: Path):
    """`pd.DataFrame(array)` numbers its columns."""
    given = frames.given(pd.DataFrame({7: [1, 2]}), "train")
    given.stored(tmp_path)
    assert pq.read_table(tmp_path / "train.parquet").column_names == ["7"]
    assert given.corrected(pa.table({"7": [0, 5]}), {"7": pa.array([False, True])})[7].tolist() == [1, 5]


def test_mixed_objects_are_compared_as_text_and_said_so(tmp_path: Path):
    """Skipping such a column in silence would pass a leak."""
    mixed = frames.given(pd.DataFrame({"x": [1, "1", None]}), "train")
    with pytest.warns(UserWarning, match="'x' holds int and str"):
        mixed.stored(tmp_path)
    assert pq.read_table(tmp_path / "train.parquet")["x"].to_pylist() == ["1", "1", None]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([_MOMENT.tz_convert(_ZONE), pd.NaT]), pa.array([_NS, None], pa.timestamp("ns", _ZONE))),
        (pd.Series(pd.arrays.SparseArray([0.0, 1.5])), pa.array([0.0, 1.5])),
        (pd.Series([pd.Period("2023-11"), pd.NaT]), pa.array(["2023-11", None])),
        (pd.Series([UUID(int=5)]), pa.array(["00000000-0000-0000-0000-000000000005"])),
        (pd.Series([1.5, np.nan]), pa.array([1.5, None])),
        (pd.Series([None, pd.NaT, np.nan], dtype=object), pa.nulls(3)),
    ],
)  # fmt: skip
def test_pandas_columns_arrive_as_what_they_mean(column: pd.Series, expected: pa.Array, tmp_path: Path):
    """pandas counts in nanoseconds, hides numbers behind periods and knows four kinds of nothing."""
    frames.given(pd.DataFrame({"x": column}), "log").stored(tmp_path)
    found = pq.read_table(tmp_path / "log.parquet")["x"]
    assert found.combine_chunks().equals(expected)


def test_a_word_that_an_enumeration_lacks_is_not_lost(tmp_path: Path):
    """Polars would make it null, which is another claim about the past."""
    given = frames.given(pl.DataFrame({"x": pl.Series(["a", "b"], dtype=pl.Enum(["a", "b"]))}), "train")
    given.stored(tmp_path)
    found = given.corrected(pa.table({"x": ["a", "z"]}), {"x": pa.array([False, True])})
    assert found["x"].to_list() == ["a", "z"]


def test_arrow_columns_keep_their_types(tmp_path: Path):
    """Dictionaries and zones among them."""
    train = pa.table({"x": pa.array(["a", "b"]).dictionary_encode(), "y": pa.array([1, 2], pa.timestamp("ms", "UTC"))})
    given = frames.given(train, "train")
    given.stored(tmp_path)
    new = pa.table({"x": ["z", "z"], "y": pa.array([None, 9], pa.timestamp("ms", "UTC"))})
    mask = pa.array([False, True])
    found = given.corrected(new, {"x": mask, "y": mask})
    assert found.schema == train.schema
    assert found["x"].to_pylist() == ["a", "z"]
    assert found["y"].cast(pa.int64()).to_pylist() == [1, 9]


def test_the_samples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """docs/notebook.md is what a newcomer copies from."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    found = doctest.testfile(str(ROOT / "docs" / "notebook.md"), module_relative=False, optionflags=flags)
    assert found.attempted >= 12
    assert found.failed == 0
