"""Rows that could not exist, rows told twice, labels too early, and rows that are missing."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.times import FOREVER_US, NEVER_US
from monitors.audit.rows import LogRows, Predictions, RowChecks
from monitors.audit.survival import chance

T = 1_700_000_000_000_000
SECOND = 1_000_000
DAY = 86_400 * SECOND
UINT64 = np.uint64


def predictions(*rows, **more):
    """Rows of (entity, p) or (entity, p, label)."""
    entity, p, *label = (np.array(c) for c in zip(*rows, strict=True))
    return Predictions(
        entity.astype(UINT64), np.arange(len(rows)), p, p + 1, label[0].astype(UINT64) if label else None, **more
    )


def log(*rows):
    """Rows of (entity, write) or (entity, write, "d"); eps = 0, res = 1 us."""
    entity, write, op = (np.array(c) for c in zip(*((*r, "c")[:3] for r in rows), strict=True))
    n = len(rows)
    return LogRows(entity.astype(UINT64), write, write, write + 1, op == "d", np.arange(n), np.zeros(n, np.int16))


def checked(train, *logs, positive=None, **how):
    checks = RowChecks(("log.csv",), earliest_us=int(train.p_lo_us.min()), latest_us=int(train.p_hi_us.max()), **how)
    checks.observe(train, logs, positive=None if positive is None else np.array(positive, UINT64))
    return checks.findings()


def rows_by_kind(found):
    return {f.kind: f.evidence.get("rows", f.evidence.get("log_rows")) for f in found}


def test_rows_of_entities_that_were_there_are_left_in_peace():
    assert checked(predictions((1, T), (2, T)), log((1, T - DAY), (2, T - 1), (3, T + DAY))) == ()


def test_an_entity_that_no_log_knows_is_unknown():
    (found,) = checked(predictions((1, T), (9, T), (9, T + 1)), log((1, T - DAY)))
    assert (found.kind, found.evidence["rows"], found.evidence["entities"]) == ("ENTITY_UNKNOWN", [1, 2], 1)
    assert "2 of 3 rows (66.7 %)" in found.message
    assert "first: row 1" in found.message


@pytest.mark.parametrize(("write", "found"), [(T - 1, 0), (T, 0), (T + 1, 1)])
def test_an_entity_is_not_there_before_its_first_version_could_be_read(write, found):
    assert len(checked(predictions((1, T)), log((1, write), (1, T + DAY)))) == found


def test_outside_the_log_nothing_is_said_of_entities():
    train = predictions((1, T), (9, T), covered=np.array([False, False]))
    assert checked(train, log((1, T + DAY))) == ()
    assert checked(train, log((1, T - DAY), (1, T - 9, "d"))) == ()


@pytest.mark.parametrize(
    ("later", "kinds"),
    [
        ([], {"ENTITY_DELETED": [0]}),
        ([(1, T + DAY)], {"ENTITY_DELETED": [0]}),  # created again, but after the prediction
        ([(1, T - 5)], {}),  # created again before it
        ([(1, T)], {}),  # perhaps
        ([(1, T - 9, "d")], {"ENTITY_DELETED": [0]}),  # the tombstone
    ],
)
def test_a_deleted_entity_has_no_rows(later, kinds):
    train = predictions((1, T))
    assert rows_by_kind(checked(train, log((1, T - DAY), (1, T - 10, "d"), *later))) == kinds


def test_a_deletion_that_was_perhaps_not_yet_visible_proves_nothing():
    assert checked(predictions((1, T)), log((1, T - DAY), (1, T, "d"))) == ()


def test_a_log_that_begins_with_the_deletion_knew_the_entity():
    assert checked(predictions((1, T)), log((1, T + DAY, "d"))) == ()


def test_duplicates_are_told_and_conflicting_labels_warned_of():
    train = predictions((1, T, 5), (2, T, 5), (1, T, 6), (2, T, 5), (2, T, 0), (1, T + 1, 7))
    found = checked(train, log((1, T - 9), (2, T - 9)))
    assert rows_by_kind(found) == {"DUPLICATE_ROWS": [2, 3, 4], "CONFLICTING_LABELS": [2]}
    assert [(str(f.severity), f.evidence["pairs"]) for f in found] == [("info", 2), ("warning", 1)]


def test_a_label_needs_its_horizon_before_the_extraction():
    train = predictions((1, T, 5), (1, T + 1, 5), (1, T + 2, 0))
    how = {"horizon_us": 30 * DAY, "extracted_us": T + 30 * DAY}
    assert rows_by_kind(checked(train, log((1, T - 9)), **how)) == {"LABEL_IMMATURE": [1]}
    assert checked(train, log((1, T - 9)), horizon_us=30 * DAY) == ()


def test_label_times_lie_between_prediction_and_extraction():
    times = np.array([T - 1, T - 1, T + DAY, T + DAY + 1, NEVER_US])
    train = predictions(*((1, T - k, 5) for k in (0, 1, 2, 3, 4)), label_time_us=times)
    found = checked(train, log((1, T - 99)), extracted_us=T + DAY)
    assert rows_by_kind(found) == {"LABEL_IMMATURE": [3], "LABEL_BEFORE_PREDICTION": [0]}


def people(n, *, deleted=(), at=T + SECOND):
    return log(*((e, T - DAY) for e in range(1, n + 1)), *((e, at, "d") for e in deleted))


def test_a_deleted_entity_without_a_row_is_a_lost_positive():
    """Case 11: deleted at T + 1000 ms, then a tombstone; the training table lacks it."""
    gone = log((1, T - DAY), (2, T - DAY), (2, T + SECOND, "d"), (2, T + SECOND, "d"))
    (found,) = checked(predictions((1, T)), gone, positive=[2])
    assert (found.kind, str(found.severity)) == ("ROW_EXISTENCE", "warning")
    assert (found.evidence["entities"], found.evidence["lost_positives"], found.evidence["log_rows"]) == (1, 1, [2])
    assert "log.csv, row 2" in found.message


def test_a_changed_key_is_no_deletion():
    """Case 11: delete and create in one instant, linked to one entity by the caller."""
    assert checked(predictions((1, T)), log((1, T - DAY), (1, T - SECOND // 2, "d"), (1, T - SECOND // 2))) == ()


def test_deleted_entities_with_rows_are_no_survivors():
    assert checked(predictions((1, T), (2, T)), people(2, deleted=[2])) == ()


def test_who_came_back_is_among_the_living():
    back = log((1, T - DAY), (2, T - DAY), (2, T + SECOND, "d"), (2, T + 2 * SECOND))
    assert checked(predictions((1, T)), back) == ()


def test_entities_gone_before_the_first_or_born_after_the_last_prediction_are_not_missed():
    assert (
        checked(predictions((1, T)), log((1, T - DAY), (2, T - DAY), (2, T - 9, "d"), (3, T + 1), (3, T + 9, "d")))
        == ()
    )


def test_who_left_between_two_predictions_is_only_mentioned():
    """Each entity may have been asked about once, at a random time: then a missing one proves nothing."""
    train = predictions((1, T), (2, T + DAY))
    (found,) = checked(train, people(3, deleted=[3]))
    assert str(found.severity) == "info"
    assert checked(train, people(4, deleted=[3])) == ()  # one of the living is missing as well


def test_missing_deletions_stand_out_among_missing_others():
    train = predictions(*((e, T) for e in range(1, 81)))
    (found,) = checked(train, people(110, deleted=range(91, 111)))  # 10 of 90 others are missing, 20 of 20 deleted
    assert found.evidence["p_value"] < 1e-10
    assert checked(train, people(110, deleted=[5, 6, 7, 8, 109, 110])) == ()


def test_fair_samples_of_users_raise_no_alarm():
    """1,000 tables of a tenth to nine tenths of 300 users, 60 of whom leave later; stated chance: 1e-4 each."""
    alarms = 0
    for seed in range(1_000):
        rng = np.random.default_rng(seed)
        chosen = np.flatnonzero(rng.random(300) < rng.uniform(0.1, 0.9)) + 1
        alarms += bool(checked(predictions(*((e, T) for e in chosen)), people(300, deleted=range(1, 61))))
    assert alarms == 0


def test_the_chance_is_the_hypergeometric_tail():
    hypergeom = pytest.importorskip("scipy.stats").hypergeom
    for missing, deleted, living_missing, living in [(3, 3, 1, 10), (20, 60, 30, 300), (500, 900, 4_000, 9_000)]:
        exact = hypergeom.sf(missing - 1, deleted + living, deleted, missing + living_missing)
        assert chance(missing, deleted, living_missing, living) == pytest.approx(exact, rel=1e-6)
    assert chance(1, 10, 100, 1_000) == 1


def some(table, at):
    columns = {f.name: getattr(table, f.name) for f in fields(table)}
    return type(table)(**{name: column if column is None else column[at] for name, column in columns.items()})


def naive_deleted(train, rows):
    """Rows of TRAIN whose entity was surely deleted: the deletion certain, and no later version possible."""
    order = np.argsort(rows.order, kind="stable").tolist()
    found = []
    for c in range(train.row.size):
        mine = [r for r in order if rows.entity[r] == train.entity[c]]
        for k, r in enumerate(mine):
            back = [x for x in mine[k:] if not rows.is_delete[x] and rows.a_us[x] < train.p_hi_us[c]]
            if rows.is_delete[r] and rows.b_us[r] <= train.p_lo_us[c] and not back:
                found.append(int(train.row[c]))
                break
    return found


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 60))
def test_buckets_and_the_order_of_predictions_change_nothing(seed, n, m):
    rng = np.random.default_rng(seed)
    p = T + rng.integers(0, 20, n)
    train = Predictions(
        rng.integers(1, 9, n).astype(UINT64), np.arange(n), p, p + 1,
        rng.integers(0, 3, n).astype(UINT64), np.where(rng.random(n) < 0.5, p + rng.integers(-3, 9, n), NEVER_US),
    )  # fmt: skip
    write = T + rng.integers(-10, 25, m)
    rows = LogRows(
        rng.integers(1, 12, m).astype(UINT64), write, write, np.where(rng.random(m) < 0.1, FOREVER_US, write + 1),
        rng.random(m) < 0.3, np.arange(m), (np.arange(m) % 2).astype(np.int16),
    )  # fmt: skip

    def run(buckets, shuffle):
        checks = RowChecks(("a", "b"), earliest_us=T, latest_us=T + 20, extracted_us=T + 18, horizon_us=5)
        for bucket in buckets:
            at = np.flatnonzero(np.isin(train.entity % 3, bucket))
            at = rng.permutation(at) if shuffle else at
            checks.observe(
                some(train, at), [some(rows, np.isin(rows.entity % 3, bucket))], positive=np.array([3], UINT64)
            )
        return checks.findings()

    whole = run([(0, 1, 2)], False)
    assert run([(2,), (0,), (1,)], True) == whole
    deleted = rows_by_kind(whole).get("ENTITY_DELETED", [])
    assert deleted == naive_deleted(train, rows)[:10]
