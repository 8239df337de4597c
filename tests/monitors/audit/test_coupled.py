"""A shared transaction proves the coupling; a job that changes everybody proves nothing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.times import NEVER_US
from monitors.audit import coupled as module
from monitors.audit.coupled import CoupledTransactions, changed
from tests.monitors.audit.pieces import by_entity, shuffled

T = 1_700_000_000_000_000


def columns(rows):
    entity, txid, write, row = (np.array(c) for c in zip(*rows, strict=True))
    return entity.astype(np.uint64), txid.astype(np.uint64), write.astype(np.int64), row.astype(np.int64)


def coupled(labels, changes, **flags):
    """Rows of (entity, txid, write, row); `flags`: features and whether each row changed them (all, unless said)."""
    watch = CoupledTransactions()
    if labels:
        watch.observe_labels(*columns(labels))
    flags = flags or {"last_login": [1] * len(changes)}
    watch.observe_changes(*columns(changes), {name: np.array(f, bool) for name, f in flags.items()})
    return watch.findings()


def cancel(*entities, delay=3_000):
    """Each cancel in a transaction of its own: (label rows, rows of the cleared field)."""
    return [(e, 500 + e, T, 2 * e) for e in entities], [(e, 500 + e, T + delay, 2 * e + 1) for e in entities]


def test_the_first_instance_warns_and_the_third_entity_pages():
    """Case 2: label row and trigger share txid 571; one example is proof."""
    assert [(f.kind, f.subject, str(f.severity)) for f in coupled(*cancel(71))] == [
        ("COUPLED_TX", "last_login", "warning")
    ]
    assert [str(f.severity) for f in coupled(*cancel(1, 2))] == ["warning"]
    (found,) = coupled(*cancel(1, 2, 3))
    assert str(found.severity) == "page"
    assert "3 times, for 3 entities, 3 ms after it (first: row 3 of its log)" in found.message
    assert found.evidence["rows"] == [3, 5, 7]


def test_one_entity_again_and_again_is_no_page():
    labels = [(1, 500 + i, T + i, i) for i in range(9)]
    (found,) = coupled(labels, labels)
    assert (found.evidence["count"], found.evidence["entities"], str(found.severity)) == (9, 1, "warning")


def test_another_transaction_or_entity_couples_nothing():
    labels, changes = cancel(1, 2, 3)
    assert coupled(labels, [(e, tx + 100, *rest) for e, tx, *rest in changes]) == ()
    assert coupled(labels, [(e + 100, tx, *rest) for e, tx, *rest in changes]) == ()
    assert coupled([], changes) == ()


def test_rows_without_a_transaction_couple_nothing():
    labels, changes = cancel(1, 2, 3)
    assert coupled([(e, 0, *r) for e, _, *r in labels], [(e, 0, *r) for e, _, *r in changes]) == ()


def test_a_row_that_rewrites_the_same_value_couples_nothing():
    """Object mappers write all columns; only a change counts."""
    labels, changes = cancel(1, 2, 3)
    found = coupled(labels, changes, last_login=[0, 0, 0], clicks=[0, 1, 0])
    assert [(f.subject, f.evidence["entities"]) for f in found] == [("clicks", 1)]


def test_a_nightly_job_that_changes_everybody_proves_nothing():
    """20 labels and 100 changed rows in one transaction: labelled and others changed alike."""
    labels = [(e, 7, T, e) for e in range(1, 21)]
    job = [(e, 7, T + 5, 1_000 + e) for e in range(1, 101)]
    assert coupled(labels, job, total=[1] * 100) == ()
    others_less = [int(e <= 20 or e % 2 == 0) for e in range(1, 101)]
    assert coupled(labels, job, total=others_less)[0].evidence["entities"] == 20


def test_equal_numbers_of_two_databases_are_not_one_transaction():
    """571 of January and 571 of March."""
    labels, changes = cancel(1, 2, 3, delay=7_200_000_000)
    assert coupled(labels, changes) == ()
    assert len(coupled(labels, [(e, tx, NEVER_US, row) for e, tx, _, row in changes])) == 1


def test_known_label_transactions_change_nothing_but_memory():
    labels, changes = cancel(1, 2, 3)
    watch = CoupledTransactions(label_txids=np.array([501, 503], np.uint64))
    watch.observe_changes(*columns(changes), {"last_login": np.ones(3, bool)})
    watch.observe_labels(*columns(labels))
    assert watch.findings()[0].evidence["rows"] == [3, 7]


def test_a_change_is_a_difference_from_the_version_before():
    start, hashes = np.array([0, 2, 2, 5, 6]), np.array([7, 7, 7, 0, 0, 0], np.uint64)
    assert changed(start, hashes).tolist() == [True, False, True, True, False, False]
    assert changed(np.array([0]), np.array([], np.uint64)).tolist() == []


def test_counts_that_are_added_up_on_the_way_are_the_same(monkeypatch):
    """A log of millions of transactions is added up now and then; one of a bulk transaction must not get lost."""
    monkeypatch.setattr(module, "_WAITING_MAX", 3)
    watch = CoupledTransactions()
    watch.observe_labels(*columns([(e, 7, T, e) for e in range(1, 21)]))
    for e in range(1, 101):
        watch.observe_changes(*columns([(e, 7, T, e), (e, 10**6 + e, T, e)]), {"total": np.ones(2, bool)})
        if e >= 20:  # the labels have come with their entities
            watch.settle()
    assert watch.findings() == ()


def naive(labels, changes, flags):
    """Entities coupled, by counting members in sets."""
    found = set()
    for tx in {row[1] for row in labels} - {0}:
        labelled = {row[0] for row in labels if row[1] == tx}
        members = {row[0] for row in changes if row[1] == tx}
        moved = {row[0] for row, flag in zip(changes, flags, strict=True) if row[1] == tx and flag}
        others = members - labelled
        if not others or len(moved & labelled) / len(labelled) > len(moved & others) / len(others):
            found |= moved & labelled
    return found


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_any_buckets_agree_with_sets(seed, n):
    """Buckets in any order, with several settled apart, over transactions that span them."""
    rng = np.random.default_rng(seed)
    entity, txid = rng.integers(1, 30, n), rng.integers(0, 6, n)
    is_label, flags = rng.random(n) < 0.3, rng.random(n) < 0.5
    rows = [(int(e), int(t), T, i) for i, (e, t) in enumerate(zip(entity, txid, strict=True))]
    labels = [row for row, flag in zip(rows, is_label, strict=True) if flag]
    table = [*columns(rows), is_label, flags]
    watch = CoupledTransactions()
    for e, tx, write, row, label, moved in by_entity(rng, shuffled(rng, table)):
        watch.observe_changes(e, tx, write, row, {"x": moved})
        watch.observe_labels(e[label], tx[label], write[label], row[label])
        watch.settle()
    found = watch.findings()
    assert (found[0].evidence["entities"] if found else 0) == len(naive(labels, rows, flags))
    whole = CoupledTransactions()
    whole.observe_labels(*(c[is_label] for c in table[:4]))
    whole.observe_changes(*table[:4], {"x": flags})
    assert whole.findings() == found
