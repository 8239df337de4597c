"""What a leak is worth, told only where it was measured."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.streams.audit.asking import audit

T = 1_700_000_000_000


def story(seed: int = 1, users: int = 600) -> tuple[pa.Table, pa.Table]:
    """Users of whom a third leave; leaving clears `seen` a second after the prediction."""
    random = np.random.default_rng(seed)
    leaves = random.random(users) < 0.33
    seen = random.integers(1, 100, users) - 20 * leaves
    train = {"entity": range(users), "prediction_time": [T] * users, "left": leaves.astype(int)}
    now = pa.array(seen, mask=leaves)
    before = {"entity": range(users), "write_time": [T - 5_000] * users, "seen": seen}
    gone = np.flatnonzero(leaves)
    after = {"entity": gone, "write_time": [T + 1_000] * gone.size, "seen": pa.nulls(gone.size, pa.int64())}
    return pa.table(train | {"seen": now}), pa.concat_tables([pa.table(before), pa.table(after)])


def test_a_leak_is_worth_the_difference(tmp_path: Path):
    """The nulls give the label away; what was known does not, and production will not see them."""
    train, log = story()
    found = audit(tmp_path, train, log, "--label", "left").report["inflation"]
    assert found["leaky"] > 0.95
    assert found["deployed"] < found["as_of"] + 0.05 < 0.9


def test_ignorance_is_not_measured_as_if_it_were_null(tmp_path: Path):
    """Without any upper bound nobody knows what was readable: an as-of score of 0.5 would be made up."""
    train, log = story()
    found = audit(tmp_path, train, log, "--label", "left", "--visible-time", "none").report
    assert found["inflation"] is None
    assert "is not known" in found["inflation_note"]


def test_a_feature_that_nobody_can_vouch_for_is_left_out_and_named(tmp_path: Path):
    """One column without evidence does not keep the others from being measured."""
    train, log = story()
    train = train.append_column("plan", pa.array(["a"] * train.num_rows))
    other = pa.table({"entity": range(train.num_rows), "write_time": [T - 9_000] * train.num_rows})
    other = other.append_column("visible_time", pa.nulls(train.num_rows, pa.int64()))
    other = other.append_column("plan", pa.array(["a"] * train.num_rows))
    log = log.append_column("visible_time", log.column("write_time"))
    found = audit(tmp_path, train, [log, other], "--label", "left").report
    assert found["inflation"]["leaky"] > 0.95
    assert "without plan" in found["inflation_note"]
