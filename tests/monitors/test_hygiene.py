"""Times that contradict themselves are told, honest ones are left in peace, in whatever pieces they come."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import FOREVER_US, NEVER_US
from monitors.commits import TransactionWatch
from monitors.hygiene import BackstepWatch, CausalWatch, UnitWatch, backstep_us
from tests.monitors.audit.pieces import by_entity, cuts, shuffled

T = 1_700_000_000_000_000
NAMES = ("due_date", "amount", "a", "b", "c", "d", "e")


def kinds(watch, *of):
    return [(f.kind, f.subject, str(f.severity)) for f in watch.findings(*of)]


def test_a_column_that_mixes_units_is_named():
    watch = UnitWatch()
    watch.observe("C: log.csv: write_time", {"ms"})
    watch.observe("C: log.csv: write_time", {"us"})
    (found,) = watch.findings()
    assert (found.kind, found.subject) == ("UNIT_MISMATCH", "write_time")
    assert "C: log.csv mixes ms and us" in found.message


def test_files_that_disagree_about_the_unit_of_a_column_are_named():
    """Both were read by magnitude; still one of them will surprise the next reader."""
    watch = UnitWatch()
    for file, unit in (("b.csv", "s"), ("a.csv", "ns"), ("c.csv", "text")):
        watch.observe(f"{file}: write_time", {unit})
    (found,) = watch.findings()
    assert "ns in a.csv, s in b.csv" in found.message
    assert found.evidence["units"] == {"a.csv": "ns", "b.csv": "s"}


def test_one_unit_is_no_finding_nor_are_dates_beside_texts():
    watch = UnitWatch()
    watch.observe("a.csv: write_time", {"ms"})
    watch.observe("a.csv: event_time", {"us"})
    watch.observe("b.csv: write_time", {"ms"})
    watch.observe("b.csv: event_time", {"date", "text"})
    assert watch.findings() == ()


def causal(event, write, visible, *, features=(0,), forward=(), feature=None, eps=0, res=1):
    watch = CausalWatch("log.csv", NAMES, features, forward)
    columns = [np.array(column, np.int64) for column in (event, write, visible)]
    codes = None if feature is None else np.array(feature, np.int32)
    watch.observe(*columns, np.arange(len(event)), clock_error_us=eps, resolution_us=res, feature=codes)
    return watch


def test_a_due_date_is_future_dated_unless_it_is_declared():
    """Case 10: t_e = T + 5 d, written T - 1 d."""
    row = ([T + 432_000_000_000], [T - 86_400_000_000], [T - 86_400_000_000])
    assert kinds(causal(*row)) == [("FUTURE_DATED", "due_date", "warning")]
    assert "by up to 6 d (first: row 0)" in causal(*row).findings()[0].message
    assert kinds(causal(*row, forward={"due_date"})) == []


@pytest.mark.parametrize(("ahead", "found"), [(10, 0), (11, 0), (12, 1)])
def test_clock_error_and_resolution_are_allowed_for(ahead, found):
    assert len(causal([T + ahead], [T], [T], eps=10, res=1).findings()) == found


def test_missing_times_contradict_nothing():
    rows = ([NEVER_US, T, T], [T, NEVER_US, T], [T, T, FOREVER_US])
    assert kinds(causal(*rows)) == []


def test_rows_of_a_long_log_count_for_their_own_feature():
    found = causal([T + 9, T + 9, T, T + 9], [T] * 4, [T] * 4, feature=[1, 0, 1, -1]).findings()
    assert [(f.subject, f.evidence["rows"]) for f in found] == [("due_date", [1]), ("amount", [0])]


def test_many_features_of_one_row_share_a_finding():
    """Two hundred equal sentences tell nobody anything."""
    watch = causal([T + 9], [T], [T], features=range(7), forward={"amount"})
    (found,) = watch.findings()
    assert found.subject == "log.csv"
    assert "amount" not in found.evidence["features"]


def test_a_row_readable_before_it_was_written_is_told():
    found = causal([T] * 4, [T] * 4, [T - 5_000, T - 1_000, T - 999, T], res=1_000).findings()
    assert [(f.kind, f.evidence["rows"], f.evidence["early_us_max"]) for f in found] == [
        ("VISIBLE_BEFORE_WRITE", [0, 1], 5_000)
    ]


@given(st.integers(0, 2**32), st.integers(0, 60), st.booleans())
def test_causal_findings_do_not_depend_on_pieces_or_order(seed, n, is_long):
    rng = np.random.default_rng(seed)
    event, write, visible = (T + rng.integers(-3, 4, n) for _ in range(3))
    feature = rng.integers(-1, 3, n).astype(np.int32) if is_long else None
    columns = [event, write, visible, np.arange(n), *([] if feature is None else [feature])]

    def run(pieces):
        watch = CausalWatch("log.csv", NAMES, (0, 1), ())
        for e, w, v, row, *code in pieces:
            watch.observe(e, w, v, row, clock_error_us=0, resolution_us=1, feature=code[0] if code else None)
        return watch.findings()

    assert run(cuts(rng, shuffled(rng, columns))) == run([columns])


def test_a_clock_that_steps_back_40_ms_widens_the_error():
    """Case 12: the stamps disprove the declared error, whatever it was."""
    watch = BackstepWatch(("a.csv", "b.csv"))
    start, stamps = np.array([0, 3, 5]), T + np.array([0, 50_000, 10_000, 7, 8])
    watch.observe(start, stamps, np.array([4, 5, 6, 7, 8]), np.array([0, 0, 1, 0, 0], np.int16))
    assert backstep_us(start, stamps) == watch.backstep_us == 40_000
    (found,) = watch.findings(5_000)
    assert found.severity == "warning"
    assert "widened from 5 ms to 40 ms" in found.message
    assert "b.csv, row 6" in found.message
    assert watch.findings(50_000)[0].severity == "info"


def test_the_first_backstep_is_that_of_the_first_file():
    watch = BackstepWatch(("a.csv", "b.csv"))
    watch.observe(np.array([0, 3]), np.array([9, 8, 7]), np.array([0, 2, 5]), np.array([1, 1, 0], np.int16))
    assert "2 stamps" in watch.findings(0)[0].message
    assert "a.csv, row 5" in watch.findings(0)[0].message


def test_a_clock_that_runs_on_is_left_in_peace():
    watch = BackstepWatch(("a.csv",))
    watch.observe(np.array([0, 4, 4]), np.array([T, NEVER_US, T, T + 1]), np.arange(4))
    assert watch.findings(0) == ()
    assert backstep_us(np.array([0]), np.array([], np.int64)) == 0


@given(st.integers(0, 2**32))
def test_the_backstep_is_the_greatest_of_any_pair(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 6, 4)
    start, stamps = np.concatenate([[0], np.cumsum(lengths)]), rng.integers(0, 50, lengths.sum())
    groups = [stamps[a:b].tolist() for a, b in pairwise(start)]
    pairs = [x - y for g in groups for i, x in enumerate(g) for y in g[i:]]
    assert backstep_us(start, stamps) == max(pairs, default=0)


def stamped(*rows, slack=1_000):
    """Rows of (entity, stamp, write[, txid])."""
    watch = TransactionWatch("log.csv", "updated_at")
    entity, stamp, write, txid = (np.array(c) for c in zip(*((*r, 0)[:4] for r in rows), strict=True))
    watch.observe(
        entity.astype(np.uint64), stamp, write, np.arange(len(rows)), slack_us=slack, txid=txid.astype(np.uint64)
    )
    return watch


def test_now_is_the_start_of_the_transaction():
    """Case 6: the trigger's now() says T - 2000 ms, the commit was at T + 2000 ms."""
    watch = stamped((1, T - 9_000_000, T - 9_000_000), (1, T - 2_000_000, T + 2_000_000))
    assert kinds(watch) == [("STAMP_IS_TXN_START", "updated_at", "warning")]
    assert "1 of 2 rows (50 %)" in watch.findings()[0].message
    assert "by up to 4 s (first: row 1)" in watch.findings()[0].message


