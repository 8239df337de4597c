"""What can a model see of a column? Bins and categories of the rows that it was given, and nothing of others."""

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from monitors.audit.encoding import CATEGORIES_MAX, Encoder, Reading, read_pair

T = 1_700_000_000_000_000
DAY = 86_400_000_000


def read(column: pa.Array) -> Reading:
    return read_pair(column, column, np.full(len(column), T))[0]


def numbers(*values: float) -> Reading:
    return Reading(np.array(values), False)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3]), [1, np.nan, 3]),
        (pa.array([1.5, float("nan"), None]), [1.5, np.nan, np.nan]),
        (pa.array([Decimal("1.50"), None]), [1.5, np.nan]),
        (pa.array([True, False, None]), [1, 0, np.nan]),
        (pa.array(["1.5", None, "1e3"]), [1.5, np.nan, 1000]),
        (pa.array(["true", "false"]), [1, 0]),
        (pa.nulls(2), [np.nan, np.nan]),
        (pa.nulls(2, pa.string()), [np.nan, np.nan]),
        (pa.array([T - 5, None], pa.timestamp("us")), [5, np.nan]),
        (pa.array([date(2023, 11, 14)]), [T - T // DAY * DAY]),
        (pa.array([T // 10**6 - 5, T // 10**6]), [5_000_000, 0]),
        (pa.array([T // 10**3 - 5]), [5_000]),
        (pa.array(["2023-11-14T22:13:15Z", None]), [5_000_000, np.nan]),
        (pa.array(["1699999999", "1700000001"]), [1_000_000, -1_000_000]),
        (pa.array(["a", "1"]).dictionary_encode(), None),
        (pa.array(["2023-11-14", "soon"]), None),
        (pa.array([[1], None]), None),
    ],
)
def test_a_column_is_numbers_ages_or_categories(column: pa.Array, expected: list[float] | None):
    """By its type, or by what all of its texts spell."""
    found = read(column)
    assert found.is_category == (expected is None)
    if expected is not None:
        assert found.values.tolist() == pytest.approx(expected, nan_ok=True)


def test_both_tables_are_read_in_one_way():
    """One word in the corrected table and the column is a category in both."""
    old, new = read_pair(pa.array(["1", "2"]), pa.array(["1", "none"]), np.full(2, T))
    assert old.is_category
    assert old.differs(new).tolist() == [False, True]


def test_null_and_nan_are_one_and_so_are_both_zeros():
    """No change that a model could not see."""
    old, new = read_pair(pa.array([None, 0.0, 1.0]), pa.array([float("nan"), -0.0, None]), np.full(3, T))
    assert old.differs(new).tolist() == [False, False, True]


def test_bins_hold_equal_shares_of_the_rows_they_were_fitted_on():
    """And a value beyond them falls into the outermost one."""
    encoder = Encoder(numbers(*range(1_000)), bins=8)
    assert np.bincount(encoder.codes(numbers(*range(1_000)))).tolist() == [0] + [125] * 8
    assert encoder.codes(numbers(-1e300, 1e300, np.inf, np.nan)).tolist() == [1, 8, 8, 0]
    assert encoder.levels == 9


def test_few_values_have_a_level_each_and_one_that_is_half_the_column_keeps_its_own():
    """Zero is often not just a small number."""
    encoder = Encoder(numbers(0, 1, 2, 2, 5), bins=4)
    assert encoder.codes(numbers(0, 1, 2, 5, 4)).tolist() == [1, 2, 3, 4, 4]
    zeros = Encoder(numbers(*[0.0] * 600, *range(1, 401)), bins=4)
    assert zeros.codes(numbers(0)).tolist() != zeros.codes(numbers(1)).tolist()


def test_bins_do_not_move_with_rows_that_were_not_given():
    """The test part must not shape what the model sees."""
    training = numbers(*range(100))
    assert (
        Encoder(training, bins=8).codes(numbers(50)).tolist()
        == Encoder(training, bins=8).codes(training)[50:51].tolist()
    )


def test_the_most_frequent_categories_have_a_level_and_all_others_share_one():
    """Also the ones that come later, and the order of rows chooses none."""
    names = [f"c{i}" for i in range(30) for _ in range(31 - i)]
    fitted = read(pa.array(names))
    encoder = Encoder(fitted, bins=8)
    codes = encoder.codes(read(pa.array([f"c{i}" for i in range(30)])))
    assert encoder.levels == CATEGORIES_MAX + 2
    assert len(set(codes[:CATEGORIES_MAX])) == CATEGORIES_MAX
    assert set(codes[CATEGORIES_MAX:]) == {CATEGORIES_MAX + 1}
    assert encoder.codes(read(pa.array([None, "new"]))).tolist() == [0, CATEGORIES_MAX + 1]
    turned = Encoder(Reading(fitted.values[::-1], True), bins=8)
    assert turned.codes(fitted).tolist() == encoder.codes(fitted).tolist()


def test_a_column_that_was_always_null_has_no_other_level_to_learn():
    """What comes later is something else than NULL, and weighs nothing."""
    assert Encoder(numbers(np.nan), bins=8).codes(numbers(np.nan, 3.0)).tolist() == [0, 1]
    never = Encoder(Reading(np.zeros(2, np.uint64), True), bins=8)
    assert never.codes(Reading(np.array([0, 9], np.uint64), True)).tolist() == [0, 1]
