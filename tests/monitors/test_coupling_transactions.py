"""COUPLED_TX: the label and a changed feature in one transaction."""

import json

import duckdb
import pyarrow as pa
import pytest

from monitors import coupling
from monitors.coupling import Coupling

T = 1_700_000_000_000_000


def row(entity, feature=None, *, txid="571", label=False, offset=0, **more):
    return {
        "clock_domain": "db",
        "txid": txid,
        "entity_type": "user",
        "entity": str(entity),
        "is_label": label,
        "feature": feature,
        "commit_time_us": T,
        "topic": "cdc.users",
        "partition": 0,
        "offset": offset,
        "lead_us": None,
        **more,
    }


def batch(*rows):
    return pa.RecordBatch.from_pylist(list(rows))


def cancel(entity, feature="last_login", **more):
    """What the trigger makes: the label row and the cleared field, in one transaction of its own."""
    at = {"txid": f"tx{entity}", "offset": 10 * entity, "commit_time_us": T + entity, "lead_us": 5_003_000, **more}
    return [row(entity, label=True, **at), row(entity, feature, **{**at, "offset": at["offset"] + 1})]


def seen(judge, *rows):
    return [(f.feature, str(f.severity)) for f in judge.observe(batch(*rows))]


def churn(**more):
    return Coupling("churn", ["last_login", "clicks"], **more)


def test_the_first_coincidence_warns_and_the_third_entity_pages():
    """One example is proof; three exclude an accident, and wake somebody."""
    judge = churn()
    assert seen(judge, *cancel(1)) == [("last_login", "warning")]
    assert seen(judge, *cancel(2)) == []
    assert seen(judge, *cancel(3)) == [("last_login", "page")]
    assert seen(judge, *cancel(4)) == []


def test_the_raised_finding_is_the_same_finding_with_its_evidence():
    judge = churn()
    (warning,) = judge.observe(batch(*cancel(1)))
    (page,) = judge.observe(batch(*cancel(3), *cancel(2)))
    assert warning.finding_id == page.finding_id
    assert page.since_us == T + 1
    assert page.evidence == {
        "entities": [["user", "1"], ["user", "2"], ["user", "3"]],
        "count": 3,
        "txids": ["tx1", "tx2", "tx3"],
        "offsets": [["cdc.users", 0, offset] for offset in (10, 11, 20, 21, 30, 31)],
        "leads_ms": [5003.0] * 3,
    }
    json.dumps(page.evidence)


def test_one_row_that_is_both_label_and_change_suffices():
    """The status and the cleared field are often columns of one row."""
    assert seen(churn(), row(1, "last_login", label=True)) == [("last_login", "warning")]


def test_label_and_change_may_come_in_any_order_and_in_different_batches():
    judge = churn()
    assert seen(judge, row(1, "last_login", offset=1)) == []
    assert seen(judge, row(1, label=True, offset=2)) == [("last_login", "warning")]


@pytest.mark.parametrize(
    "other",
    [
        row(1, "last_login", txid="572"),  # the next transaction, one millisecond later
        row(1, "last_login", clock_domain="db2"),  # the same number in another database
        row(2, "last_login"),  # somebody else
        row(1, "shoe_size"),  # no feature of this model
        row(1, "last_login", txid=None),
    ],
)
def test_what_is_not_the_same_transaction_entity_and_feature_is_no_coincidence(other):
    assert seen(churn(), row(1, label=True), other) == []


def test_many_coincidences_of_one_entity_do_not_page():
    """A single customer who cancels every day proves one thing, however often."""
    judge = churn()
    found = [seen(judge, *cancel(1, txid=f"day{day}")) for day in range(5)]
    assert found == [[("last_login", "warning")], [], [], [], []]


def test_a_bulk_transaction_that_changes_everybody_proves_nothing():
    """A nightly job that touches all rows also touches the labelled ones."""
    rows = [row(i, "last_login", label=i < 3, offset=i) for i in range(10)]
    assert seen(churn(), *rows) == []


def test_a_bulk_transaction_counts_if_it_changes_the_labelled_more_often():
    """Here 3 of 3 against 6 of 7: the shares are compared, not the counts."""
    rows = [row(i, None if i == 9 else "last_login", label=i < 3, offset=i) for i in range(10)]
    assert seen(churn(), *rows) == [("last_login", "page")]


