"""Verdicts of whole columns: tiers without assumptions, tolerance, and what a corrected table takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import FOREVER_US
from monitors.audit.judging import History, judge_feature
from monitors.kernels import grouping
from monitors.leakage import CellSet
from monitors.verdicts import Tier

T = 1_700_000_000_000_000


def history(*versions: tuple[int, int], assumed: bool = False) -> History:
    """One entity with versions visible in [a, b)."""
    a, b = (np.array(column, np.int64) for column in zip(*versions, strict=True))
    rests = np.full(a.size, True) if assumed else None
    return History(np.array([0, a.size]), a, b, 0, 1, assumed=rests)


def judged(of: History, values: list[int], x: int, p: int, **how: object) -> tuple[str, str, int]:
    """(verdict, tier, version that the corrected table takes) of one cell."""
    cells = CellSet(np.array([0]), np.array([p]), np.array([x], np.uint64))
    found = judge_feature(of, np.array(values, np.uint64), cells, **how)  # type: ignore[arg-type]
    return str(found.verdicts.words()[0][0]), Tier(found.verdicts.tier[0]).name, int(found.as_of[0])


def test_a_pass_that_rests_on_the_assumption_is_of_tier_e4():
    """Nobody saw the write become visible: the same cell without the assumption would be UNVERIFIABLE."""
    assert judged(history((100, 101)), [7], 7, 200) == ("PASS", "E2", 0)
    assert judged(history((100, 101), assumed=True), [7], 7, 200) == ("PASS", "E4", 0)


def test_a_leak_of_a_value_needs_no_upper_bound():
    """The value was written after the read, whenever the other one became visible."""
    late = history((100, 101), (300, 301), assumed=True)
    assert judged(late, [7, 9], 9, 200) == ("LEAK", "E2", 0)
    # NULL may be the absence of everything, if the first write was invisible for long: that rests on the assumption.
    assert judged(late, [7, 0], 0, 200) == ("LEAK", "E4", 0)


def test_the_corrected_value_is_the_newest_that_was_surely_readable():
    """An ambiguous write is not yet to be trusted; before the first there is nothing."""
    versions = history((100, 101), (150, FOREVER_US), (160, 400))
    assert judged(versions, [7, 8, 9], 9, 200)[2] == 0
    assert judged(versions, [7, 8, 9], 9, 401)[2] == 2
    assert judged(versions, [7, 8, 9], 9, 99)[2] == -1


@pytest.mark.parametrize(
    ("x", "verdict"), [(7.05, "PASS"), (7.2, "UNVERIFIABLE"), (9.1, "LEAK"), (float("nan"), "UNVERIFIABLE")]
)
def test_a_tolerance_widens_equality(x: float, verdict: str):
    """7.0 and 9.0 within 0.1; NULL equals NULL alone."""
    numbers = (np.array([7.0, 9.0]), np.array([x]), 0.1)
    word, _, _ = judged(history((100, 101), (300, 301)), [1, 2], 3, 200, numbers=numbers)
    assert word == verdict


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 14), st.integers(0, 3)), min_size=1, max_size=6),
)
def test_tolerance_zero_is_equality(rows: list[tuple[int, int]], asked: list[tuple[int, int, int]]):
    """The slow path and the fast one say the same of numbers, NULL (0) included."""
    group = np.array([g for g, _ in rows], np.int64)
    write = np.arange(len(rows), dtype=np.int64)
    order, start = grouping.sort_by_group(group, 4, write)
    of = History(start, order, order + 2, 0, 1)
    values = np.array([v for _, v in rows], np.uint64)[order]
    group, p, x = (np.array(column, np.int64) for column in zip(*asked, strict=True))
    cells = CellSet(group, p, x.astype(np.uint64))
    numbers = (np.where(values == 0, np.nan, values), np.where(x == 0, np.nan, x), 0.0)
    plain, within = judge_feature(of, values, cells), judge_feature(of, values, cells, numbers=numbers)
    for name in ("verdict", "reason", "lead_us", "tier"):
        assert getattr(plain.verdicts, name).tolist() == getattr(within.verdicts, name).tolist()


@given(st.lists(st.integers(0, 5), max_size=30))
def test_groups_are_sorted_as_numpy_sorts_them(keys: list[int]):
    """The compiled counting sort is stable and leaves group -1 out."""
    group = np.array(keys, np.int64) - 1
    rows, start = grouping.sort_by_group(group, 5, np.arange(group.size))
    wanted = [i for i in np.argsort(group, kind="stable").tolist() if group[i] >= 0]
    assert rows.tolist() == wanted
    assert np.diff(start).tolist() == np.bincount(group[group >= 0], minlength=5).tolist()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.lists(st.integers(0, 2**64 - 1), max_size=5))
def test_keys_are_numbered_by_first_appearance(keys: list[int], others: list[int]):
    """And looked up again; what was never numbered is -1."""
    known = np.array(keys, np.uint64)
    number, distinct, table = grouping.number_keys(known)
    assert distinct[number].tolist() == keys
    assert distinct.tolist() == list(dict.fromkeys(keys))
    place = {key: i for i, key in enumerate(distinct.tolist())}
    asked = [*keys, *others]
    found = grouping.look_up(np.array(asked, np.uint64), distinct, table)
    assert found.tolist() == [place.get(key, -1) for key in asked]
    assert grouping.first_of_each(known).tolist() == [k not in keys[:i] for i, k in enumerate(keys)]
