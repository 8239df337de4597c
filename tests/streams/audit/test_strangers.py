"""Files as strangers have them: types, encodings and names that nobody here would have chosen."""

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.streams.audit.asking import Audited, T, audit, run, write

BEFORE, AFTER = T - 10, T + 10


def corrected(folder: Path, train: Any, log: Any, name: str = "corrected.parquet") -> pa.Table:
    """The corrected table of an audit that ended well."""
    path = folder / name
    found = audit(folder, train, log, "--corrected", path)
    assert found.report, found.err
    return pyarrow.csv.read_csv(path) if name.endswith(".csv") else pq.read_table(path)


def training(x: Any, **others: Any) -> pa.Table:
    """One row per value of `x`, entities u0, u1, ..."""
    return pa.table({"entity": [f"u{i}" for i in range(len(x))], "prediction_time": [T] * len(x), "x": x, **others})


def history(x: Any, write_time: int = BEFORE) -> pa.Table:
    """One version per entity."""
    return pa.table({"entity": [f"u{i}" for i in range(len(x))], "write_time": [write_time] * len(x), "x": x})


def words(found: Audited, feature: str = "x") -> list[str]:
    assert found.report, found.err
    return found.verdicts(feature)


def test_a_frame_comes_back_with_its_index_and_its_nullable_types(tmp_path: Path):
    """They live in the metadata of the schema; without it every other column changes too."""
    path = tmp_path / "frame.parquet"
    frame = pd.DataFrame(
        {
            "entity": ["u0", "u1"],
            "prediction_time": [T, T],
            "x": pd.array([7, None], dtype="Int64"),
            "grade": pd.Categorical(["a", "b"], categories=["z", "a", "b"], ordered=True),
            "flag": pd.array([True, None], dtype="boolean"),
        },
        index=pd.Index([10, 20], name="row"),
    )
    frame.to_parquet(path)
    audit(tmp_path, path, history([7, 7], AFTER), "--corrected", tmp_path / "corrected.parquet")
    found = pd.read_parquet(tmp_path / "corrected.parquet")
    pd.testing.assert_frame_equal(found.drop(columns="x"), frame.drop(columns="x"))
    assert found["x"].dtype == frame["x"].dtype
    assert found["x"].isna().all()


def test_fields_that_may_not_be_null_stay_so_unless_they_are_corrected(tmp_path: Path):
    table = training([7])
    schema = pa.schema([field.with_nullable(False) for field in table.schema], {"made": "here"})
    found = corrected(tmp_path, table.cast(schema), history([7], AFTER))
    assert [field.nullable for field in found.schema] == [False, False, True]
    assert found.schema.metadata == {b"made": b"here"}


def test_categories_keep_their_order_and_new_words_come_after_them(tmp_path: Path):
    """Else `lo < hi` would turn round by the row that comes first."""
    kind = pa.dictionary(pa.int8(), pa.string(), ordered=True)
    column = pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int8()), pa.array(["lo", "hi"]), ordered=True)
    found = corrected(tmp_path, training(column), history(["hi", "top"]))["x"]
    assert found.type == kind
    assert found.to_pylist() == ["hi", "top"]
    assert found.combine_chunks().dictionary.to_pylist() == ["lo", "hi", "top"]


