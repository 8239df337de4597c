"""How good were the answers, and how sure is that?

AUC and F1 for two classes, the coefficient of determination for numbers, each with a percentile bootstrap interval
over *entities*: rows of one entity resemble each other, so they are drawn together. All figures of one test part see
the same resamples; their differences can be read off pairwise.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitors.audit.outcome import Interval

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Enough for the 2.5 % and 97.5 % points to within a tenth of the interval's width.
RESAMPLES = 200
#: Digits after the point to which answers are told apart.
_DIGITS = 9


def auc(answers: Float64, positive: Float64, weights: Float64 | None = None) -> float:
    """Chance that a positive row is answered higher than a negative one, ties counting half; NaN without both.

    Answers that agree to nine digits after the point are ties.

    Examples
    --------
    >>> auc(np.array([0.1, 0.2, 0.2, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.875
    """
    ranks = _ranks(answers)
    weights = np.ones(answers.size) if weights is None else weights
    return _auc(ranks, weights * positive, weights * (1.0 - positive))


@dataclass(frozen=True, slots=True)
class Judged:
    """One test part: what was true, and which rows are drawn together.

    Parameters
    ----------
    truth
        float64[n], 1 or 0 for classes, else any number.
    multiples
        How often each entity was drawn: first the part as it is (once each), then `RESAMPLES` draws.
    entity
        int64[n], index of the row's entity in each of `multiples`.

    Examples
    --------
    >>> part = Judged.drawn(np.array([0.0, 1.0] * 50), np.arange(100, dtype=np.uint64), seed=0)
    >>> part.auc(np.array([0.2, 0.7] * 50))
    Interval(value=1.0, low=1.0, high=1.0)
    """

    truth: Float64
    multiples: list[npt.NDArray[np.int16]]
    entity: Int64

    @classmethod
    def drawn(cls, truth: Float64, entity: npt.NDArray[np.uint64], seed: int) -> "Judged":
        """Resample the entities `RESAMPLES` times, with replacement; the order of rows does not matter."""
        found, index = np.unique(entity, return_inverse=True)
        chance = np.random.default_rng(seed)
        size = found.size
        draws = [np.bincount(chance.integers(0, size, size), minlength=size) for _ in range(RESAMPLES)]
        return cls(truth, [np.ones(size, np.int16), *(draw.astype(np.int16) for draw in draws)], index)

    def auc(self, answers: Float64) -> Interval:
        """AUC."""
        ranks = _ranks(answers)
        found = []
        for multiple in self.multiples:
            weights = multiple[self.entity].astype(np.float64)
            positive = weights * self.truth
            found.append(_auc(ranks, positive, weights - positive))
        return _interval(found)

    def f1(self, answers: Float64) -> Interval:
        """F1 of the positive class at a chance of 0.5, that is log-odds above 0."""
        said = (np.round(answers, _DIGITS) > 0.0).astype(np.float64)
        hits = self._per_entity(said * self.truth)
        both = self._per_entity(said + self.truth)  # 2 TP + FP + FN = all said + all true
        found = []
        for multiple in self.multiples:
            below = float((multiple * both).sum())
            found.append(2.0 * float((multiple * hits).sum()) / below if below else np.nan)
        return _interval(found)

    def r2(self, answers: Float64) -> Interval:
        """Coefficient of determination; 0 is as good as the mean of the test part, below is worse."""
        count, error = self._per_entity(np.ones(answers.size)), self._per_entity((self.truth - answers) ** 2)
        centred = self.truth - self.truth.mean()
        first, second = self._per_entity(centred), self._per_entity(centred**2)
        found = []
        for multiple in self.multiples:
            n, sums, squares, errors = (float((multiple * each).sum()) for each in (count, first, second, error))
            spread = squares - sums**2 / n
            found.append(1.0 - errors / spread if spread > 0 else np.nan)
        return _interval(found)

    def _per_entity(self, rows: Float64) -> Float64:
        return np.asarray(np.bincount(self.entity, rows, self.multiples[0].size), np.float64)


def _ranks(answers: Float64) -> Int64:
    # Two levels with the same counts answer the same but for the last digit: a tie, not a matter of luck.
    return np.unique(np.round(answers, _DIGITS), return_inverse=True)[1].astype(np.int64)


def _auc(ranks: Int64, positive: Float64, negative: Float64) -> float:
    size = int(ranks.max()) + 1 if ranks.size else 0
    ours, theirs = np.bincount(ranks, positive, size), np.bincount(ranks, negative, size)
    pairs = float(ours.sum()) * float(theirs.sum())
    if pairs == 0.0:
        return float("nan")
    # No dot product: BLAS adds in an order that depends on the number of cores, and waits for them all.
    return float((ours * (np.cumsum(theirs) - 0.5 * theirs)).sum()) / pairs


def _interval(found: list[float]) -> Interval:
    again = np.array(found[1:])
    there = again[~np.isnan(again)]
    low, high = np.percentile(there, [2.5, 97.5]) if there.size else (np.nan, np.nan)
    return Interval(float(found[0]), float(low), float(high))
