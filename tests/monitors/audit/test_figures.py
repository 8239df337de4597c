"""AUC, F1 and explained variance, against twins that look at every pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.audit.figures import RESAMPLES, Judged, auc

answers = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 5)), min_size=1, max_size=30)


def columns(rows: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    answer, truth, entity = zip(*rows, strict=True)
    return np.array(answer, float), np.array(truth, float), np.array(entity, np.uint64)


@given(answers)
def test_auc_is_the_share_of_pairs_in_the_right_order(rows):
    """Ties count half; without both classes there is no pair."""
    answer, truth, _ = columns(rows)
    pairs = [(a > b) + 0.5 * (a == b) for a in answer[truth == 1] for b in answer[truth == 0]]
    assert auc(answer, truth) == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)


@given(answers)
def test_weights_are_repetitions(rows):
    """A row that weighs three is three rows; one that weighs nothing is none."""
    answer, truth, entity = columns(rows)
    times = entity.astype(int)
    repeated = auc(np.repeat(answer, times), np.repeat(truth, times)) if times.any() else np.nan
    assert auc(answer, truth, times.astype(float)) == pytest.approx(repeated, nan_ok=True)


@given(answers)
def test_f1_and_r2_are_the_textbook_s(rows):
    """Positive means log-odds above zero."""
    answer, truth, entity = columns(rows)
    part = Judged.drawn(truth, entity, seed=0)
    said = answer > 0
    hits, wrong, missed = (said & (truth == 1)).sum(), (said & (truth == 0)).sum(), (~said & (truth == 1)).sum()
    below = 2 * hits + wrong + missed
    assert part.f1(answer).value == pytest.approx(2 * hits / below if below else np.nan, nan_ok=True)
    spread = ((truth - truth.mean()) ** 2).sum()
    expected = 1 - ((truth - answer) ** 2).sum() / spread if spread > 1e-12 else np.nan
    assert part.r2(answer).value == pytest.approx(expected, nan_ok=True)


@given(answers)
def test_an_interval_comes_from_whole_entities(rows):
    """The twin draws the rows of each drawn entity, one by one."""
    answer, truth, entity = columns(rows)
    part = Judged.drawn(truth, entity, seed=1)
    found = []
    for multiple in part.multiples[1:]:
        drawn = np.concatenate([np.flatnonzero(part.entity == e) for e, n in enumerate(multiple) for _ in range(n)])
        found.append(auc(answer[drawn], truth[drawn]))
    assert len(found) == RESAMPLES
    there = [one for one in found if not np.isnan(one)]
    interval = part.auc(answer)
    expected = np.percentile(there, [2.5, 97.5]) if there else [np.nan, np.nan]
    assert [interval.low, interval.high] == pytest.approx(list(expected), nan_ok=True)


def test_answers_that_differ_in_the_last_digits_are_ties():
    """Levels with equal counts get equal weights but for rounding; no figure may hang on that."""
    assert auc(np.array([0.1 + 0.2, 0.3]), np.array([1.0, 0.0])) == 0.5
