"""The flights story: instants that cannot be wrong by an hour."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.definitions import Definitions
from streams.settings import load_definitions
from streams.stories import flights
from streams.wire.predictions import PredictionDecoder
from streams.wire.records import AT_ITS_OWN_TIME, PlainRecord
from streams.wire.rows import RowDecoder

MINUTE_US = 60_000_000
FEW = 400


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return flights.read_flights()


@pytest.fixture(scope="module")
def written(table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return flights.write(tmp_path_factory.mktemp("flights"), table.sample(FEW, seed=1))


def test_all_flights_are_there_with_their_instants(table: pl.DataFrame):
    """336,776 of them; departure is the schedule plus the delay, whatever the zone and the season."""
    assert table.height == 336_776
    assert table["departed_at"].null_count() == 8_255  # cancelled
    local = table["departed_at"].dt.convert_time_zone("UTC").dt.convert_time_zone("America/New_York")
    clock = (local.dt.hour().cast(pl.Int64) * 100 + local.dt.minute()).replace(0, 2400)
    assert (clock == table["dep_time"]).sum() == table["dep_time"].count()


def test_order_of_a_flight_is_what_the_leaks_rest_on(table: pl.DataFrame):
    """At departure plus one minute nothing of the arrival may exist, and at schedule minus two hours nothing at all."""
    known = table.filter(pl.col("arrived_at").is_not_null())
    assert (known["arrived_at"] - known["departed_at"]).min() >= pl.select(pl.duration(minutes=2)).item()  # type: ignore[operator]
    early = (table["departed_at"] - table["scheduled_at"]).min()
    assert early > pl.select(pl.duration(hours=-2)).item()  # type: ignore[operator]


@pytest.mark.parametrize("asked", ["schedule", "departure"])
def test_every_row_is_what_was_declared(asked: str, written: dict[str, Path]):
    """No dead letter, all nineteen columns, rows in the order of their arrival."""
    definitions = load_definitions(flights.configuration(asked), {})
    model = definitions.models[f"at_{asked}"]
    assert set(model.features) == set(flights.COLUMNS)
    for name in definitions.sources:
        arrivals = _arrivals(definitions, name, written[name])
        assert arrivals == sorted(arrivals)
        assert len(arrivals) == FEW or name != "schedule"


def _arrivals(definitions: Definitions, name: str, path: Path) -> list[int]:
    source = definitions.sources[name]
    kind = PredictionDecoder if definitions.models_of(name) else RowDecoder
    records = [PlainRecord(i, line) for i, line in enumerate(path.read_bytes().splitlines())]
    decoder: Any = kind(definitions, source, home=None)
    found = decoder.sort(records, topic=source.topic, partition=0, received_us=AT_ITS_OWN_TIME)
    assert not found.rejected
    columns = decoder.columns(found)
    batches = [columns] if isinstance(decoder, RowDecoder) else list(columns.values())
    return [at for batch in batches for at in batch.column("ingest_time_us").to_pylist()]


def test_predictions_are_made_when_they_say(written: dict[str, Path]):
    """Two hours before the schedule; one minute after the departure, when its stamp has just become certain."""
    scheduled = {r["flight_id"]: r["scheduled_at"] for r in _lines(written["aircraft"])}
    departed = {r["flight_id"]: r["written_at"] for r in _lines(written["departed"])}
    for row in _lines(written["at_schedule"]):
        assert row["read_time"] == scheduled[int(row["entity"]["flight"])] - 120 * MINUTE_US
    for row in _lines(written["at_departure"]):
        assert row["read_time"] == departed[int(row["entity"]["flight"])] + MINUTE_US


def test_lateness_is_the_label(written: dict[str, Path]):
    """More than fifteen minutes behind schedule at the gate; unknown where the flight was diverted."""
    for row in _lines(written["arrived"]):
        expected = None if row["arr_delay"] is None else row["arr_delay"] > 15
        assert row["is_late"] == expected


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
