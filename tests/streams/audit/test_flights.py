"""A year of real flights as files: exactly the columns that did not exist yet leak, and no schedule column does."""

import json
from pathlib import Path

import polars as pl
import pytest

from streams.stories import flights, flights_table
from tests.streams.audit.asking import run

LEAKS = {
    "schedule": {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"},
    "departure": {"arr_time", "arr_delay", "air_time"},
}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return flights.read_flights()


def check(folder: Path, table: pl.DataFrame, asked: flights_table.Asked) -> None:
    """Audit, and compare every count with what the data say themselves."""
    status, report = audited(*flights_table.write(folder, table, asked))
    assert status == 1
    asked_for = table.filter(pl.col("departed_at").is_not_null()) if asked == "departure" else table
    assert set(report["features"]) == set(flights.COLUMNS)
    for name, feature in report["features"].items():
        counts = {word: n for word, n in feature["counts"].items() if n}
        values, nulls = asked_for[name].count(), asked_for[name].null_count()
        if name in LEAKS[asked]:  # NULL of a flight that never left is what was there to be known
            expected = {"LEAK": values, "PASS": nulls}
        elif name == "tailnum":
            expected = {"UNVERIFIABLE": values, "PASS": nulls}
        else:
            expected = {"PASS": asked_for.height}
        assert counts == {word: n for word, n in expected.items() if n}, name


def audited(train: Path, logs: list[Path], *options: str) -> tuple[int, dict]:
    """Exit status and report. No label: what the leak is worth is measured elsewhere, and would take a minute."""
    arguments = flights_table.arguments(train, logs)
    at = arguments.index("--label")
    status, out, err = run(*arguments[:at], *options, "--json", "-")
    assert out, err
    return status, json.loads(out)


def test_two_hours_before_the_schedule_five_columns_leak(table, tmp_path):
    """All 336,776 flights."""
    assert table.height == 336_776
    check(tmp_path, table, "schedule")


def test_one_minute_after_the_departure_three_columns_leak(table, tmp_path):
    """Stamps have a resolution of a minute: the departure itself has just become certain."""
    check(tmp_path, table.sample(40_000, seed=7), "departure")


def test_where_there_is_no_tail_number_the_flight_was_cancelled(table, tmp_path):
    """2,512 of 2,512: no clock can convict the column, and the hint says how it could give the label away."""
    files = flights_table.write(tmp_path, table, "schedule")
    status, report = audited(*files, "--label", "cancelled", "--feature", "tailnum", "--fail-on", "unverifiable")
    assert status == 1
    assert report["features"]["tailnum"]["verdict"] == "UNVERIFIABLE"
    assert report["features"]["tailnum"]["reasons"] == {"no_upper_bound": 334_264}
    (hint,) = (finding for finding in report["findings"] if finding["kind"] == "TOO_GOOD")
    assert hint["subject"] == "tailnum"
    assert "NULL in 2,512 rows, all of them positive" in hint["message"]


def test_the_command_for_the_files_is_told(tmp_path, capsys, table, monkeypatch):
    """What a person types next."""
    monkeypatch.setattr(flights_table, "read_flights", lambda: table.head(10))
    assert flights_table.main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"tminus audit {tmp_path / 'at_schedule.parquet'} --log ")
    assert all(Path(part).exists() for part in told.split() if part.startswith(str(tmp_path)))
