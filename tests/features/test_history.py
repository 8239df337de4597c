"""Histories must answer from what had arrived, not from what happens to be in memory."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from features.batches import VERSION_SCHEMA
from features.history import History
from features.joins import joined
from features.times import FOREVER_US, NEVER_US


def versions(rows):
    """Rows (offset, ingest, event, value) as a version batch."""
    n = len(rows)
    offset, ingest, event, value = (list(c) for c in zip(*rows, strict=True))
    given_ = {
        "log_offset": offset,
        "ingest_time_us": ingest,
        "event_time_us": event,
        "hash": value,
        "id64": [o + 1 for o in offset],
        "append_time_us": [None] * n,
        "source_from_us": ingest,
        "source_by_us": ingest,
    }
    columns = [pa.array(given_[f.name], f.type) if f.name in given_ else pa.nulls(n, f.type) for f in VERSION_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, names=VERSION_SCHEMA.names)


def filled(rows, keys):
    history = History()
    if rows:
        history.append(versions(rows), np.array(keys), "t/0")
    return history


def slice_of(history, key, until, since):
    got = history.slices(np.array([key]), np.array([until]), np.array([since]))
    return history.log_offset[got.rows].tolist(), bool(got.is_base[0])


times = st.integers(0, 30)
logs = st.lists(st.tuples(times, times, st.integers(0, 2)), max_size=25)


@given(logs, times, times)
def test_a_slice_is_what_a_plain_loop_finds(log, until, since):
    """Everything that arrived in between, and the newest before."""
    rows = [(i, ingest, event, 1) for i, (ingest, event, _) in enumerate(log)]
    history = filled(rows, [key for _, _, key in log])
    for key in range(3):
        mine = [i for i, (_, _, k) in enumerate(log) if k == key]
        expected = []
        for i in reversed(mine):
            if log[i][0] <= until:
                expected.append(i)
                if log[i][0] < since:
                    break
        older = bool(expected) and mine.index(expected[-1]) > 0
        assert slice_of(history, key, until, since) == (expected[::-1], older)


@given(logs, times, times, times)
def test_forgetting_changes_no_answer_from_then_on(log, before, until, later):
    """Memory is bounded; verdicts must not notice."""
    rows = [(i, ingest, event, 1) for i, (ingest, event, _) in enumerate(log)]
    keys = [key for _, _, key in log]
    history, pruned = filled(rows, keys), filled(rows, keys)
    pruned.prune(before)
    restored = History()
    restored.restore(pruned.snapshot())
    for key in range(3):
        answer = slice_of(history, key, max(until, before), before + later)
        assert slice_of(pruned, key, max(until, before), before + later) == answer
        assert slice_of(restored, key, max(until, before), before + later) == answer


def test_least_bounds_hold_and_later_witnesses_are_looked_past():
    """A verdict about an instant must not change because a witness came after it."""
    history = filled([(0, 5, 5, 1), (1, 6, 6, 2)], [0, 0])
    history.witness("t/0", 0, 1, 100, 120)
    history.witness("t/0", 1, 1, None, 300)  # computed again after a crash: may have been sent before
    for until, expected in ((110, ([NEVER_US] * 2, [FOREVER_US] * 2)), (200, ([100, 100], [120, 120]))):
        got = history.slices(np.array([0]), np.array([until]), np.array([0]))
        assert tuple(a.tolist() for a in history.view_bounds(got)) == expected
    got = history.slices(np.array([0]), np.array([400]), np.array([0]))
    assert history.view_bounds(got)[0].tolist() == [100, NEVER_US]


def test_training_joins_what_it_says_it_joins():
    """Latest takes the leak, as-of does not, event time takes what was backfilled."""
    history = filled([(0, 10, 10, 1), (1, 50, 20, 2), (2, 60, 60, 3)], [0, 0, 0])
    got = history.slices(np.array([0, 0, 0]), np.array([99, 99, 99]), np.array([0, 0, 0]))
    by_us = history.source_by_us[got.rows]
    found = joined(history, got, ["latest", "as_of", "event_time"], np.array([30, 30, 30]), by_us)
    assert history.hash[got.rows[found]].tolist() == [3, 1, 2]
