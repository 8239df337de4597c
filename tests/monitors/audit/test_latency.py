"""Lags are known to one per cent, shares exactly, and a broken budget is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import FOREVER_US, NEVER_US
from monitors.audit.latency import LatencySketch, late
from monitors.audit.outcome import Latency
from tests.monitors.audit.pieces import cuts, shuffled

T = 1_700_000_000_000_000
DAY = 86_400_000_000


def sketch_of(lags, *, assumed=0, budget=None, first_row=0):
    sketch = LatencySketch(assumed, budget)
    lags = np.asarray(lags, np.int64)
    sketch.observe(np.full(lags.size, T), T + lags, first_row + np.arange(lags.size))
    return sketch


@given(st.lists(st.integers(-(10**16), 10**16), min_size=1, max_size=60))
def test_quantiles_are_within_one_per_cent_of_a_lag_that_occurred(lags):
    """The naive twin sorts them all."""
    found, ordered = sketch_of(lags).latency(), sorted(lags)
    for thousandths, us in ((500, found.p50_us), (950, found.p95_us), (990, found.p99_us), (999, found.p999_us)):
        exact = ordered[-(-thousandths * len(lags) // 1000) - 1]
        assert abs(us - exact) <= abs(exact) / 100
    assert (found.versions, found.max_us) == (len(lags), max(lags))
    assert found.backfill_share == sum(lag > 0 for lag in lags) / len(lags)


def test_short_lags_are_exact():
    assert [sketch_of([lag]).latency().p50_us for lag in range(100)] == list(range(100))


def test_the_backfill_of_case_9_is_late():
    """Three days old, readable two hours after the prediction; training assumed no lag, the budget was 2 s."""
    sketch = LatencySketch(assumed_lag_us=0, budget_us=2_000_000)
    sketch.observe(np.array([T - 3 * DAY]), np.array([T + 7_200_000_000]), np.array([17]))
    assert sketch.latency().backfill_share == 1
    (found,) = sketch.findings("visits")
    assert (found.kind, found.subject, str(found.severity)) == ("LATE", "visits", "warning")
    assert "100 % exceed the budget of 2 s (first: row 17 of its log)" in found.message


@pytest.mark.parametrize(("slow", "found"), [(0, 0), (1, 0), (2, 1)])
def test_late_begins_where_the_99th_percentile_is_above_the_budget(slow, found):
    """1 of 100 is the percentile's own share; the sketch's one per cent must not decide."""
    assert len(sketch_of([100_000] * (100 - slow) + [100_001] * slow, budget=100_000).findings("visits")) == found


def test_the_assumed_lag_is_no_backfill_and_a_snapshot_is():
    sketch = LatencySketch(assumed_lag_us=500)
    snapshot = np.array([False, False, True])
    sketch.observe(np.full(3, T), T + np.array([500, 501, 3]), np.arange(3), snapshot)
    assert sketch.latency().backfill_share == 2 / 3


def test_without_a_budget_nothing_is_late():
    assert sketch_of([10**12]).findings("visits") == ()
    assert sketch_of([10**12]).latency().over_budget_share is None
    assert late("visits", Latency(1, 9, 9, 9, 9, 9, 1.0), 5) is None


def test_versions_without_a_lag_do_not_count():
    sketch = LatencySketch()
    sketch.observe(np.array([NEVER_US, T]), np.array([T, FOREVER_US]), np.arange(2))
    assert sketch.latency() is None
    assert sketch.findings("visits") == ()


@given(st.integers(0, 2**32), st.integers(0, 200))
def test_pieces_order_and_merging_change_nothing(seed, n):
    rng = np.random.default_rng(seed)
    lags = (rng.choice([-1, 1], n, p=[0.1, 0.9]) * np.exp(rng.uniform(0, 30, n))).astype(np.int64)
    columns = [np.full(n, T), T + lags, np.arange(n), rng.random(n) < 0.1]
    whole, parts, merged = (LatencySketch(1_000, 10**6) for _ in range(3))
    whole.observe(*columns)
    for piece in cuts(rng, shuffled(rng, columns)):
        parts.observe(*piece)
        one = LatencySketch(1_000, 10**6)
        one.observe(*piece)
        merged.merge(one)
    for other in (parts, merged):
        assert (other.latency(), other.findings("x")) == (whole.latency(), whole.findings("x"))
