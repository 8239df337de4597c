"""The feature view keeps the newest row of each group, whatever order rows are written in."""

import json

import pytest
from tminus_client import features
from tminus_client.features import Rows

KEY = b'["user","42","users"]'


def row(plan: str, offset: int, generation: int = 1, **more: str) -> bytes:
    values = {n: {"value": v, "id": v.rjust(16, "0"), "event_time_us": 1} for n, v in {"plan": plan, **more}.items()}
    return json.dumps({"format": 1, "offset": offset, "generation": generation, "values": values}).encode()


def test_the_greater_offset_and_generation_stays():
    """A writer that was paused may wake up and write an old row last."""
    rows = Rows(None, None)
    assert rows.apply(KEY, row("new", 7, 2))
    assert not rows.apply(KEY, row("sleeper", 7, 1))
    assert not rows.apply(KEY, row("older", 6, 9))
    assert rows.read("user", "42")[0] == {"plan": "new"}


def test_groups_of_one_entity_are_read_together_with_their_stamps():
    rows = Rows(["user"], ["plan", "clicks"])
    rows.apply(KEY, row("pro", 1, other="x"))
    rows.apply(b'["user","42","clicks"]', json.dumps(
        {"format": 1, "offset": 1, "generation": 1, "values": {"clicks": {"value": 3, "id": "00000000000000c3"}}}
    ).encode())  # fmt: skip
    assert rows.read("user", "42") == (
        {"plan": "pro", "clicks": 3},
        {"plan": "0000000000000pro", "clicks": "00000000000000c3"},
    )
    assert rows.read("user", "43") == ({}, {})


def test_other_entity_types_are_left_out():
    rows = Rows(["card"], None)
    assert not rows.apply(KEY, row("pro", 1))
    assert len(rows) == 0


def test_a_tombstone_expires_a_group():
    rows = Rows(None, None)
    rows.apply(KEY, row("pro", 1))
    assert rows.apply(KEY, None)
    assert (len(rows), rows.read("user", "42")) == (0, ({}, {}))


@pytest.mark.parametrize("value", [b"", b"[]", b"\xff", b'{"format":2}', b'{"format":1}', b"[" * 100_000, b"null"])
def test_odd_rows_are_counted_and_change_nothing(value):
    rows = Rows(None, None)
    rows.apply(KEY, row("pro", 1))
    assert not rows.apply(KEY, value)
    assert not rows.apply(None, value)
    assert (rows.undecodable, rows.read("user", "42")[0]) == (2, {"plan": "pro"})


def test_the_view_is_bounded(monkeypatch):
    monkeypatch.setattr(features, "ROWS_MAX", 1)
    rows = Rows(None, None)
    rows.apply(KEY, row("pro", 1))
    assert not rows.apply(b'["user","43","users"]', row("pro", 1))
    assert rows.apply(KEY, row("free", 2))
    assert (len(rows), rows.left_out) == (1, 1)
