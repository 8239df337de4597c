"""The flights story as files for `tminus audit`: a training set with the final value of every column, and its logs.

The same flights and the same instants as in `streams.stories.flights`. One log per source, because each knows its
times in its own way: schedules were published a day before (the data do not say when; no later matters here),
departures and arrivals carry their minute, and of the aircraft nobody wrote down when it was assigned. Its rows say
only what is certain: not before the schedule (a lower bound), and no visible time, hence no upper bound. So a tail
number can be neither convicted nor acquitted. Where there is none, every version that could have been read agrees.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from streams.stories.flights import (
    ARRIVED,
    COLUMNS,
    DEPARTED,
    LATE_MINUTES,
    PUBLISHED_BEFORE,
    SCHEDULED,
    read_flights,
)

Asked = Literal["schedule", "departure"]

#: Both are columns of the training set, and neither is a feature: `is_late` is null where a flight never arrived.
LABELS = ("is_late", "cancelled")


def training_set(flights: pl.DataFrame, asked: Asked) -> pl.DataFrame:
    """One row per flight and prediction: two hours before the schedule, or one minute after the departure.

    Columns: `flight_id` (the entity), `prediction_time`, the 19 columns of the data as they stand today, `LABELS`.

    Raises
    ------
    ValueError
        An unknown moment.
    """
    moments = {
        "schedule": pl.col("scheduled_at") - pl.duration(hours=2),
        "departure": pl.col("departed_at") + pl.duration(minutes=1),
    }
    if asked not in moments:
        raise ValueError(f"expected to be asked at one of {', '.join(moments)}, found {asked!r}")
    return (
        flights.with_columns(
            prediction_time=moments[asked],
            is_late=pl.col("arr_delay") > LATE_MINUTES,
            cancelled=pl.col("dep_time").is_null(),
        )
        .filter(pl.col("prediction_time").is_not_null())
        .select("flight_id", "prediction_time", *COLUMNS, *LABELS)
    )


def logs(flights: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The row versions of each source: `flight_id`, `write_time`, for the aircraft `visible_time`, and the values."""
    published = pl.col("scheduled_at") - PUBLISHED_BEFORE
    return {
        "schedule": _written(flights, published, SCHEDULED),
        "aircraft": _written(flights, published, ("tailnum",)).with_columns(
            visible_time=pl.lit(None, pl.Datetime("us")),
        ),
        "departed": _written(flights, pl.col("departed_at"), DEPARTED),
        "arrived": _written(flights, pl.col("arrived_at"), ARRIVED),
    }


def write(folder: Path, flights: pl.DataFrame, asked: Asked) -> tuple[Path, list[Path]]:
    """Write the training set and the logs into `folder` as Parquet: (training set, logs)."""
    folder.mkdir(parents=True, exist_ok=True)
    train = folder / f"at_{asked}.parquet"
    training_set(flights, asked).write_parquet(train)
    paths = []
    for name, frame in logs(flights).items():
        paths.append(folder / f"{name}.parquet")
        frame.write_parquet(paths[-1])
    return train, paths


def arguments(train: Path, paths: Sequence[Path], label: str = "is_late") -> list[str]:
    """What stands behind `tminus audit` for these files."""
    named = [part for path in paths for part in ("--log", str(path))]
    return [str(train), *named, "--entity", "flight_id", "--label", label]


def _written(flights: pl.DataFrame, when: pl.Expr, columns: Sequence[str]) -> pl.DataFrame:
    return (
        flights.with_columns(write_time=when)
        .filter(pl.col("write_time").is_not_null())
        .select("flight_id", "write_time", *columns)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m streams.stories.flights_table FOLDER`: write the files, and say how to audit them."""
    parser = argparse.ArgumentParser(prog="python -m streams.stories.flights_table", description=__doc__)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(argv)
    flights = read_flights()
    asked: Asked
    for asked in ("schedule", "departure"):
        sys.stdout.write(" ".join(["tminus audit", *arguments(*write(options.folder, flights, asked))]) + "\n")
    return 0


if __name__ == "__main__":
    from streams.cli.errors import explained

    with explained() as outcome:
        outcome.status = main()
    raise SystemExit(outcome.status)
