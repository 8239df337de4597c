"""The churn story as files for `tminus audit`: a training set that scores too well, and the log of its table.

Every week, at `ASKED_US`, a model is asked who will cancel. The training set is made an hour later by taking each
user's row as it stands then (`latest_join`). But when a subscription is cancelled, a database trigger clears
`last_login` a few milliseconds later, in the same transaction: the training set holds the consequence of its label.

Nothing here plants a leak into a table. Users log in, open tickets and cancel, each change is a row of the log, and
the training set is what the join returns.

What can honestly be known: a third of those who will cancel have drifted off, so their last login is longer ago
(`_DRIFTED`), and some had asked to be forgotten before (`_FORGOTTEN`), which cleared `last_login` as well. Plan,
country, age of the account and tickets say nothing about the label.

These numbers were chosen so that the small model of `monitors.audit.inflation` comes near the figures that the story
was first measured with, and not the honest ones alone: how many were forgotten follows the score deployed when every
cancel meets the trigger, and the shape of the drift also F1 when half of them do. A plain shift of all who cancel,
fitted to the honest AUC and F1 only, gives the other figures within 0.02, and at one half an F1 of 0.70 instead of
0.72 leaky and of 0.24 instead of 0.33 deployed.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Int64 = npt.NDArray[np.int64]

#: When the model is asked, and when the training set is made: microseconds UTC.
ASKED_US = 1_700_000_000_000_000
EXTRACTED_US = ASKED_US + 3_600_000_000

#: Share of the users who cancel within the hour.
CANCELLED = 0.407
#: Share of the users whose `last_login` is lost for other reasons; for a tenth of them only after the question.
_LOST = 0.01
#: Share of those who cancel who had asked to be forgotten before the question.
_FORGOTTEN = 0.039
#: Hours since the last login are log-normal: median and standard deviation of those who stay.
_HOURS, _SPREAD = 96.0, 1.1
#: Share of those who cancel who have drifted off; how many standard deviations longer ago their last login is, and
#: that of the others; how much less the drifted ones differ among themselves.
_DRIFTED, _DRIFTED_BY, _OTHERS_BY, _DRIFTED_SPREAD = 0.35, 1.5, 0.21, 0.7

PLANS = ("basic", "family", "pro")
COUNTRIES = ("AT", "BR", "DE", "FR", "IN", "JP", "KE", "US")
#: Columns of the table `users` beside its key; `LABEL` is one of them.
COLUMNS = ("last_login", "signed_up", "plan", "country", "tickets", "cancelled")
LABEL = "cancelled"

_MS, _S, _MIN, _HOUR, _DAY = 1_000, 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
_TIME = pa.timestamp("us", "UTC")


def tables(*, seed: int, rho: float = 1.0, users: int = 20_000) -> tuple[pa.Table, pa.Table]:
    """The training set and the log.

    TRAIN has one row per user: `user_id`, `prediction_time`, `COLUMNS`. LOG has one row per change, in the order of
    writing: `user_id`, `event_time`, `write_time`, `visible_time`, `txid`, and the user's whole row after it. Times
    are timestamps in microseconds UTC.

    Parameters
    ----------
    rho
        The chance that a cancel meets the trigger. A greater one tells the same story with more cancels that do.

    Examples
    --------
    >>> train, log = tables(seed=1, users=1_000)
    >>> int(train["cancelled"].to_numpy().sum()), train["last_login"].null_count
    (407, 410)
    >>> honest, _ = tables(seed=1, users=1_000, rho=0.0)
    >>> honest["last_login"].null_count
    22
    """
    log = _log(_changes(seed, rho, users))
    return latest_join(log), log


def latest_join(log: pa.Table, extracted_us: int = EXTRACTED_US) -> pa.Table:
    """Each user's row as it stands at the extraction, asked at `ASKED_US`: the join that most people write.

    Examples
    --------
    >>> _, log = tables(seed=1, users=100)
    >>> int(latest_join(log, ASKED_US)["cancelled"].to_numpy().sum())  # an as-of join: nobody has cancelled yet
    0
    """
    written = log.filter(pc.less_equal(log["write_time"].cast(pa.int64()), extracted_us))
    user = written["user_id"].to_numpy()
    _, from_behind = np.unique(user[::-1], return_index=True)
    newest = written.take(pa.array(user.size - 1 - from_behind))
    asked = pa.array(np.full(newest.num_rows, ASKED_US)).cast(_TIME)
    return newest.select(["user_id", *COLUMNS]).add_column(1, "prediction_time", asked)


def write(folder: Path, *, seed: int, rho: float = 1.0, users: int = 20_000) -> tuple[Path, Path]:
    """Write both tables into `folder` as Parquet: (training set, log)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "churn_train.parquet", folder / "churn_log.parquet"
    for path, table in zip(paths, tables(seed=seed, rho=rho, users=users), strict=True):
        pq.write_table(table, path)
    return paths


