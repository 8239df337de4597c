"""The churn story, as bytes."""

import itertools
import json
from typing import Any

import pytest

from features.definitions import Definitions
from streams.settings import load_definitions
from streams.stories.churn import CLICKS, USERS, Churn, configuration
from streams.stories.demo import VARIANTS
from streams.wire.records import PlainRecord
from streams.wire.rows import RowDecoder

START_US = 1_700_000_000_000_000


def tell(**changes: Any) -> Churn:
    return Churn(**({"seed": 7, "start_us": START_US, "users": 40} | changes))


def changes_of(story: Churn) -> list[dict[str, Any]]:
    return [json.loads(e.value) for e in story.events() if e.topic == USERS]


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return load_definitions([configuration()], {})


def test_the_same_seed_tells_the_same_story():
    """A run that went wrong can be looked at again."""
    assert list(tell().events()) == list(tell().events())
    assert list(tell(seed=8).events()) != list(tell().events())


def test_records_come_in_the_order_in_which_they_are_due():
    """They are sent as they come; one out of order would wait for its successor."""
    due = [e.due_us for e in tell(trigger_delay_ms=30).events()]
    assert due == sorted(due)
    assert due[0] >= START_US


def test_the_trigger_clears_last_login_in_the_transaction_of_the_cancel():
    """One change event: label and feature share source.txId and the commit time. That is the whole leak."""
    story = tell()
    (first, *_) = [
        c for c in changes_of(story) if c["after"]["status"] == "cancelled" != (c["before"] or {}).get("status")
    ]
    assert first["after"]["user_id"] == story.cancels()[0].user
    assert first["before"]["last_login"] is not None
    assert first["after"]["last_login"] is None
    assert first["source"]["ts_us"] == story.cancels()[0].commit_us


def test_the_late_trigger_needs_a_transaction_of_its_own():
    """Thirty milliseconds later and under another txId nothing proves the coupling: exposure only, no finding."""
    by_user = {
        c["after"]["user_id"]: c for c in changes_of(tell(trigger_delay_ms=30)) if c["after"]["status"] == "cancelled"
    }
    cancel = tell().cancels()[0]
    cleared = by_user[cancel.user]
    assert cleared["before"]["status"] == "cancelled"
    assert cleared["after"]["last_login"] is None
    assert cleared["source"]["ts_us"] == cancel.commit_us + 30_000


def test_without_trigger_nothing_is_cleared_and_without_drift_nothing_grows():
    """The quiet story must give the judges nothing at all to find."""
    quiet = tell(**VARIANTS["quiet"] | {"duration_s": tell().duration_s})
    assert all(c["after"]["last_login"] is not None for c in changes_of(quiet))
    loud = [json.loads(e.value) for e in tell().events() if e.topic == CLICKS]
    calm = [json.loads(e.value) for e in quiet.events() if e.topic == CLICKS]
    drift_us = tell().drift_us
    assert drift_us is not None
    for one, other in zip(loud, calm, strict=True):
        after_us = one["ts"] * 1000 - drift_us
        if abs(after_us) > 1000:  # the stamp is cut to milliseconds
            assert one["amount"] == pytest.approx((2 if after_us > 0 else 1) * other["amount"], abs=0.02)


def test_change_events_look_as_debezium_writes_them():
    """Their shape is a fact about another program; the decoder and the users' pipelines rely on it."""
    snapshot, update = changes_of(tell())[0], next(c for c in changes_of(tell()) if c["op"] == "u")
    assert (snapshot["op"], snapshot["before"], snapshot["source"]["snapshot"]) == ("r", None, "first")
    assert update["transaction"]["id"] == f"{update['source']['txId']}:{update['source']['lsn']}"
    assert update["source"]["ts_us"] // 1000 == update["source"]["ts_ms"] <= update["ts_ms"]
    assert next(e.key for e in tell().events() if e.topic == USERS) == b'{"user_id":1}'


def test_every_record_can_be_decoded_as_declared(definitions: Definitions):
    """A story of dead letters would be told wonderfully fast."""
    events = list(tell().events())
    for name, topic in (("users", USERS), ("clicks", CLICKS)):
        decoder = RowDecoder(definitions, definitions.sources[name], home=None)
        records = [PlainRecord(i, e.value) for i, e in enumerate(e for e in events if e.topic == topic)]
        found = decoder.sort(records, topic=topic, partition=0, received_us=START_US)
        assert decoder.columns(found).num_rows == len(records) > 0
        assert not found.rejected


def test_two_commits_never_share_a_transaction():
    """Entities that share one by accident would be taken for a bulk job."""
    ids = [c["source"]["txId"] for c in changes_of(tell()) if c["op"] == "u"]
    assert all(a < b for a, b in itertools.pairwise(ids))
