"""One partition group: the order between its logs is accidental and must not matter."""

import json

import pytest

from features.declare import declare
from features.times import FOREVER_US
from streams.pipeline.entity import EntityPartition
from streams.wire.outgoing import Written
from streams.wire.records import PlainRecord
from streams.wire.rows import RowDecoder

DECLARED = {
    "run": {"partitions": 1},
    "source": {"users": {"topic": "users", "entity": {"user": "id"}, "event_time": "ts"}},
    "feature": {"plan": {"source": "users", "column": "plan"}},
}
NOW_US = 1_700_000_000_000_000
LOG, WITNESSES = "users/0", "tminus.written/0"


def begin(witnessed=True):
    definitions = declare([("tminus.toml", DECLARED)])
    state = EntityPartition(definitions, 0, generation=1, witnessed=witnessed)
    state.attach(LOG, "users")
    state.attach(WITNESSES, None)
    return state


def rows(state, first, plans):
    """Rows of one entity from offset `first` on, applied."""
    source = state.definitions.sources["users"]
    decoder = RowDecoder(state.definitions, source, home=0)
    values = [json.dumps({"id": 7, "ts": NOW_US + first + i, "plan": plan}).encode() for i, plan in enumerate(plans)]
    records = [PlainRecord(first + i, value) for i, value in enumerate(values)]
    found = decoder.sort(records, topic="users", partition=0, received_us=NOW_US)
    return state.on_rows("users", LOG, found, decoder.columns(found), first + len(plans))


def witness(state, first, last, end):
    told = [Written("users", 0, first, last, NOW_US + 10, NOW_US + 20, False)]
    return state.on_written(WITNESSES, told, end)


def bounds(state):
    return state.history.sent_us.tolist(), state.history.sent_acked_us.tolist()


def test_a_witness_may_come_before_its_rows():
    """After a crash both logs are read again from the last snapshot: without this, certainty would depend on luck."""
    plain, turned = begin(), begin()
    rows(plain, 0, ["a", "b", "c"])
    witness(plain, 0, 1, 1)
    witness(turned, 0, 1, 1)
    rows(turned, 0, ["a"])
    rows(turned, 1, ["b", "c"])
    assert bounds(turned) == bounds(plain) == ([NOW_US + 10] * 2 + [FOREVER_US], [NOW_US + 20] * 2 + [FOREVER_US])


def test_an_early_witness_survives_a_snapshot():
    """The witness log's fence has moved past it: nobody will read it again."""
    before, after = begin(), begin()
    witness(before, 0, 0, 1)
    after.restore(before.snapshot())
    rows(after, 0, ["a"])
    assert bounds(after) == ([NOW_US + 10], [NOW_US + 20])


@pytest.mark.parametrize("told", [0, 1, 2])
def test_what_the_lake_was_told_before_a_crash_is_not_told_again(told):
    """The state comes from behind; a fetch is cut where the lake's knowledge ends."""
    state = begin()
    state.fences[LOG].told = told
    effects = [rows(state, 0, ["a"]), rows(state, 1, ["b"])]
    assert [bool(e.tables.get("features")) for e in effects] == [told < 1, told < 2]
    counted = state.take_accounts().to_pylist()
    assert [(row["first"], row["applied"]) for row in counted] == ([(told, 2 - told)] if told < 2 else [])
