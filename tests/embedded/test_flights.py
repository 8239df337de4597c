"""A year of real flights: exactly the columns that did not exist yet leak, and no schedule column does."""

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from streams.lake.sql import query
from streams.stories import flights

pytestmark = pytest.mark.embedded

LEAKS = {
    "schedule": {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"},
    "departure": {"arr_time", "arr_delay", "air_time"},
}
SOURCES = ("schedule", "aircraft", "departed", "arrived")


def replay(folder: Path, asked: str, files: dict[str, Path]) -> Path:
    """The lake of a replay through the command."""
    lake = folder / f"lake-{asked}"
    command = [sys.executable, "-m", "streams.cli.main", "replay", "--lake", str(lake)]
    for path in flights.configuration(asked):
        command += ["--config", str(path)]
    for name in (*SOURCES, f"at_{asked}"):
        command += ["--source", f"{name}={files[name]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: the judges found something
    return lake


def counts(lake: Path, form: str) -> dict[tuple[str, str], int]:
    """Cells by (feature, verdict), last revision."""
    rows = query(lake, f"SELECT feature, verdict, count(*) FROM verdicts WHERE form = '{form}' GROUP BY ALL").rows
    return {(feature, verdict): n for feature, verdict, n in rows}


def leaking(found: dict[tuple[str, str], int]) -> set[str]:
    return {feature for (feature, verdict), n in found.items() if verdict == "LEAK"}


def check(found: dict[tuple[str, str], int], asked: str, table: pl.DataFrame) -> None:
    """Every cell with a value leaks if it must; NULL of a flight that never left is what was there to be known."""
    assert leaking(found) == LEAKS[asked]
    asked_for = table.filter(pl.col("departed_at").is_not_null()) if asked == "departure" else table
    for feature in LEAKS[asked]:
        assert found[feature, "LEAK"] == asked_for[feature].count()
        assert found.get((feature, "PASS"), 0) == asked_for[feature].null_count()
    for feature in set(flights.COLUMNS) - LEAKS[asked] - {"tailnum"}:
        assert found == found | {(feature, "PASS"): asked_for.height}
    known = asked_for["tailnum"].count()  # nobody wrote down when an aircraft was assigned
    assert found["tailnum", "UNVERIFIABLE"] == known


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return flights.read_flights()


def test_two_hours_before_the_schedule_five_columns_leak(table: pl.DataFrame, tmp_path: Path):
    """All 336,776 flights."""
    assert table.height == 336_776
    files = flights.write(tmp_path, table)
    check(counts(replay(tmp_path, "schedule", files), "served"), "schedule", table)


def test_one_minute_after_departure_three_columns_leak(table: pl.DataFrame, tmp_path: Path):
    """Stamps have a resolution of a minute: the departure itself has just become certain."""
    few = table.sample(40_000, seed=7)
    files = flights.write(tmp_path, few)
    check(counts(replay(tmp_path, "departure", files), "served"), "departure", few)


def test_two_replays_write_the_same_bytes(table: pl.DataFrame, tmp_path: Path):
    """Nothing of the wall clock enters."""
    files = flights.write(tmp_path, table.sample(3_000, seed=2))
    one, other = (replay(tmp_path / name, "schedule", files) for name in ("a", "b"))
    written = sorted(p.relative_to(one) for p in one.glob("*/*.parquet"))
    assert written == sorted(p.relative_to(other) for p in other.glob("*/*.parquet"))
    assert len(written) > 20
    for path in written:
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
