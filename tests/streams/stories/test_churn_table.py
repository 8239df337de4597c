"""The churn story as files: the leak comes from the join, and is worth what the specification measured."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import comparison
from monitors.audit.inflation import measure
from monitors.audit.outcome import Inflation
from streams.stories import churn_table
from streams.stories.churn_table import ASKED_US, COLUMNS, EXTRACTED_US, LABEL, latest_join, tables

FEATURES = [name for name in COLUMNS if name != LABEL]


def us(table: pa.Table, name: str) -> np.ndarray:
    return table[name].cast(pa.int64()).to_numpy()


def figures(seed: int, rho: float) -> list[float]:
    """AUC and F1 as trained, as of the prediction and deployed, and the share of cells that the join got wrong."""
    train, log = tables(seed=seed, rho=rho)
    honest = latest_join(log, ASKED_US)
    leaky, as_of = ({name: t[name].combine_chunks() for name in FEATURES} for t in (train, honest))
    wrong = [a != b for a, b in zip(leaky["last_login"].to_pylist(), as_of["last_login"].to_pylist(), strict=True)]
    found = measure(
        leaky,
        as_of,
        train[LABEL].combine_chunks(),
        prediction_time_us=us(train, "prediction_time"),
        entity=comparison.entity_hashes(train["user_id"].combine_chunks()),
    )
    assert isinstance(found, Inflation)
    assert found.f1 is not None
    three = [scores for one in (found.scores, found.f1) for scores in (one.leaky, one.as_of, one.deployed)]
    return [*(interval.value for interval in three), float(np.mean(wrong))]


@pytest.mark.parametrize(
    ("rho", "expected"),
    [
        (1.00, [0.997, 0.678, 0.521, 0.996, 0.495, 0.091, 0.3875]),
        (0.50, [0.836, 0.684, 0.681, 0.722, 0.509, 0.325, 0.193]),
        (0.05, [0.704, 0.683, 0.685, 0.526, 0.503, 0.492, 0.021]),
        (0.01, [0.686, 0.683, 0.682, 0.508, 0.496, 0.501, 0.006]),
    ],
)
def test_the_leak_is_worth_what_was_measured(rho: float, expected: list[float]):
    """A regression test, not a prediction: the story was fitted to these figures (see the module), and the seed chosen.

    One test part of 6,000 rows scatters by about 0.007 (AUC) and 0.013 (F1; 0.02 deployed at one half), so of the
    seeds 1 to 20 five hold all 28 figures within 0.02, the worst is off by 0.046, and their mean by 0.013 at most.
    """
    assert figures(seed=1, rho=rho) == pytest.approx(expected, abs=0.02)


def test_one_seed_tells_one_story():
    """Twice the same, byte for byte; and another with another seed."""
    assert tables(seed=3, users=500)[1].equals(tables(seed=3, users=500)[1])
    assert not tables(seed=3, users=500)[1].equals(tables(seed=4, users=500)[1])


def test_a_greater_share_of_triggers_is_the_same_story_with_more_of_them():
    """So that rows of a sweep can be compared one by one."""
    few, many = (tables(seed=3, users=2_000, rho=rho)[0] for rho in (0.05, 0.5))
    cleared = [np.asarray(t["last_login"].is_null().combine_chunks()) for t in (few, many)]
    assert cleared[0].sum() < cleared[1].sum()
    assert not (cleared[0] & ~cleared[1]).any()
    assert few.drop_columns("last_login").equals(many.drop_columns("last_login"))


def test_four_in_ten_cancel_after_the_question():
    """8,140 of 20,000; none of them is cancelled in the log before."""
    train, log = tables(seed=1)
    assert train[LABEL].to_numpy().sum() == 8_140
    cancelled = log.filter(log[LABEL].to_numpy() == 1)
    assert us(cancelled, "write_time").min() > ASKED_US + 5_000_000
    assert us(log, "write_time").max() < EXTRACTED_US


def test_the_training_set_is_the_latest_join_and_nothing_else():
    """A naive twin: walk the log, keep what was written last."""
    train, log = tables(seed=5, users=300, rho=0.5)
    rows = log.to_pylist()
    assert [row["write_time"] for row in rows] == sorted(row["write_time"] for row in rows)
    newest = {row["user_id"]: {name: row[name] for name in COLUMNS} for row in rows}
    found = {row.pop("user_id"): row for row in train.drop_columns("prediction_time").to_pylist()}
    assert found == newest
    assert set(us(train, "prediction_time")) == {ASKED_US}


def test_the_trigger_clears_last_login_in_the_transaction_of_the_cancel():
    """A few milliseconds after the label, same `txid`; each other change has a transaction of its own."""
    _, log = tables(seed=5, users=300)
    by_transaction: dict[int, list[dict]] = {}
    for row in log.to_pylist():
        by_transaction.setdefault(row["txid"], []).append(row)
    pairs = [rows for rows in by_transaction.values() if len(rows) > 1]
    assert len(pairs) == round(0.407 * 300)
    for label, cleared in pairs:
        assert label["user_id"] == cleared["user_id"]
        assert label[LABEL] == cleared[LABEL] == 1
        assert cleared["last_login"] is None
        assert timedelta(milliseconds=1) <= cleared["write_time"] - label["write_time"] < timedelta(milliseconds=9)


def test_times_are_in_their_causal_order():
    """Happened, then written, then readable; and nobody's first row lies after another of theirs."""
    _, log = tables(seed=5, users=2_000, rho=0.5)
    event, write, visible = (us(log, name) for name in ("event_time", "write_time", "visible_time"))
    assert (event < write).all()
    assert (write < visible).all()
    assert not ((write <= ASKED_US) & (visible >= ASKED_US)).any()


def test_a_join_as_of_the_question_has_only_signal(tmp_path):
    """What the corrected table must look like: nobody has cancelled, and NULL are only those who lost it before."""
    _, log = tables(seed=1)
    honest = latest_join(log, ASKED_US)
    assert honest[LABEL].to_numpy().sum() == 0
    assert honest["last_login"].null_count / honest.num_rows == pytest.approx(0.025, abs=0.003)


def test_the_files_are_the_tables_and_their_command_is_told(tmp_path, capsys):
    """What a person types next."""
    assert churn_table.main([str(tmp_path), "--seed", "2", "--rho", "0.5"]) == 0
    said = capsys.readouterr().out.split()
    assert said[:2] == ["tminus", "audit"]
    train, log = tables(seed=2, rho=0.5)
    assert pq.read_table(said[2]).equals(train)
    assert pq.read_table(said[4]).equals(log)
    assert said[5:] == ["--entity", "user_id", "--label", "cancelled"]