def test_a_feature_that_training_joins_as_of_is_told_and_not_acted_on():
    """Its coupling cannot enter the training set, so nobody is woken."""
    judge = churn(as_of=["last_login"])
    assert seen(judge, *cancel(1)) == [("last_login", "info")]
    assert seen(judge, *cancel(2), *cancel(3)) == []


def test_a_snapshot_in_mid_story_changes_nothing():
    """The third entity pages, whether or not the worker was restarted after the second."""
    judge = churn()
    seen(judge, *cancel(1), *cancel(2)[:1])
    heir = churn()
    heir.restore(json.loads(json.dumps(judge.snapshot())))
    assert heir.snapshot() == judge.snapshot()
    assert seen(heir, *cancel(2), *cancel(1)) == []
    assert seen(heir, *cancel(3)) == [("last_login", "page")]


def test_transactions_are_forgotten_at_the_bound_but_not_what_they_proved(monkeypatch):
    """Memory stays bounded over a life of labels; evidence stays."""
    monkeypatch.setattr(coupling, "TRANSACTIONS_MAX", 2)
    judge = churn()
    for entity in range(1, 5):
        judge.observe(batch(*cancel(entity)))
    assert len(judge.snapshot()["open"]) == 2
    assert judge.finding("last_login").evidence["count"] == 4


def test_a_transaction_beyond_the_bound_says_nothing(monkeypatch):
    monkeypatch.setattr(coupling, "TRANSACTION_ENTITIES_MAX", 3)
    judge = churn()
    assert seen(judge, *(row(i, "last_login", label=True, offset=i) for i in range(4))) == []
    assert seen(judge, row(1, "last_login", label=True)) == []
    assert judge.snapshot()["open"] == [["db", "571", True, []]]


def test_members_and_coincidences_have_bounds(monkeypatch):
    monkeypatch.setattr(coupling, "MEMBERS_MAX", 3)
    monkeypatch.setattr(coupling, "COINCIDENCES_MAX", 5)
    judge = churn()
    for entity in range(1, 10):
        judge.observe(batch(*cancel(entity)))
    assert len(judge.snapshot()["open"]) == 3
    assert judge.finding("last_login").evidence["count"] == 5


def test_one_busy_entity_does_not_crowd_out_the_others(monkeypatch):
    """A test account that cancels every day fills the memory; the second and third customer must still page."""
    monkeypatch.setattr(coupling, "COINCIDENCES_MAX", 4)
    judge = churn()
    for day in range(10):
        judge.observe(batch(*cancel(1, txid=f"day{day}")))
    assert seen(judge, *cancel(2), *cancel(3)) == [("last_login", "page")]
    assert sum(len(members) for *_, members in judge.snapshot()["proofs"]["last_login"]) <= 4


def test_bounds_hold_after_a_restart(monkeypatch):
    monkeypatch.setattr(coupling, "MEMBERS_MAX", 3)
    judge, heir = churn(), churn()
    for entity in range(1, 4):
        judge.observe(batch(*cancel(entity)))
    heir.restore(judge.snapshot())
    heir.observe(batch(*cancel(4)))
    assert len(heir.snapshot()["open"]) == 3


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="found none named txid"):
        churn().observe(batch(row(1)).drop_columns(["txid"]))


def test_the_sql_of_a_finding_shows_its_entities():
    """A person pastes it into DuckDB; names with quotes must not break it."""
    judge = Coupling("o'neill", ["it's"])
    (finding,) = judge.observe(batch(*cancel(1, "it's"), *cancel(2, "it's"), *cancel(3, "it's"), row(4, "it's")))
    lake = duckdb.connect()
    rows = pa.table(batch(*cancel(1, "it's"), *cancel(2, "it's"), *cancel(3, "it's"), row(4, "it's")))
    lake.register("coupled", rows.append_column("model", pa.array(["o'neill"] * rows.num_rows)))
    lake.execute(
        "CREATE TABLE verdicts AS SELECT 'o''neill' AS model, 'user' AS entity_type, '2' AS entity, "
        "'it''s' AS feature, 'exposure' AS form, 'LEAK' AS verdict, 5003000 AS lead_us"
    )
    shown = lake.execute(finding.sql).fetchall()
    assert [(entity, lead) for _, entity, *_, lead in shown] == [("1", None), ("2", 5003.0), ("3", None)]