def test_more_categories_than_the_index_can_count_get_a_wider_one(tmp_path: Path):
    """TRAIN holds one category, the log three hundred."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int8()), pa.array(["z"]))
    found = corrected(tmp_path, training(column), history([f"v{i}" for i in range(300)]))["x"]
    assert found.to_pylist() == [f"v{i}" for i in range(300)]


def test_uuids_are_corrected_to_uuids(tmp_path: Path):
    ids = [uuid.UUID(int=i) for i in range(2)]
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([i.bytes for i in ids], pa.binary(16)))
    found = corrected(tmp_path, training(column), history([str(ids[0]), str(ids[0])]))["x"]
    assert found.type == pa.uuid()
    assert found.to_pylist() == [ids[0], ids[0]]


def test_texts_that_are_views_are_texts(tmp_path: Path):
    train = training(pa.array(["a", "b"], pa.string_view()), other=pa.array(["q", None], pa.string_view()))
    found = corrected(tmp_path, train, history(pa.array(["a", "a"], pa.string_view())))
    assert found["x"].to_pylist() == ["a", "a"]
    assert found["other"].to_pylist() == ["q", None]


def test_a_csv_holds_what_is_nested_as_json_and_bytes_as_text(tmp_path: Path):
    nested = {"items": [[1, 2], None], "pair": [{"k": "v" * 300}, {"k": None}], "raw": [b"a", b"\xff"]}
    found = corrected(tmp_path, training([7, 7], **nested), history([7, 7]), "corrected.csv")
    assert found["items"].to_pylist() == ["[1, 2]", ""]
    assert found["pair"][0].as_py() == '{"k": "' + "v" * 300 + '"}'
    assert found["raw"].to_pylist() == ["a", r"\xff"]


def test_thousands_of_features_do_not_cost_the_square(tmp_path: Path):
    """Four times this took the processor two minutes."""
    many = {f"c{i}": [i, i + 1] for i in range(2_500)}
    late = {f"c{i}": [i, i, i + 1] for i in range(2_500)}
    train = write(tmp_path, "train", pa.table({"entity": ["u0", "u1"], "prediction_time": [T, T], **many}))
    times = [BEFORE, BEFORE, AFTER]
    log = write(tmp_path, "log", pa.table({"entity": ["u0", "u1", "u1"], "write_time": times, **late}))
    begin = time.process_time()
    status, _, _ = run(train, "--log", log)
    assert status == 1
    assert time.process_time() - begin < 6


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="this system has no device that is always full")
@pytest.mark.parametrize("option", ["--json", "--html", "--junit", "--cells", "--corrected"])
def test_a_full_disk_is_a_sentence_and_no_finding(option: str, tmp_path: Path):
    """Exit status 1 would say that a leak was found. Through a link, so that no mistake can replace the device."""
    train, log = write(tmp_path, "train", training([7])), write(tmp_path, "log", history([7]))
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    status, _, said = run(train, "--log", log, option, full)
    assert status == 2
    assert f"{full}: expected a place to write to, found: No space left on device" in said


@pytest.mark.parametrize("option", ["--cells", "--corrected"])
def test_a_link_stays_a_link(option: str, tmp_path: Path):
    """What is written half and put into place must not take the place of a link, nor of a device such as /dev/null."""
    train, log = write(tmp_path, "train", training([7])), write(tmp_path, "log", history([7]))
    (tmp_path / "link").symlink_to(tmp_path / "target")
    status, _, _ = run(train, "--log", log, option, tmp_path / "link")
    assert status == 0
    assert (tmp_path / "link").is_symlink()
    assert pq.read_table(tmp_path / "target").num_rows == 1


def test_an_audit_without_standard_output_still_says_by_its_status_what_it_found(tmp_path: Path):
    train, log = write(tmp_path, "train", training([7])), write(tmp_path, "log", history([7], AFTER))
    command = [sys.executable, "-m", "streams.cli.main", "audit", str(train), "--log", str(log)]
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, check=False)
    assert (closed.returncode, closed.stderr) == (1, b"")


def test_true_and_false_on_one_side_are_1_and_0_on_the_other(tmp_path: Path):
    """As two Parquet files they always were; two CSV files say no types."""
    train = training(["True", "False", "False"])
    log = pa.concat_tables([history(["1", "0", "1"]), history(["1", "0", "0"], AFTER)])
    assert words(audit(tmp_path, train, log, csv=True)) == ["PASS", "PASS", "LEAK"]


@pytest.mark.parametrize("name", ["mended.csv.gz", "mended.tsv", "mended.CSV", "mended.csv.zst"])
def test_the_corrected_table_is_written_as_its_name_says_and_read_back(name: str, tmp_path: Path):
    """A Parquet under the name of a packed CSV is of no use to whoever asked for it."""
    log = pa.concat_tables([history([5, 5]), history([7, 7], AFTER)])
    train = write(tmp_path, "train", training([7, 5]))
    again = tmp_path / name
    assert run(train, "--log", write(tmp_path, "log", log), "--corrected", again)[0] == 1
    assert not again.read_bytes().startswith(b"PAR1")
    found = audit(tmp_path, again, log)
    assert words(found) == ["PASS", "PASS"]
