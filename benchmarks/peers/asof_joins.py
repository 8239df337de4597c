"""What do others say about the cells of a training set? Run in the peers' environment, by `benchmarks.audit`.

`python asof_joins.py PEER COLUMN TRAIN LOG OUT`: joins TRAIN with the newest row of LOG whose COLUMN (`event_time`, as
people usually do, or `write_time`, as the careful do) is not after the prediction, compares every cell with what it
found and writes which differ: bool columns in the order of TRAIN. timefence has an audit of its own; it tells counts.
"""

import json
import sys
import time
from importlib.metadata import version


def main() -> None:
    """Prints one JSON object: versions, seconds of the join and comparison, and what was counted."""
    peer, column, train, log, out = sys.argv[1:]
    begin = time.perf_counter()
    counted = {"duckdb": by_duckdb, "polars": by_polars, "pandas": by_pandas, "timefence": by_timefence}[peer](
        column, train, log, out
    )
    seconds = time.perf_counter() - begin
    print(json.dumps({"version": version(peer), "seconds": seconds, "counted": counted}))


def by_duckdb(column: str, train: str, log: str, out: str) -> None:
    """ASOF LEFT JOIN."""
    import duckdb

    connection = duckdb.connect()
    names = [row[0] for row in connection.execute(f"DESCRIBE FROM '{log}'").fetchall()[3:]]
    differ = ", ".join(f"t.{n} IS DISTINCT FROM l.{n} AS {n}" for n in names)
    connection.execute(
        f"""COPY (SELECT {differ} FROM (SELECT *, row_number() OVER () AS place FROM '{train}') t
        ASOF LEFT JOIN '{log}' l ON t.entity = l.entity AND t.prediction_time >= l.{column}
        ORDER BY place) TO '{out}'"""
    )


def by_polars(column: str, train: str, log: str, out: str) -> None:
    """`join_asof`."""
    import polars as pl

    left = pl.read_parquet(train).with_row_index("place").sort("prediction_time")
    right = pl.read_parquet(log).sort(column)
    names = right.columns[3:]
    joined = left.join_asof(right, left_on="prediction_time", right_on=column, by="entity", suffix="__then")
    differ = [pl.col(n).ne_missing(pl.col(f"{n}__then")).alias(n) for n in names]
    joined.sort("place").select(differ).write_parquet(out)


def by_pandas(column: str, train: str, log: str, out: str) -> None:
    """`merge_asof`."""
    import pandas as pd

    left = pd.read_parquet(train)
    left["place"] = range(len(left))
    right = pd.read_parquet(log).sort_values(column)
    names = list(right.columns[3:])
    joined = pd.merge_asof(
        left.sort_values("prediction_time"),
        right,
        left_on="prediction_time",
        right_on=column,
        by="entity",
        suffixes=("", "__then"),
    ).sort_values("place")
    differ = {n: (joined[n] != joined[f"{n}__then"]) & ~(joined[n].isna() & joined[f"{n}__then"].isna()) for n in names}
    pd.DataFrame(differ).to_parquet(out, index=False)


def by_timefence(column: str, train: str, log: str, out: str) -> dict[str, int]:
    """Its audit by rebuilding, a feature a column; rows per feature that it calls leaky."""
    import duckdb
    import timefence

    names = [row[0] for row in duckdb.execute(f"DESCRIBE FROM '{log}'").fetchall()[3:]]
    source = timefence.Source(path=log, keys="entity", timestamp=column, name="log")
    features = [timefence.Feature(source=source, columns=[n], name=n, on_duplicate="keep_any") for n in names]
    report = timefence.audit(train, features=features, keys="entity", label_time="prediction_time")
    return {name: detail.leaky_row_count for name, detail in report.features.items()}


if __name__ == "__main__":
    main()
