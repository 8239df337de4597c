"""What must not matter does not: order of rows, number of files, layout, format, units, batches, memory, duplicates."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from streams.audit.request import Request
from tests.streams.audit.asking import audit
from tests.streams.audit.random_files import TIMES, World, world

SECOND = 1_000_000
SEEDS = range(6)
Told = list[tuple[str, int | None]]

TYPES: dict[str, pa.DataType] = {"entity": pa.string(), "op": pa.string(), "feature": pa.string()}


def typed(rows: list[dict[str, Any]], times: pa.DataType | None = None) -> pa.Table:
    """A table whose types do not depend on which rows it has."""
    floats = {"y", "value"}
    fields = []
    for name in rows[0]:
        plain = pa.float64() if name in floats else pa.int64()
        fields.append((name, times if times is not None and name in TIMES else TYPES.get(name, plain)))
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def verdicts(
    folder: Path, big: World, *options: str, csv: bool = False, times: pa.DataType | None = None
) -> list[Told]:
    """(verdict, lead) of every cell, feature by feature."""
    logs = [typed(log, times) for log in big.logs if log]
    found = audit(folder, typed(big.train, times), logs, *big.arguments(), *options, csv=csv)
    assert found.cells is not None, found.err
    return [found.leads(name) for name in ("x", "y")]


def made(seed: int, **fixed: Any) -> World:
    """A world of whole seconds, of all kinds but where `fixed` says otherwise."""
    return world(random.Random(seed), 30, **fixed).rendered(SECOND)


def permuted(told: list[Told], order: list[int]) -> list[Told]:
    return [[column[row] for row in order] for column in told]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_training_rows_does_not_matter(tmp_path: Path, seed: int):
    """Every row is judged on its own."""
    big = made(seed)
    order = random.Random(seed).sample(range(len(big.train)), len(big.train))
    shuffled = replace(big, train=[big.train[row] for row in order])
    assert verdicts(tmp_path, shuffled) == permuted(verdicts(tmp_path, big), order)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_log_rows_does_not_matter_where_a_sequence_orders_them(tmp_path: Path, seed: int):
    """Only ties go by the place in the file, and a sequence has none."""
    big = made(seed, has_seq=True)
    (log,) = big.logs
    shuffled = replace(big, logs=[random.Random(seed).sample(log, len(log))])
    assert verdicts(tmp_path, shuffled) == verdicts(tmp_path, big)


@pytest.mark.parametrize("seed", SEEDS)
def test_several_files_are_one_log(tmp_path: Path, seed: int):
    """Cut anywhere; where the clocks are declared nothing is lost. A file may have rows of some entities only."""
    big = made(seed)
    (log,) = big.logs
    cut = sorted(random.Random(seed).sample(range(1, len(log)), 2))
    split = replace(big, logs=[log[: cut[0]], log[cut[0] : cut[1]], log[cut[1] :]])
    assert verdicts(tmp_path, split) == verdicts(tmp_path, big)


def long(big: World) -> World:
    """The same log, one row per value."""
    (log,) = big.logs
    rows = [
        {name: value for name, value in row.items() if name not in ("x", "y")}
        | {"feature": feature, "value": None if row[feature] is None else float(row[feature])}
        for row in log
        for feature in ("x", "y")
    ]
    return replace(big, logs=[rows])


@pytest.mark.parametrize("seed", SEEDS)
def test_wide_and_long_logs_say_the_same(tmp_path: Path, seed: int):
    """A wide row is a version of each of its columns."""
    big = made(seed, is_long=False)
    assert verdicts(tmp_path, long(big)) == verdicts(tmp_path, big)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wide_log_may_be_two_with_a_column_each(tmp_path: Path, seed: int):
    """As if two services kept one table."""
    big = made(seed, is_long=False)
    (log,) = big.logs
    halves = [[{n: v for n, v in row.items() if n != other} for row in log] for other in ("y", "x")]
    assert verdicts(tmp_path, replace(big, logs=halves)) == verdicts(tmp_path, big)


@pytest.mark.parametrize("seed", SEEDS)
def test_csv_and_parquet_say_the_same(tmp_path: Path, seed: int):
    """Text has no types; what is found in it must not depend on that."""
    big = made(seed)
    assert verdicts(tmp_path, big, csv=True) == verdicts(tmp_path, big)


def in_unit(per_second: int) -> Callable[[int], int]:
    return lambda us: us * per_second // SECOND


@pytest.mark.parametrize("seed", SEEDS[:3])
@pytest.mark.parametrize("per_second", [1, 1_000, 1_000_000_000])
def test_integers_in_any_unit_are_the_same_times(tmp_path: Path, seed: int, per_second: int):
    """Whole seconds, written as seconds, milliseconds or nanoseconds."""
    big = made(seed)
    change = in_unit(per_second)

    def moved(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{n: change(v) if n in TIMES and v is not None else v for n, v in row.items()} for row in rows]

    other = replace(big, train=moved(big.train), logs=[moved(log) for log in big.logs])
    assert verdicts(tmp_path, other) == verdicts(tmp_path, big)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_arrow_timestamps_are_the_same_times(tmp_path: Path, unit: str, zone: str | None):
    """A zone is how a time is shown; without one it is UTC."""
    big = made(2)
    change = in_unit({"s": 1, "ms": 1_000, "us": SECOND, "ns": 1_000_000_000}[unit])

    def moved(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{n: change(v) if n in TIMES and v is not None else v for n, v in row.items()} for row in rows]

    other = replace(big, train=moved(big.train), logs=[moved(log) for log in big.logs])
    assert verdicts(tmp_path, other, times=pa.timestamp(unit, zone)) == verdicts(tmp_path, big)
    assert verdicts(tmp_path, other, times=pa.timestamp(unit, zone), csv=True) == verdicts(tmp_path, big)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rows", [1, 7])
def test_the_size_of_batches_does_not_matter(tmp_path: Path, seed: int, rows: int, monkeypatch: pytest.MonkeyPatch):
    """Also with row groups as small."""
    big = made(seed)
    whole = verdicts(tmp_path, big)
    monkeypatch.setitem(Request.__init__.__kwdefaults__, "batch_rows", rows)
    train, log = tmp_path / "train-groups.parquet", tmp_path / "log-groups.parquet"
    pq.write_table(typed(big.train), train, row_group_size=5)
    pq.write_table(typed(big.logs[0]), log, row_group_size=3)
    found = audit(tmp_path, train, log, *big.arguments())
    assert [found.leads(name) for name in ("x", "y")] == whole


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bound_on_memory_does_not_matter(tmp_path: Path, seed: int):
    """Sorted on disk in many buckets, or in memory at once."""
    big = made(seed)
    whole = verdicts(tmp_path, big)
    assert verdicts(tmp_path, big, "--memory", "2000") == whole
    assert verdicts(tmp_path, big, "--memory", "1") == whole


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicated_rows_of_the_log_change_nothing(tmp_path: Path, seed: int):
    """Delivery is at least once."""
    big = made(seed, has_seq=True)
    rng = random.Random(seed)
    (log,) = big.logs
    twice = [row for row in log for _ in range(rng.choice([1, 1, 2, 3]))]
    assert verdicts(tmp_path, replace(big, logs=[twice])) == verdicts(tmp_path, big)
    assert verdicts(tmp_path, replace(big, logs=[log, rng.sample(log, len(log) // 2)])) == verdicts(tmp_path, big)


@pytest.mark.parametrize("seed", SEEDS)
def test_duplicated_training_rows_are_cells_of_their_own(tmp_path: Path, seed: int):
    """Each gets the verdict of the first."""
    big = made(seed)
    order = [row for row in range(len(big.train)) for _ in range(1 + row % 3)]
    twice = replace(big, train=[big.train[row] for row in order])
    assert verdicts(tmp_path, twice) == permuted(verdicts(tmp_path, big), order)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_corrected_table_holds_nothing_that_could_not_be_known(tmp_path: Path, seed: int):
    """What passes stays; what is put in instead was readable: auditing it again finds no leak and nothing stale."""
    big = made(seed)
    corrected = tmp_path / "corrected.parquet"
    train = typed(big.train)
    before = verdicts(tmp_path, big, "--corrected", str(corrected))
    table = pq.read_table(corrected)
    assert table.schema.equals(train.schema)
    for name, told in zip(("x", "y"), before, strict=True):
        pairs = zip(train.column(name).to_pylist(), table.column(name).to_pylist(), told, strict=True)
        assert all(now == was for was, now, (verdict, _) in pairs if verdict == "PASS")
    again = replace(big, train=table.to_pylist())
    found = verdicts(tmp_path, again, "--corrected", str(tmp_path / "twice.parquet"))
    assert {verdict for told in found for verdict, _ in told} <= {"PASS", "SKEW_AMBIGUOUS", "UNVERIFIABLE"}
    assert pq.read_table(tmp_path / "twice.parquet").equals(table)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_corrected_csv_has_the_rows_and_columns_of_the_table(tmp_path: Path, seed: int):
    """In the order of TRAIN, and the same as the Parquet."""
    big = made(seed)
    verdicts(tmp_path, big, "--corrected", str(tmp_path / "corrected.parquet"))
    verdicts(tmp_path, big, "--corrected", str(tmp_path / "corrected.csv"))
    table = pq.read_table(tmp_path / "corrected.parquet")
    read = pyarrow.csv.read_csv(
        tmp_path / "corrected.csv", convert_options=pyarrow.csv.ConvertOptions(column_types=table.schema)
    )
    assert read.equals(table)
