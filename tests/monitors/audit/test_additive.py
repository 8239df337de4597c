"""Is the small model what it claims to be? Against the textbook's equations on the table that is never built."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.audit.additive import RIDGE, fit_logistic, fit_ridge


def one_hot(codes: list[np.ndarray], levels: list[int]) -> np.ndarray:
    """float64[n, 1 + sum(levels)], the first column for the intercept."""
    blocks = [np.eye(size)[code] for code, size in zip(codes, levels, strict=True)]
    return np.concatenate([np.ones((codes[0].size, 1)), *blocks], axis=1)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[np.ndarray], list[int], np.ndarray]:
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    n = draw(st.integers(2, 60))
    return [chance.integers(0, size, n) for size in levels], levels, chance.random(n)


@given(tables())
@settings(max_examples=60, deadline=None)
def test_ridge_solves_the_normal_equations(table):
    """(X'X + penalty) b = X'y, the intercept free of penalty."""
    codes, levels, wanted = table
    x = one_hot(codes, levels)
    penalty = RIDGE * np.eye(x.shape[1])
    penalty[0, 0] = 0.0
    expected = np.linalg.solve(x.T @ x + penalty, x.T @ wanted)
    model = fit_ridge(codes, levels, wanted)
    assert np.concatenate([[model.intercept], *model.weights]) == pytest.approx(expected, abs=1e-8)


@given(tables())
@settings(max_examples=60, deadline=None)
def test_logistic_stands_where_the_penalised_likelihood_is_greatest(table):
    """It is concave: where the gradient is zero, there is the top, however far apart the classes are."""
    codes, levels, draw = table
    positive = (draw < 0.4).astype(np.float64)
    positive[:2] = 0.0, 1.0
    model = fit_logistic(codes, levels, positive)
    x, beta = one_hot(codes, levels), np.concatenate([[model.intercept], *model.weights])
    gradient = x.T @ (positive - 1 / (1 + np.exp(-x @ beta)))
    gradient[1:] -= RIDGE * beta[1:]
    assert gradient == pytest.approx(0.0, abs=1e-6)
    assert model.answers(codes) == pytest.approx(x @ beta, abs=1e-9)


def test_separated_classes_and_rare_ones_end_as_well():
    """The likelihood alone would run to infinity."""
    code = np.repeat([0, 1], [19_999, 1])
    model = fit_logistic([code], [3], code.astype(np.float64))
    assert model.answers([np.array([0, 1])])[0] < 0
    assert np.isfinite(model.answers([code])).all()
    assert model.weights[0][2] == 0.0  # a level that nobody had
