"""Producers break contracts: whatever comes, every record ends in exactly one class and nothing raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.definitions import Definitions, Run, Source, TimeField
from features.keys import partition_of
from streams.wire.forwarding import Origin, marker_header, origin_header
from streams.wire.records import AT_ITS_OWN_TIME, VALUE_BYTES_MAX, PlainRecord, Refusal
from streams.wire.rows import RowDecoder

CLICKS = Source(
    name="clicks",
    topic="events.clicks",
    entity_type="user",
    entity_field="user_id",
    event_time=TimeField(field="ts", unit="ms"),
    kinds={"page": "text", "amount": "number"},
)
USERS = Source(
    name="users",
    topic="cdc.users",
    format="debezium",
    entity_type="user",
    entity_field="user_id",
    kinds={"status": "any", "last_login": "any"},
)
DECLARED = Definitions(run=Run(), sources={"clicks": CLICKS, "users": USERS}, features={}, models={})
GOOD = {"user_id": 42, "ts": 1_700_000_000_000, "page": "home", "amount": 1.5}
T_US = 1_700_000_000_000_000


def decode(source, values, home=None, received_us=5, below=None):
    records = [v if isinstance(v, PlainRecord) else PlainRecord(i, v) for i, v in enumerate(values)]
    decoder = RowDecoder(DECLARED, source, home=home)
    found = decoder.sort(records, topic=source.topic, partition=0, received_us=received_us, forwarded_below=below)
    return found, decoder.columns(found)


def change(before, after, op="u", **source):
    witness = {"ts_us": T_US, "txId": 571, "name": "shop", "connector": "postgresql", **source}
    return json.dumps({"op": op, "before": before, "after": after, "source": witness}).encode()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xff\xfe", Refusal.UNDECODABLE),
        (b'{"user_id":42', Refusal.UNDECODABLE),
        (b"[" * 10_000, Refusal.WRONG_TYPE),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, Refusal.UNDECODABLE),
        (b"\0\0\0\0\1{}", Refusal.REGISTRY_FRAME),
        (b"x" * (VALUE_BYTES_MAX + 1), Refusal.TOO_LARGE),
        (None, Refusal.NULL_VALUE),
        (json.dumps({**GOOD, "ts": 1_700_000_000}).encode(), Refusal.TIME_UNIT),
        (json.dumps({**GOOD, "ts": 17}).encode(), Refusal.TIME_RANGE),
        (json.dumps({**GOOD, "ts": True}).encode(), Refusal.WRONG_TYPE),
        (json.dumps({**GOOD, "amount": "1.5"}).encode(), Refusal.WRONG_TYPE),
        (json.dumps({**GOOD, "page": 3}).encode(), Refusal.WRONG_TYPE),
        (json.dumps({**GOOD, "user_id": None}).encode(), Refusal.WRONG_TYPE),
        (b'{"user_id":42,"ts":1700000000000,"page":"home"}', Refusal.MISSING_FIELD),
        (b'{"ts":1700000000000,"page":"home","amount":1}', Refusal.MISSING_FIELD),
    ],
)
def test_a_broken_record_is_refused_by_name_and_its_neighbours_flow(value, reason):
    """A producer's mistake costs its own record only."""
    good = json.dumps(GOOD).encode()
    found, rows = decode(CLICKS, [good, value, good])
    assert [r.reason for r in found.rejected] == [reason]
    assert found.rejected[0].offset == 1
    assert found.rejected[0].detail
    assert rows.column("offset").to_pylist() == [0, 2]


@given(st.binary(max_size=300))
def test_any_bytes_end_in_exactly_one_class(value):
    """An exception here would stop a partition for ever."""
    found, rows = decode(CLICKS, [value])
    assert rows.num_rows + len(found.rejected) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
        max_leaves=8,
    )
)
def test_any_json_in_any_field_ends_in_exactly_one_class(anything):
    """Types go wrong in every field."""
    for name in GOOD:
        value = json.dumps({**GOOD, name: anything}).encode("utf-8", "replace")
        found, rows = decode(CLICKS, [value])
        assert rows.num_rows + len(found.rejected) == 1


def test_null_is_a_value_and_missing_is_not():
    """A dropped field must not silently turn a feature into NULL."""
    found, rows = decode(CLICKS, [json.dumps({**GOOD, "amount": None}).encode()])
    assert not found.rejected
    assert rows.column("amount").to_pylist() == [None]


def test_a_row_of_another_partition_is_handed_on_with_its_coordinates():
    """Four out of five users have a producer that keys differently."""
    homes = {partition_of(str(i), 4) for i in range(40)}
    assert homes == {0, 1, 2, 3}
    values = [json.dumps({**GOOD, "user_id": i}).encode() for i in range(40)]
    found, rows = decode(CLICKS, values, home=2)
    assert {partition_of(e, 4) for e in rows.column("entity").to_pylist()} == {2}
    assert {f.home for f in found.foreign} == {0, 1, 3}
    assert sorted([f.origin.offset for f in found.foreign] + rows.column("offset").to_pylist()) == list(range(40))


def test_a_forwarded_row_keeps_its_origin_and_is_taken_once():
    """A forwarder that crashed sends again; lineage still names the first place."""
    origin = Origin("events.clicks", 3, 17, 1_700_000_000_000, True)
    record = PlainRecord(5, json.dumps(GOOD).encode(), headers=[origin_header(origin, 9)])
    again = PlainRecord(6, record.value, headers=record.headers)
    marker = PlainRecord(7, None, headers=[marker_header(3, 18, 123)])
    found, rows = decode(CLICKS, [record, again, marker], below={})
    assert rows.column("origin_offset").to_pylist() == [17]
    assert rows.column("append_time_us").to_pylist() == [T_US]
    assert (found.duplicates, found.empty, found.markers) == (1, 1, [(3, 18, 123)])
    assert found.newest_origin == {3: 17}


def test_a_change_event_tells_what_it_changed_and_when_it_was_committed():
    """ORMs rewrite all columns: only the before-image tells a change."""
    value = change(
        {"user_id": 4, "status": "ok", "last_login": 7}, {"user_id": 4, "status": "cancelled", "last_login": None}
    )
    _, rows = decode(USERS, [value])
    row = rows.to_pylist()[0]
    assert (row["entity"], row["txid"], row["write_time_us"], row["clock_domain"]) == (
        "4",
        "571",
        T_US,
        "postgresql:shop",
    )
    assert (row["last_login"], row["last_login.hash"], row["last_login.changed"]) == (None, 0, True)


def test_a_snapshot_row_convicts_nobody():
    """It was there before the snapshot read it; nobody knows since when."""
    _, rows = decode(USERS, [change(None, {"user_id": 4, "status": "ok", "last_login": 7}, op="r")])
    row = rows.to_pylist()[0]
    assert (row["write_time_us"], row["visible_time_us"], row["txid"]) == (None, T_US, None)


def test_a_delete_is_a_row_and_its_tombstone_is_not():
    """Debezium sends both."""
    before = {"user_id": 4, "status": "ok", "last_login": 7}
    found, rows = decode(USERS, [change(before, None, op="d"), None])
    assert rows.column("last_login.hash").to_pylist() == [0]
    assert (found.empty, found.rejected) == (1, [])


def test_rows_of_a_file_arrive_at_their_own_time():
    """A replay has no receive time."""
    _, rows = decode(CLICKS, [json.dumps(GOOD).encode()], received_us=AT_ITS_OWN_TIME)
    assert rows.column("ingest_time_us").to_pylist() == [T_US]