def arguments(train: Path, log: Path) -> list[str]:
    """What stands behind `tminus audit` for these files."""
    return [str(train), "--log", str(log), "--entity", "user_id", "--label", LABEL]


@dataclass(frozen=True, slots=True)
class _Change:
    """Some columns of some users, each user at a moment of its own; `None` sets NULL."""

    user: Int64
    event_us: Int64
    write_us: Int64
    values: dict[str, Int64 | None]


def _changes(seed: int, rho: float, users: int) -> list[_Change]:
    """All that happens, in no particular order."""
    chance = _chance(seed, "users")
    everybody = np.arange(users)
    leaves = np.zeros(users, np.bool_)
    leaves[chance.permutation(users)[: round(CANCELLED * users)]] = True

    login_us = ASKED_US - _away_us(chance, leaves)
    signed_us = login_us - (chance.uniform(2, 700, users) * _DAY).astype(np.int64)
    earlier_us = signed_us + (chance.uniform(0.1, 0.9, users) * (login_us - signed_us)).astype(np.int64)
    signed = {
        "last_login": signed_us,
        "signed_up": signed_us,
        "plan": chance.choice(3, users, p=[0.6, 0.3, 0.1]),
        "country": chance.integers(0, len(COUNTRIES), users),
        "tickets": np.zeros(users, np.int64),
        "cancelled": np.zeros(users, np.int64),
    }
    found = [_made(chance, everybody, signed_us, dict(signed))]
    found += [_made(chance, everybody, at_us, {"last_login": at_us}) for at_us in (earlier_us, login_us)]
    found += _tickets(chance, signed_us)
    found += _lost(_chance(seed, "lost"), leaves, login_us)
    found += _cancels(_chance(seed, "cancels"), np.flatnonzero(leaves), rho)
    return found


def _away_us(chance: np.random.Generator, leaves: npt.NDArray[np.bool_]) -> Int64:
    drifted = leaves & (chance.random(leaves.size) < _DRIFTED)
    usual = chance.standard_normal(leaves.size)
    depth = np.where(drifted, _DRIFTED_BY + _DRIFTED_SPREAD * usual, usual + _OTHERS_BY * leaves)
    return np.clip(_HOURS * np.exp(_SPREAD * depth) * _HOUR, 10 * _MIN, 600 * _DAY).astype(np.int64)


def _tickets(chance: np.random.Generator, signed_us: Int64) -> list[_Change]:
    """A third of the users open a ticket, half of these another one, before the question."""
    first = np.flatnonzero(chance.random(signed_us.size) < 1 / 3)
    at_us = _between(chance, signed_us[first] + _HOUR, ASKED_US - _HOUR)
    again = chance.random(first.size) < 0.5
    later_us = _between(chance, at_us, ASKED_US - 2 * _MIN)[again]
    return [
        _made(chance, first, at_us, {"tickets": np.ones(first.size, np.int64)}),
        _made(chance, first[again], later_us + _MIN, {"tickets": np.full(later_us.size, 2)}),
    ]


def _lost(chance: np.random.Generator, leaves: npt.NDArray[np.bool_], login_us: Int64) -> list[_Change]:
    """Who asked to be forgotten, and who lost `last_login` in a clean-up: before the question, or in the hour after."""
    draw = chance.random(leaves.size)
    asked = np.flatnonzero((chance.random(leaves.size) < _FORGOTTEN) & leaves | (draw < 0.9 * _LOST))
    after = np.flatnonzero((draw >= 0.9 * _LOST) & (draw < _LOST))
    before_us = _between(chance, login_us[asked] + _MIN, ASKED_US - _MIN)
    after_us = _between(chance, np.full(after.size, ASKED_US + _S), EXTRACTED_US - _S)
    return [
        _made(chance, asked, before_us, {"last_login": None}),
        _made(chance, after, after_us, {"last_login": None}),
    ]


