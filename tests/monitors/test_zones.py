"""A zone error is found after three records; no honest delay is one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.times import NEVER_US
from monitors.zones import OFFSETS_MAX, QUARTER_US, OffsetWatch
from tests.monitors.audit.pieces import cuts, shuffled

T = 1_700_000_000_000_000
HOUR = 3_600_000_000
SECOND = 1_000_000


def watched(event, write):
    watch = OffsetWatch("log.csv")
    watch.observe(np.asarray(event, np.int64), np.asarray(write, np.int64), np.arange(len(event)))
    return watch.findings()


def rows(n, seed=0, *, span=30 * 86_400 * SECOND):
    """Event times and honest delays of some milliseconds."""
    rng = np.random.default_rng(seed)
    return T + rng.integers(0, span, n), rng.integers(1_000, 400_000, n)


@pytest.mark.parametrize("step", [1_000, SECOND, 7 * SECOND, 60 * SECOND, HOUR, 86_400 * SECOND])
def test_three_hours_ahead_are_found_after_three_records(step):
    """Case 12, whatever the rhythm of the events."""
    event = T + np.arange(3) * step
    assert watched(event[:2] + 3 * HOUR, event[:2] + 20_000) == ()
    (found,) = watched(event + 3 * HOUR, event + 20_000)
    assert (found.kind, found.evidence["offset_ms"], str(found.severity)) == ("TZ_OFFSET", 10_800_000, "warning")
    assert "3 of 3 rows (100 %)" in found.message
    assert "+10,800,000 ms" in found.message
    assert "first: row 0" in found.message


def test_five_hours_behind_are_told_as_information():
    """Stamps behind look like a timer that waits so long; only a person knows."""
    event, delay = rows(20)
    (found,) = watched(event - 5 * HOUR, event + delay)
    assert (found.evidence["offset_ms"], str(found.severity)) == (-18_000_000, "info")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_part_of_the_rows_is_enough(share):
    """One of many producers is wrong."""
    event, delay = rows(5_000)
    off = np.random.default_rng(1).random(5_000) < share
    (found,) = watched(np.where(off, event + 3 * HOUR, event), event + delay)
    assert found.evidence["count"] == off.sum()
    assert found.evidence["first_row"] == np.flatnonzero(off)[0]


def test_summer_and_winter_are_two_offsets_of_one_finding():
    event, delay = rows(400)
    summer = event > np.median(event)
    (found,) = watched(event + np.where(summer, 2, 1) * HOUR, event + delay)
    assert found.evidence["offsets"] == {"+3,600,000 ms": 200, "+7,200,000 ms": 200}


@pytest.mark.parametrize("quarters", [1, 13, 21, 23, 56])
def test_every_zone_is_found(quarters):
    event, delay = rows(10)
    assert watched(event + quarters * QUARTER_US, event + delay)[0].evidence["offset_ms"] == quarters * 900_000


def test_rows_without_times_say_nothing():
    event, delay = rows(10)
    write = event + delay
    assert watched(np.full(10, NEVER_US), write) == ()
    assert watched(event, np.full(10, NEVER_US)) == ()
    assert watched(event[:0], write[:0]) == ()


def honest(name, rng, n):
    event = T + rng.integers(0, 30 * 86_400 * SECOND, n)
    hour_end = (event // HOUR + 1) * HOUR
    return {
        "milliseconds": lambda: (event, event + rng.integers(1_000, 900_000, n)),
        "backfill spread over days": lambda: (event, event + rng.integers(0, 72 * HOUR, n)),
        "backfill, one write time": lambda: (event, np.full(n, T + 31 * 86_400 * SECOND - 6 * HOUR)),
        "exponential, mean one hour": lambda: (event, event + rng.exponential(HOUR, n).astype(np.int64)),
        "about one hour": lambda: (event, event + rng.normal(HOUR, 60 * SECOND, n).astype(np.int64)),
        "about a quarter": lambda: (event, event + rng.normal(QUARTER_US, 30 * SECOND, n).astype(np.int64)),
        "hourly job": lambda: (event, hour_end + rng.integers(0, 3 * SECOND, n)),
        "nightly job": lambda: (event, (event // (24 * HOUR) + 1) * 24 * HOUR + 2 * HOUR),
        "windows begin on the hour": lambda: (hour_end - HOUR, hour_end + rng.integers(0, SECOND, n)),
        "windows hop by the minute": lambda: (
            event // (60 * SECOND) * 60 * SECOND,
            event // (60 * SECOND) * 60 * SECOND + HOUR + rng.integers(0, SECOND, n),
        ),
        "readings at a fixed second": lambda: (
            hour_end + 7 * SECOND,
            hour_end + 8 * SECOND + rng.integers(0, 8, n) * HOUR,
        ),
        "dates": lambda: (
            event // (24 * HOUR) * 24 * HOUR,
            event // (24 * HOUR) * 24 * HOUR + rng.integers(1, 14) * HOUR,
        ),
        "one batch told again and again": lambda: (np.repeat(event[:1], n), np.repeat(event[:1] + 2 * HOUR, n)),
        "clocks minutes apart": lambda: (event + rng.integers(0, 40 * 60 * SECOND, n), event),
    }[name]()


HONEST = [
    "milliseconds", "backfill spread over days", "backfill, one write time", "exponential, mean one hour",
    "about one hour", "about a quarter", "hourly job", "nightly job", "windows begin on the hour",
    "windows hop by the minute", "readings at a fixed second", "dates", "one batch told again and again",
    "clocks minutes apart",
]  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_delays_raise_no_alarm(name):
    """40 logs of each kind, from 3 to 3,000 rows; the stated chance of any alarm is one in 10,000 a log."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        assert watched(*honest(name, rng, int(3 * 1000 ** (seed / 39)))) == ()


def test_two_events_told_ten_thousand_times_are_two():
    """Repetition is no evidence: a redelivered chance hit must not become an alarm."""
    event = np.repeat([T, T + 77 * SECOND], 10_000)
    assert watched(event + 3 * HOUR, event) == ()


def test_a_zone_error_among_spread_backfill_is_found():
    event, _ = rows(4_000)
    rng = np.random.default_rng(3)
    lag = rng.integers(0, 72 * HOUR, 4_000)
    off = rng.random(4_000) < 0.02
    (found,) = watched(np.where(off, event - 5 * HOUR, event), np.where(off, event + 20_000, event + lag))
    assert found.evidence["offset_ms"] == -18_000_000


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(0, 200))
def test_pieces_and_order_change_nothing(seed, n):
    rng = np.random.default_rng(seed)
    event, delay = rows(n, seed % 1_000)
    offset = rng.choice([0, 3 * HOUR, -5 * HOUR], n, p=[0.5, 0.4, 0.1])
    columns = [event + offset, event + delay, np.arange(n)]

    def run(pieces):
        watch = OffsetWatch("log.csv")
        for piece in pieces:
            watch.observe(*piece)
        return watch.findings()

    assert run(cuts(rng, shuffled(rng, columns))) == run([columns])


def test_offsets_beyond_any_zone_are_no_zones():
    event, delay = rows(50)
    assert watched(event + (OFFSETS_MAX + 1) * QUARTER_US, event + delay) == ()
