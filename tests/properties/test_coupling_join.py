"""Tier 0 is a join: whatever the order, the batches and the duplicates, the same coincidences remain."""

import random
from collections import defaultdict
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.coupling import ENTITIES_TO_PAGE, Coupling

FEATURES = ["a", "b"]

rows = st.lists(
    st.fixed_dictionaries(
        {
            "clock_domain": st.sampled_from(["d", "e"]),
            "txid": st.sampled_from(["1", "2", "3"]),
            "entity_type": st.just("user"),
            "entity": st.sampled_from("uvwxyz"),
            "is_label": st.booleans(),
            "feature": st.sampled_from([None, "a", "b"]),
            "topic": st.just("cdc"),
            "partition": st.integers(0, 1),
            "offset": st.integers(0, 99),
            "commit_time_us": st.integers(100, 103),
            "lead_us": st.none() | st.integers(1, 9),
        }
    ),
    max_size=30,
)


def fold(told, cuts):
    judge = Coupling("m", FEATURES)
    emitted = [f for a, b in pairwise(cuts) for f in observe(judge, told[a:b])]
    return judge, emitted


def observe(judge, told):
    return judge.observe(pa.RecordBatch.from_pylist(told)) if told else []


def state(judge):
    told = judge.snapshot()
    return sorted(told["open"]), told["proofs"], [judge.finding(f) for f in FEATURES]


def coupled_entities(told, feature):
    """The naive twin: sets of entities per transaction, compared as fractions."""
    found = set()
    by_transaction = defaultdict(list)
    for row in told:
        by_transaction[row["clock_domain"], row["txid"]].append(row)
    for members in by_transaction.values():
        everybody = {r["entity"] for r in members}
        labelled = {r["entity"] for r in members if r["is_label"]}
        changed = {r["entity"] for r in members if r["feature"] == feature}
        others = everybody - labelled
        share_of_others = len(others & changed) / len(others) if others else 0
        if labelled and len(labelled & changed) / len(labelled) > share_of_others:
            found |= labelled & changed
    return found


@settings(deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_shuffled_and_repeated_rows_in_any_batches_leave_the_same_state(told, rng: random.Random):
    again = told + rng.choices(told, k=rng.randrange(10)) if told else []
    rng.shuffle(again)
    cuts = sorted([0, len(again), *(rng.randrange(len(again) + 1) for _ in range(3))])
    assert state(fold(told, [0, len(told)])[0]) == state(fold(again, cuts)[0])


@settings(deadline=None)
@given(rows)
def test_findings_count_what_the_naive_twin_counts(told):
    judge, emitted = fold(told, [0, len(told)])
    for feature in FEATURES:
        expected = coupled_entities(told, feature)
        finding = judge.finding(feature)
        assert (finding.evidence["count"] if finding else 0) == len(expected)
        severity = {str(f.severity) for f in emitted if f.feature == feature}
        assert severity == ({"page" if len(expected) >= ENTITIES_TO_PAGE else "warning"} if expected else set())


@settings(deadline=None)
@given(rows, rows)
def test_restore_in_mid_stream_equals_no_restart(before, after):
    judge, _ = fold(before, [0, len(before)])
    heir = Coupling("m", FEATURES)
    heir.restore(judge.snapshot())
    assert observe(judge, after) == observe(heir, after)
    assert judge.snapshot() == heir.snapshot()
