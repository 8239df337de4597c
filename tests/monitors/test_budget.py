"""The budget: one promise per model, split once."""

import math

import pytest

from monitors.budget import ALPHA, HUNDREDTHS, Budget, Judge, Scope


def test_the_split_is_the_whole_promise_and_no_more():
    """Each judge's false alarms add up (a union bound): above 100, the promise is broken; below, power is wasted."""
    assert sum(HUNDREDTHS.values()) == 100
    assert set(HUNDREDTHS) == set(Judge)
    quality = Judge.SHAPES, Judge.MISSING, Judge.CATEGORIES, Judge.PERFORMANCE
    assert sum(HUNDREDTHS[judge] for judge in quality) == 40
    spent = math.fsum(7 * Budget().share(judge, 7).alpha for judge in Judge)
    assert spent == pytest.approx(ALPHA)


def test_a_new_model_dilutes_no_other_unless_the_promise_is_one_for_all():
    one = Budget(models=1).share(Judge.SHAPES, 5)
    assert Budget(models=50).share(Judge.SHAPES, 5) == one
    shared = Budget(scope=Scope.PORTFOLIO, models=50).share(Judge.SHAPES, 5)
    assert shared.alpha == pytest.approx(one.alpha / 50)


def test_a_test_of_one_judge_gives_it_everything():
    budget = Budget(only=Judge.SHAPES)
    assert budget.share(Judge.SHAPES, 1).alpha == ALPHA
    assert budget.share(Judge.SHAPES, 1).log_e_limit == pytest.approx(math.log(100))
    with pytest.raises(ValueError, match="expected shapes, which has the whole budget, found coupling"):
        budget.share(Judge.COUPLING, 1)


def test_no_features_spend_nothing_and_impossible_numbers_are_refused():
    assert Budget().share(Judge.SHAPES, 0) == Budget().share(Judge.SHAPES, 1)
    with pytest.raises(ValueError, match="expected a number of features, found -1"):
        Budget().share(Judge.SHAPES, -1)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected an alpha between 0 and 1"):
            Budget(alpha=alpha)
    with pytest.raises(ValueError, match="expected at least 1 model, found 0"):
        Budget(models=0)
