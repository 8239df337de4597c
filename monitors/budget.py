"""Who may spend how much of a model's promise about false alarms?

The promise: the chance that any statistical judge ever raises a false alarm on a model, in its whole life, is at most
1 %. It is split once, here, and nowhere else: 40 % drift and quality, 40 % coupling, 20 % latency and clocks; a judge's
part is divided evenly over the processes it runs (a union bound, which holds however they depend on each other). A new
model dilutes no other: the expected number of falsely alarmed models in a portfolio is 1 in 100. With
`scope = "portfolio"` the 1 % is one promise for all models together. Warnings and hints are outside the budget.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

ALPHA = 0.01


class Judge(StrEnum):
    """Statistical judges that may page somebody."""

    SHAPES = "shapes"  # drift of numeric features
    MISSING = "missing"  # rates of missing, stuck and out-of-range values
    CATEGORIES = "categories"  # unseen and shifted categories
    PERFORMANCE = "performance"  # labels and what they say about the model
    COUPLING = "coupling"  # features that move with the label
    LATENCY = "latency"  # latencies and clocks


class Scope(StrEnum):
    """For whom the promise is made."""

    MODEL = "model"
    PORTFOLIO = "portfolio"


#: Hundredths of the promise. Drift and quality have 40, of which 60 % go to shapes, 15 % each to missing values and
#: categories, 10 % to performance.
HUNDREDTHS = {
    Judge.SHAPES: 24,
    Judge.MISSING: 6,
    Judge.CATEGORIES: 6,
    Judge.PERFORMANCE: 4,
    Judge.COUPLING: 40,
    Judge.LATENCY: 20,
}


@dataclass(frozen=True, slots=True)
class Share:
    """What one process of a judge (one feature, say) may spend in its whole life.

    Examples
    --------
    >>> round(Share(alpha=0.0024).log_e_limit, 3)
    6.032
    """

    alpha: float

    @property
    def log_e_limit(self) -> float:
        """Logarithm of the e-value from which an alarm is within the promise: ln(1/alpha)."""
        return -math.log(self.alpha)


@dataclass(frozen=True, slots=True)
class Budget:
    """The promise of one model, and its split.

    Parameters
    ----------
    alpha
        Chance of any false alarm that is promised, between 0 and 1.
    scope
        Whether it is promised per model or for all models together.
    models
        Models in the portfolio; counts only with the scope `portfolio`. Fixed for the life of the promise: to divide
        anew when a model joins would spend the same money twice.
    only
        The one judge that gets everything, for tests of it.

    Raises
    ------
    ValueError
        `alpha` or `models` is out of range.

    Examples
    --------
    >>> round(Budget().share(Judge.SHAPES, 3).alpha, 6)
    0.0008
    >>> Budget(alpha=0.1, only=Judge.SHAPES).share(Judge.SHAPES, 1).alpha
    0.1
    >>> round(Budget(scope=Scope.PORTFOLIO, models=100).share(Judge.COUPLING, 1).alpha, 8)
    4e-05
    """

    alpha: float = ALPHA
    scope: Scope = Scope.MODEL
    models: int = 1
    only: Judge | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"expected an alpha between 0 and 1, found {self.alpha}")
        if self.models < 1:
            raise ValueError(f"expected at least 1 model, found {self.models}")

    def share(self, judge: Judge, features: int) -> Share:
        """The share of each of `features` processes of `judge`; with 0 of them, as if there were one.

        Raises
        ------
        ValueError
            `features` is negative, or the whole budget belongs to another judge.
        """
        if features < 0:
            raise ValueError(f"expected a number of features, found {features}")
        if self.only is not None and judge is not self.only:
            raise ValueError(f"expected {self.only.value}, which has the whole budget, found {judge.value}")
        part = 1.0 if self.only is judge else HUNDREDTHS[judge] / 100
        models = self.models if self.scope is Scope.PORTFOLIO else 1
        return Share(self.alpha * part / (max(features, 1) * models))
