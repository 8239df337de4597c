"""What goes into the millisecond test: bounds, order, shapes, and what is refused."""

import numpy as np
import pytest

from features.times import FOREVER_US, NEVER_US
from monitors.leakage import CellSet, VersionSet, bounds, group_rows, judge

ONE = np.array([7], np.uint64)


def versions(**changes):
    given = {"start": np.array([0, 1]), "a_us": np.array([100]), "b_us": np.array([101]), "hashes": ONE}
    return VersionSet(**{**given, **changes})


def cells(**changes):
    given = {"group": np.array([0]), "p_lo_us": np.array([200]), "hashes": ONE}
    return CellSet(**{**given, **changes})


def test_the_resolution_is_added_to_the_upper_bound_only():
    """A coarse stamp is rounded down, so the truth lies at it or after it."""
    a, b = bounds([1_000], [2_000], clock_error_us=5, resolution_us=100)
    assert (a.tolist(), b.tolist()) == ([995], [2_105])


def test_unknown_times_stay_unknown():
    a, b = bounds([NEVER_US, 1_000, NEVER_US], [2_000, FOREVER_US, FOREVER_US], clock_error_us=5)
    assert (a.tolist(), b.tolist()) == ([NEVER_US, 995, NEVER_US], [2_006, FOREVER_US, FOREVER_US])
    a, b = bounds([NEVER_US])
    assert (a.tolist(), b.tolist()) == ([NEVER_US], [FOREVER_US])


def test_a_visible_time_before_its_write_time_bounds_nothing():
    """Evidence that contradicts itself must neither convict nor acquit."""
    a, b = bounds([2_000], [1_000])
    assert (a.tolist(), b.tolist()) == ([NEVER_US], [FOREVER_US])


def test_source_order_is_the_sequence_where_there_is_one_and_rows_break_ties():
    group = np.array([0, 0, 0, 0])
    write = np.array([10, 30, 20, 20])
    assert group_rows(group, 1, write)[0].tolist() == [0, 2, 3, 1]
    assert group_rows(group, 1, write, seq=np.array([4, 3, 2, 2]))[0].tolist() == [2, 3, 1, 0]


def test_under_max_event_time_a_late_older_event_does_not_win():
    """It stays a candidate, before the newer event, and never replaces it."""
    rows, start = group_rows(
        np.array([0, 0]), 2, np.array([10, 20]), event_time_us=np.array([9, 3]), order="max_event_time"
    )
    assert (rows.tolist(), start.tolist()) == ([1, 0], [0, 2, 2])
    with pytest.raises(ValueError, match="expected event times"):
        group_rows(np.array([0]), 1, np.array([1]), order="max_event_time")


def test_no_cells_and_no_versions_are_judged_without_complaint():
    none = np.array([], np.int64)
    empty = VersionSet(np.array([0]), none, none, none.astype(np.uint64))
    assert judge(empty, CellSet(none, none, none.astype(np.uint64))).verdict.size == 0


@pytest.mark.parametrize(
    ("history", "asked", "complaint"),
    [
        (versions(start=np.array([0, 2])), cells(), "group starts rising from 0 to 1"),
        (versions(hashes=np.array([1, 2], np.uint64)), cells(), "expected 1 versions in hashes"),
        (versions(a_us=np.array([102])), cells(), r"found \[102, 101\) in row 0"),
        (versions(begins=np.array([True, True])), cells(), "expected 1 groups in begins"),
        (versions(), cells(group=np.array([1])), "expected a group from 0 to 0 .* found group 1 "),
        (versions(), cells(p_hi_us=np.array([200])), r"\[200, 200\) in cell 0"),
        (versions(), cells(p_lo_us=np.array([NEVER_US])), "a read interval in microseconds"),
        (versions(b_us=np.array([2**62])), cells(), "interval of visibility"),
        (versions(a_us=np.array([NEVER_US]), b_us=np.array([NEVER_US])), cells(), "interval of visibility"),
        (versions(), cells(stamps=ONE), "expected version ids"),
        (versions(), cells(position=np.array([3])), "expected a sequence"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(history, asked, complaint):
    """A kernel checks nothing: whatever passes here must be safe to index with."""
    with pytest.raises(ValueError, match=complaint):
        judge(history, asked)