def test_commit_stamps_are_left_in_peace():
    assert kinds(stamped((1, T, T + 1_000), (1, T + 5_000, T + 5_000), (2, T + 9, T))) == []


def test_a_stamp_that_was_left_alone_is_another_finding():
    """Case 2: the trigger nulls the field and does not touch updated_at; nothing started a transaction a day ago."""
    watch = stamped((1, T - 86_400, T - 86_400), (1, T - 86_400, T + 5_003_000), (2, T - 10**12, T))
    assert kinds(watch) == [("STAMP_UNTOUCHED", "updated_at", "info")]
    assert watch.findings()[0].evidence["rows"] == [1, 2]


def test_rows_of_one_transaction_that_share_the_stamp_are_counted():
    late = 3_000_000
    watch = stamped(
        *((i, T + i // 2, T + i // 2 + late, 1 + i // 2) for i in range(8)),
        (9, T, T + late, 9),
        (10, T + 1, T + late, 9),
    )
    evidence = watch.findings()[0].evidence
    assert (evidence["transactions_sharing"], evidence["transactions_seen"]) == (4, 5)


@given(st.integers(0, 2**32), st.integers(0, 60))
def test_stamp_findings_do_not_depend_on_pieces_or_order(seed, n):
    rng = np.random.default_rng(seed)
    entity, txid = rng.integers(1, 6, n).astype(np.uint64), rng.integers(0, 9, n).astype(np.uint64)
    columns = [entity, T + rng.integers(0, 4, n), T + rng.integers(0, 9, n), np.arange(n), txid]

    def run(pieces):
        watch = TransactionWatch("log.csv", "updated_at")
        for e, stamp, write, row, tx in pieces:
            watch.observe(e, stamp, write, row, slack_us=2, txid=tx)
        return watch.findings()

    assert run(by_entity(rng, shuffled(rng, columns))) == run([columns])