def _cancels(chance: np.random.Generator, who: Int64, rho: float) -> list[_Change]:
    """The label, and what the trigger does in the same transaction."""
    at_us = _between(chance, np.full(who.size, ASKED_US + 5 * _S), EXTRACTED_US - _MIN)
    met = chance.random(who.size) < rho
    label = _made(chance, who, at_us, {"cancelled": np.ones(who.size, np.int64)})
    cleared_us = label.write_us + chance.integers(1 * _MS, 9 * _MS, who.size)
    return [label, _Change(who[met], at_us[met], cleared_us[met], {"last_login": None})]


def _made(chance: np.random.Generator, user: Int64, event_us: Int64, values: dict[str, Int64 | None]) -> _Change:
    """A change that is written a few milliseconds after it happened."""
    return _Change(user, event_us, event_us + chance.integers(1 * _MS, 20 * _MS, user.size), values)


def _log(changes: Sequence[_Change]) -> pa.Table:
    """Every change as the user's whole row after it, in the order of writing."""
    user = np.concatenate([change.user for change in changes])
    event_us = np.concatenate([change.event_us for change in changes])
    write_us = np.concatenate([change.write_us for change in changes])
    by_user = np.lexsort((write_us, user))
    by_time = np.argsort(write_us[by_user], kind="stable")
    rows = by_user[by_time]
    # A user has one transaction per event: what the trigger does happens in the one of its cancel.
    _, first, transaction = np.unique(
        np.stack([user, event_us], axis=1)[rows], axis=0, return_index=True, return_inverse=True
    )
    number = np.empty(first.size, np.int64)
    number[np.argsort(first)] = np.arange(first.size)
    acknowledged_us = write_us + 2 * _MS + (event_us * 7 + user * 13) % (10 * _MS)
    columns = {
        "user_id": pa.array(user[rows] + 1),
        "event_time": pa.array(event_us[rows]).cast(_TIME),
        "write_time": pa.array(write_us[rows]).cast(_TIME),
        "visible_time": pa.array(acknowledged_us[rows]).cast(_TIME),
        "txid": pa.array(number[transaction.ravel()] + 501),
    }
    for name in COLUMNS:
        values, is_null = _carried(changes, name, user, by_user)
        columns[name] = _typed(name, values[by_time], is_null[by_time])
    return pa.table(columns)


def _carried(changes: Sequence[_Change], name: str, user: Int64, by_user: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """One column after each change, users one after the other: what was not set stays what it was."""
    is_set = np.concatenate([np.full(change.user.size, name in change.values) for change in changes])[by_user]
    values, nulls = [], []
    for change in changes:
        value = change.values.get(name)
        values.append(np.zeros(change.user.size, np.int64) if value is None else value)
        nulls.append(np.full(change.user.size, value is None))
    # The first change of every user sets all columns, so nothing is carried from one user to the next.
    last = np.maximum.accumulate(np.where(is_set, np.arange(user.size), 0))
    return np.concatenate(values)[by_user][last], np.concatenate(nulls)[by_user][last]


def _typed(name: str, values: Int64, is_null: npt.NDArray[np.bool_]) -> pa.Array:
    if name in ("last_login", "signed_up"):
        return pa.array(values, mask=is_null).cast(_TIME)
    names = {"plan": PLANS, "country": COUNTRIES}.get(name)
    return pa.array(values) if names is None else pa.array(np.array(names, object)[values], pa.string())


def _between(chance: np.random.Generator, low_us: Int64, high_us: int) -> Int64:
    return np.asarray(low_us + (chance.random(low_us.size) * (high_us - low_us)).astype(np.int64), np.int64)


def _chance(seed: int, what: str) -> np.random.Generator:
    # One source of chance per part of the story: with another trigger, nothing else changes.
    return np.random.default_rng([seed, *what.encode()])


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m streams.stories.churn_table FOLDER`: write the files, and say how to audit them."""
    parser = argparse.ArgumentParser(prog="python -m streams.stories.churn_table", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rho", type=float, default=1.0, help="share of the cancels that clear last_login")
    options = parser.parse_args(argv)
    paths = write(options.folder, seed=options.seed, rho=options.rho)
    sys.stdout.write(" ".join(["tminus audit", *arguments(*paths)]) + "\n")
    return 0


if __name__ == "__main__":
    from streams.cli.errors import explained

    with explained() as outcome:
        outcome.status = main()
    raise SystemExit(outcome.status)
