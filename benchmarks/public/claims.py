"""Insurance claims: what does a table of accident years know that its first annual statement did not?

The loss reserve database of the Casualty Actuarial Society, as the package `chainladder` ships it: what US insurers
stated for each accident year, at the end of that year and of the nine after it. A figure is revised up to ten times.
Joined naively, an accident year comes with its newest figures; asked is a prediction made on 1 April after the
accident year, a month after the first statement was due: will the losses turn out larger than first stated?
Run it with `python -m benchmarks.public.claims`.
"""

import zipfile
from io import BytesIO
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.public import packages

FEATURES = ("incurred_ratio", "paid_ratio", "bulk_ratio", "earned_premium")


def tables(statements: BytesIO) -> tuple[pl.DataFrame, pl.DataFrame]:
    """TRAIN as a latest join gives it, and LOG with every statement of every accident year.

    Figures are valued at the end of a year and cannot be read before; the annual statement, with its Schedule P, is
    due on 1 March. That it was there by then, the law says, nobody's clock.
    """
    premium, valued = pl.col("EarnedPremNet"), pl.col("DevelopmentYear")
    log = (
        pl.read_csv(statements)
        .filter(premium > 0)
        .select(
            entity=pl.format("{}/{}/{}", "GRCODE", "LOB", "AccidentYear"),
            accident_year="AccidentYear",
            event_time=pl.datetime(pl.col("AccidentYear"), 12, 31, time_zone="UTC"),
            write_time=pl.datetime(valued, 12, 31, time_zone="UTC"),
            visible_time=pl.datetime(valued + 1, 3, 1, time_zone="UTC"),
            incurred_ratio=pl.col("IncurredLosses") / premium,
            paid_ratio=pl.col("CumPaidLoss") / premium,
            bulk_ratio=pl.col("BulkLoss") / premium,
            earned_premium=premium,
        )
        .sort("entity", "write_time")
    )
    worse = pl.col("incurred_ratio").last() > pl.col("incurred_ratio").first()
    newest = [pl.col(name).last() for name in FEATURES]
    train = log.group_by("entity", "accident_year", maintain_order=True).agg(*newest, got_worse=worse)
    asked = pl.datetime(pl.col("accident_year") + 1, 4, 1, time_zone="UTC")
    return train.with_columns(prediction_time=asked).drop("accident_year"), log.drop("accident_year")


def story(folder: Path) -> None:
    (version,) = packages.locked("chainladder")
    wheel = zipfile.ZipFile(packages.from_pypi("chainladder", version, folder))
    train, log = tables(BytesIO(wheel.read("chainladder/utils/data/clrd2025.csv")))
    pq.write_table(train.to_arrow(), folder / "train.parquet")
    pq.write_table(log.to_arrow(), folder / "log.parquet")
    worse = train["got_worse"].sum() / train.height
    print(f"{train.height:,} accident years, {log.height:,} statements, {worse:.1%} got worse")
    packages.show(packages.audited(folder, "--label", "got_worse"))


if __name__ == "__main__":
    packages.run("insurance claims", story, [f"chainladder {v}" for v in packages.locked("chainladder")])
