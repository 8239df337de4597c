"""Bad input: a sentence with file and row and exit status 4 (2 for a mistyped command), or UNVERIFIABLE with a reason.

Never a PASS for want of evidence, never a traceback, never a silent skip.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.streams.audit.asking import Audited, T, audit, rows, run, write

TRAIN = "entity|prediction_time|x\nu1|T|7\nu2|T|8"
LOG = "entity|write_time|x\nu1|T-10|7\nu2|T-10|8"
MILLISECOND = 1_000


def refused(folder: Path, train: Any, log: Any, *options: str, csv: bool = False, status: int = 4) -> str:
    """What is said to the user, after checking that it is a sentence with the right exit status and no result."""
    found = audit(folder, train, log, *options, csv=csv)
    assert found.status == status, (found.status, found.out, found.err)
    assert "Traceback" not in found.err
    assert found.report == {}
    assert found.cells is None
    assert found.err.strip()
    return found.err


def judged(folder: Path, train: Any, log: Any, *options: str, csv: bool = False) -> Audited:
    found = audit(folder, train, log, *options, csv=csv)
    assert found.report, found.err
    return found


def test_the_tables_used_here_are_fine_as_they_stand(tmp_path: Path):
    """Else every refusal below could be for another reason."""
    for csv in (False, True):
        assert judged(tmp_path, TRAIN, LOG, csv=csv).verdicts("x") == ["PASS", "PASS"]


@pytest.mark.parametrize(
    ("train", "log", "named"),
    [
        (TRAIN.replace("entity", "user"), LOG, ("train.parquet", "'entity'", "--entity", "user")),
        (
            TRAIN.replace("prediction_time", "asked_at"),
            LOG,
            ("train.parquet", "'prediction_time'", "--prediction-time"),
        ),
        (TRAIN, LOG.replace("entity", "user"), ("log0.parquet", "'entity'", "user")),
        (TRAIN, LOG.replace("write_time", "written"), ("log0.parquet", "'write_time'", "--write-time", "written")),
        (TRAIN, LOG.replace("|x", "|z"), ("train.parquet", "x", "z")),
    ],
)
def test_a_missing_column_is_named_with_its_option(tmp_path: Path, train: str, log: str, named: tuple[str, ...]):
    """And with what there is instead."""
    said = refused(tmp_path, train, log)
    assert all(part in said for part in named), said


@pytest.mark.parametrize(
    "options",
    [
        ("--label", "y"),
        ("--feature", "z"),
        ("--prediction-seq", "at"),
        ("--event-time", "happened"),
        ("--visible-time", "seen"),
        ("--order", "max_event_time"),
        ("--tolerance", "z=0.1"),
        ("--forward-dated", "z"),
        ("--label-time", "y_at"),
    ],
)
def test_an_option_that_names_what_is_not_there_is_refused(tmp_path: Path, options: tuple[str, str]):
    """A mistyped --feature that silently audits nothing would be the worst of all."""
    said = refused(tmp_path, TRAIN, LOG, *options)
    assert options[0] in said, said


def test_a_position_needs_a_sequence_in_the_log(tmp_path: Path):
    """Order decides, so there must be one."""
    said = refused(tmp_path, "entity|prediction_time|at|x\nu1|T|1|7", LOG, "--prediction-seq", "at")
    assert "'seq'" in said
    assert "log0.parquet" in said


@pytest.mark.parametrize(
    "options",
    [
        ("--clock-error", "5 parsecs"),
        ("--clock-error", "-5ms"),
        ("--resolution", "x"),
        ("--covers", "yesterday"),
        ("--covers", "2024-01-02..2024-01-01"),
        ("--order", "newest"),
        ("--tolerance", "x"),
        ("--tolerance", "x=-1"),
        ("--tolerance", "x=nan"),
        ("--memory", "lots"),
        ("--fail-on", "sometimes"),
        ("--no-such-option",),
        ("--clock-error", "90000000000d"),
        ("--resolution", "90000000000d"),
        ("--resolution", "0us"),
        ("--prediction-resolution", "0us"),
        ("--html", "/no/such/folder/report.html"),
        ("--junit", "/no/such/folder/report.xml"),
        ("--corrected", "/no/such/folder/table.parquet"),
    ],
)
def test_a_mistyped_option_is_a_mistake_of_usage(tmp_path: Path, options: tuple[str, ...]):
    """Exit status 2, before anything is read."""
    said = refused(tmp_path, TRAIN, LOG, *options, status=2)
    assert options[0].split("=")[0] in said or options[-1] in said, said


@pytest.mark.parametrize("option", ["--json", "--html", "--junit", "--corrected", "--cells"])
def test_no_report_is_written_over_what_was_read_or_another_report(tmp_path: Path, option: str):
    """A slip of the hand must not cost somebody the training set."""
    train, log = write(tmp_path, "train", TRAIN), write(tmp_path, "log0", LOG)
    kept = train.read_bytes()
    other = ("--corrected", tmp_path / "a") if option == "--cells" else ("--cells", tmp_path / "a")
    for path, more in ((train, ()), (log, ()), (tmp_path, ()), (tmp_path / "a", other)):
        status, out, err = run(train, "--log", log, option, path, *more)
        assert (status, out) == (2, ""), err
        assert str(path) in err
    assert train.read_bytes() == kept


def test_a_command_without_files_is_a_mistake_of_usage(tmp_path: Path):
    """What is missing is named."""
    train = write(tmp_path, "train", TRAIN)
    for arguments in ((), (train,)):
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert "--log" in err


@pytest.mark.parametrize("which", ["train", "log"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, which: str):
    """The commonest mistake."""
    paths = {"train": write(tmp_path, "train", TRAIN), "log": write(tmp_path, "log0", LOG)}
    paths[which] = tmp_path / "nowhere.parquet"
    status, out, err = run(paths["train"], "--log", paths["log"])
    assert status in (2, 4)
    assert out == ""
    assert "nowhere.parquet" in err
    assert "Traceback" not in err


ODD_TIMES = [
    ("12", "12"),  # a time in no unit
    ("20231114", "20231114"),  # a date that was written as a number
    ("86400", "86400"),  # 1970
    ("4102444800001", "4102444800001"),  # 2100, in milliseconds
]


@pytest.mark.parametrize(("odd", "named"), ODD_TIMES)
@pytest.mark.parametrize("csv", [False, True])
def test_a_time_of_no_year_of_ours_is_named_with_its_row(tmp_path: Path, odd: str, named: str, csv: bool):
    """Before 1971, after 2099, or in no unit: the unit could not be known."""
    kind = "csv" if csv else "parquet"
    said = refused(tmp_path, TRAIN.replace("u2|T", f"u2|{odd}"), LOG, csv=csv)
    assert all(part in said for part in (f"train.{kind}", "row 1", "prediction_time", named)), said
    said = refused(tmp_path, TRAIN, LOG.replace("u2|T-10", f"u2|{odd}"), csv=csv)
    assert all(part in said for part in (f"log0.{kind}", "row 1", "write_time", named)), said


@pytest.mark.parametrize("year", [1969, 1970, 2100, 2262])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_timestamp_outside_of_1971_to_2099_is_refused(tmp_path: Path, year: int, unit: str):
    """A type knows its unit, and yet such a time is a default or a mistake."""
    when = pa.array([datetime(2023, 1, 1), datetime(year, 3, 1)]).cast(pa.timestamp(unit))
    train = pa.table({"entity": ["u1", "u2"], "prediction_time": when, "x": [7, 8]})
    said = refused(tmp_path, train, LOG)
    assert "row 1" in said
    assert str(year) in said
    log = pa.table({"entity": ["u1", "u2"], "write_time": when, "x": [7, 8]})
    assert "row 1" in refused(tmp_path, TRAIN, log)


@pytest.mark.parametrize("odd", ["soon", "2023-13-01", "2023-11-14T25:00:00", "14.11.2023"])
def test_a_text_that_is_no_time_is_named_with_its_row(tmp_path: Path, odd: str):
    """Day first or month first: nobody guesses."""
    train = f"entity|prediction_time|x\nu1|2023-11-14T22:13:20Z|7\nu2|{odd}|8"
    for csv in (False, True):
        said = refused(tmp_path, train, LOG, csv=csv)
        assert "row 1" in said
        assert odd in said


def test_columns_that_hold_no_times_are_refused(tmp_path: Path):
    """Booleans, lists, structs."""
    for column in ([True, False], [[1], [2]], [{"a": 1}, {"a": 2}]):
        train = pa.table({"entity": ["u1", "u2"], "prediction_time": pa.array(column), "x": [7, 8]})
        assert "prediction_time" in refused(tmp_path, train, LOG)


@pytest.mark.parametrize("column", ["entity", "prediction_time"])
def test_a_training_row_without_entity_or_time_is_named(tmp_path: Path, column: str):
    """Which row; a row that cannot be judged is not left out in silence."""
    train = [row | ({column: None} if i == 1 else {}) for i, row in enumerate(rows(TRAIN))]
    for csv in (False, True):
        said = refused(tmp_path, train, LOG, csv=csv)
        assert "row 1" in said
        assert column in said or "entity" in said


@pytest.mark.parametrize("column", ["entity", "write_time"])
def test_a_log_row_without_entity_or_time_is_named(tmp_path: Path, column: str):
    """Leaving it out would turn a doubt into a verdict."""
    log = [row | ({column: None} if i == 1 else {}) for i, row in enumerate(rows(LOG))]
    for csv in (False, True):
        said = refused(tmp_path, TRAIN, log, csv=csv)
        assert "row 1" in said
        assert "log0" in said


def test_an_integer_column_may_mix_units_but_not_in_silence(tmp_path: Path):
    """The magnitude tells each apart; that they are mixed is a finding."""
    found = judged(tmp_path, TRAIN, f"entity|write_time|x\nu1|{T // 1000 - 10}|7\nu2|T-2000|8")
    assert found.findings("UNIT_MISMATCH")
    assert found.verdicts("x") == ["PASS", "PASS"]


@pytest.mark.parametrize("entity", ["u1", "u9"])
@pytest.mark.parametrize("order", ["last_write", "max_event_time"])
def test_a_sequence_that_contradicts_itself_is_refused_with_both_rows(tmp_path: Path, entity: str, order: str):
    """One place, two contents: which was first cannot be known. Also where TRAIN does not ask for that entity."""
    log = f"""
        entity   | event_time | write_time | seq | x
        {entity} | T-10       | T-10       | 1   | 7
        u2       | T-10       | T-10       | 1   | 8
        {entity} | T-9        | T-9        | 1   | 6
    """
    said = refused(tmp_path, TRAIN, log, "--order", order)
    assert all(part in said for part in ("log0.parquet", "row 0", "row 2", "seq")), said


@pytest.mark.parametrize("odd", ["NULL", "1.5", "first"])
def test_a_place_in_a_sequence_is_an_integer(tmp_path: Path, odd: str):
    """A row without a place has no order."""
    log = rows("entity|write_time|seq|x\nu1|T-10|1|7\nu2|T-10|2|8")
    kept = {"NULL": None, "1.5": 1.5}.get(odd, odd)
    table = pa.Table.from_pylist(log)
    table = table.set_column(2, "seq", pa.array([str(1) if isinstance(kept, str) else 1, kept]))
    for csv in (False, True):
        said = refused(tmp_path, TRAIN, table, csv=csv)
        assert "row 1" in said
        assert "seq" in said


def test_an_unknown_operation_is_named_with_its_row(tmp_path: Path):
    """Only c, u, d, r and t mean something."""
    said = refused(tmp_path, TRAIN, "entity|write_time|op|x\nu1|T-10|c|7\nu2|T-10|upsert|8")
    assert "row 1" in said
    assert "upsert" in said


def test_rows_with_the_same_entity_and_time_are_cells_of_their_own_and_a_finding(tmp_path: Path):
    """Two answers to one question: one of them is a mistake."""
    found = judged(tmp_path, "entity|prediction_time|x|y\nu1|T|7|0\nu1|T|7|1\nu2|T|8|1", LOG, "--label", "y")
    assert found.verdicts("x") == ["PASS"] * 3
    assert any("DUPLICATE" in finding["kind"] for finding in found.report["findings"]), found.report["findings"]


def test_columns_that_cannot_be_compared_are_unverifiable_with_the_reason(tmp_path: Path):
    """Numbers here and words there: not a phantom, and never a PASS."""
    log = "entity|write_time|x\nu1|T-10|seven\nu2|T-10|eight"
    found = judged(tmp_path, TRAIN, log, "--fail-on", "unverifiable")
    assert found.verdicts("x") == ["UNVERIFIABLE", "UNVERIFIABLE"]
    assert list(found.report["features"]["x"]["reasons"]) == ["type_mismatch"]
    assert found.status == 1


EMPTY = [
    ("train.parquet", b""),
    ("train.csv", b""),
    ("train.csv", b"\n"),
    ("train.csv", b"entity,prediction_time,x\n"),
    ("train.parquet", b"PAR1"),
    ("train.parquet", b"entity,prediction_time,x\nu1,1700000000,7\n"),
    ("train.csv", b"\x00\x01\x02"),
    ("train.csv", "entity,prediction_time,x\nü,1700000000,7\n".encode("latin-1")),
    ("train.csv", b"entity,entity,prediction_time,x\nu1,u1,1700000000,7\n"),
]


@pytest.mark.parametrize(("name", "content"), EMPTY, ids=range(len(EMPTY)))
def test_an_empty_or_foreign_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes):
    """Nothing in it, another format, another encoding, one name twice; on either side."""
    path = tmp_path / name
    path.write_bytes(content)
    assert name in refused(tmp_path / "a", path, LOG)
    log = tmp_path / name.replace("train", "log")
    log.write_bytes(content.replace(b"prediction_time", b"write_time"))
    if content != b"entity,prediction_time,x\n":
        assert log.name in refused(tmp_path / "b", TRAIN, log)


def test_a_log_without_rows_acquits_nobody(tmp_path: Path):
    """Nothing is known, so no value passes: a phantom, or a refusal."""
    log = pa.table({"entity": pa.array([], "string"), "write_time": pa.array([], "int64"), "x": pa.array([], "int64")})
    found = audit(tmp_path, TRAIN, log)
    assert "Traceback" not in found.err
    if found.report:
        assert found.verdicts("x") == ["UNVERIFIABLE", "UNVERIFIABLE"]
    else:
        assert found.status == 4
        assert "log0.parquet" in found.err


@pytest.mark.parametrize("broken", ["u2,1700000000", "u2,1700000000,8,9", 'u2,1700000000,"8'])
def test_a_broken_line_of_a_csv_is_named(tmp_path: Path, broken: str):
    """Too few fields, too many, a quotation that never ends."""
    path = tmp_path / "train.csv"
    path.write_text(f"entity,prediction_time,x\nu1,1700000000,7\n{broken}\nu3,1700000000,9\n")
    said = refused(tmp_path, path, LOG)
    assert "train.csv" in said
    assert "3" in said or "row 1" in said, said  # line 3 of the file


def test_a_line_broken_far_down_is_named(tmp_path: Path):
    """Long after the first batch: with its own number, and with no half of a result."""
    lines = ["entity,write_time,x"] + [f"u{i},{T - 10},{i}" for i in range(150_000)]
    lines[120_000] = "u1,oops"
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    said = refused(tmp_path, TRAIN, path)
    assert "log.csv" in said
    assert "120001" in said.replace(",", "") or "119999" in said.replace(",", ""), said


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_a_parquet_that_was_cut_is_refused(tmp_path: Path, keep: float):
    """A copy that did not finish."""
    whole = write(tmp_path, "whole", [{"entity": f"u{i}", "write_time": T - i, "x": i} for i in range(2_000)])
    cut = tmp_path / "log.parquet"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * keep)])
    assert "log.parquet" in refused(tmp_path, TRAIN, cut)


def test_a_parquet_with_a_spoiled_page_is_refused(tmp_path: Path):
    """The footer is whole, so it is found out only while reading."""
    table = pa.table({"entity": [f"user {i}" for i in range(5_000)], "write_time": [T - 10] * 5_000, "x": [7] * 5_000})
    path = tmp_path / "log.parquet"
    pq.write_table(table, path, compression="zstd")
    content = bytearray(path.read_bytes())
    content[200:2_000] = b"\xff" * 1_800
    path.write_bytes(content)
    assert "log.parquet" in refused(tmp_path, TRAIN, path)


def test_ten_thousand_columns_are_judged_or_named(tmp_path: Path):
    """Wide tables exist: each column is a feature, or it is said why it is none."""
    names = [f"f{i}" for i in range(10_000)]
    log = pa.table({"entity": ["u1"], "write_time": [T - 10]} | {name: [i] for i, name in enumerate(names[:1_000])})
    train = pa.table({"entity": ["u1"], "prediction_time": [T]} | {name: [i] for i, name in enumerate(names)})
    report = judged(tmp_path, train, log).report
    assert {name: feature["verdict"] for name, feature in report["features"].items()} == dict.fromkeys(
        names[:1_000], "PASS"
    )
    assert set(names[1_000:]) <= set(report["not_audited"])


NEW_YORK = pa.timestamp("us", "America/New_York")
KINDS = {
    "list": pa.array([[1, 2], None, [3], [1, 2]]),
    "struct": pa.array([{"a": 1, "b": None}, None, {"a": 2, "b": "x"}, {"a": 1, "b": None}]),
    "map": pa.array([[("a", 1)], None, [("b", 2)], [("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "decimal": pa.array([Decimal("1.10"), None, Decimal("2.20"), Decimal("1.10")]),
    "categorical": pa.array(["red", None, "blue", "red"]).dictionary_encode(),
    "zoned": pa.array([datetime(2023, m, 1, tzinfo=UTC) if m else None for m in (3, 0, 4, 3)], NEW_YORK),
    "date": pa.array([date(2023, 3, 1), None, date(2023, 4, 1), date(2023, 3, 1)]),
    "bool": pa.array([True, None, False, True]),
    "bytes": pa.array([b"a", None, b"\xff", b"a"]),
    "float32": pa.array([0.1, None, 0.2, 0.1], pa.float32()),
    "uint64": pa.array([2**63 + 1, None, 2**63 + 2, 2**63 + 1], pa.uint64()),
    "big int": pa.array([2**53 + 1, None, 2**53, 2**53 + 1]),
    "large text": pa.array(["a", None, "b", "a"], pa.large_string()),
    "all null": pa.nulls(4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_columns_of_every_type_are_compared_by_value_or_say_why_not(tmp_path: Path, kind: str):
    """Row 0 holds the current value, row 1 NULL before everything, row 2 a value of the future."""
    values = KINDS[kind]
    train = pa.table({"entity": ["u1", "u1", "u1"], "prediction_time": [T, T - 5_000, T], "x": values[:3]})
    log = pa.table({"entity": ["u1", "u1"], "write_time": [T - 10, T + 10], "x": values.take(pa.array([3, 2]))})
    found = judged(tmp_path, train, log)
    if kind == "all null":
        assert found.verdicts("x") == ["PASS"] * 3
    else:
        assert found.leads("x") == [("PASS", None), ("PASS", None), ("LEAK", 10 * MILLISECOND)]


def test_the_same_values_in_another_type_are_equal(tmp_path: Path):
    """Pandas made floats of integers, the log has decimals and words, the warehouse categories."""
    seven = [pa.array([7]), pa.array([7.0]), pa.array([Decimal("7")]), pa.array(["7"]), pa.array([7], pa.int8())]
    for column in [*seven, pa.array(["7"]).dictionary_encode()]:
        log = pa.table({"entity": ["u1"], "write_time": [T - 10], "x": column})
        for mine in seven[:3]:
            train = pa.table({"entity": ["u1"], "prediction_time": [T], "x": mine})
            found = judged(tmp_path, train, log)
            reasons = found.report["features"]["x"]["reasons"]
            assert found.verdicts("x") == ["PASS"] or reasons == {"type_mismatch": 1}, (mine.type, column.type, reasons)


def test_an_entity_may_be_a_number_here_and_a_text_there(tmp_path: Path):
    """42, "42" and 42.0 are one; "042" is another."""
    log = pa.table({"entity": ["42"], "write_time": [T - 10], "x": [7]})
    for entity in ([42], [42.0], ["42"]):
        train = pa.table({"entity": entity, "prediction_time": [T], "x": [7]})
        assert judged(tmp_path, train, log).verdicts("x") == ["PASS"]
    train = pa.table({"entity": ["042"], "prediction_time": [T], "x": [7]})
    assert judged(tmp_path, train, log).verdicts("x") == ["UNVERIFIABLE"]


def test_a_visible_time_before_the_write_time_proves_nothing(tmp_path: Path):
    """It contradicts itself, so it neither convicts nor acquits; and it is said."""
    log = "entity|write_time|visible_time|x\nu1|T-10|T-50|7\nu2|T+50|T+10|8"
    found = judged(tmp_path, TRAIN, log)
    assert found.verdicts("x") == ["UNVERIFIABLE", "UNVERIFIABLE"]
    assert any("VISIBLE" in finding["kind"] for finding in found.report["findings"]), found.report["findings"]


def test_an_empty_text_is_a_value_and_in_a_csv_it_is_null(tmp_path: Path):
    """Reading 10."""
    train = pa.table({"entity": ["u1", "u1"], "prediction_time": [T, T], "x": ["", None]})
    log = pa.table({"entity": ["u1"], "write_time": [T - 10], "x": [""]})
    assert judged(tmp_path, train, log).verdicts("x") == ["PASS", "UNVERIFIABLE"]
    path = tmp_path / "train.csv"
    path.write_text(f"entity,prediction_time,x\nu1,{T},\n")
    log_path = tmp_path / "log.csv"
    log_path.write_text(f"entity,write_time,x\nu1,{T - 10},\n")
    assert judged(tmp_path, path, log_path).verdicts("x") == ["PASS"]
