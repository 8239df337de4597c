"""Which aggregates are there, and what is each made of?

An aggregate is folded into panes row by row, and its value is put together from the panes of the window.

==========  ======================================================  ==================
aggregate   value                                                   empty window
==========  ======================================================  ==================
count       rows; with a column or expression, its non-NULL values  0
sum         pane sums, added from the oldest pane to the newest     0
mean        that sum / number of values                             NULL
min, max    least, greatest value                                   NULL
last        value of the newest row by (event time, log order)      NULL
==========  ======================================================  ==================

NULL inputs are skipped. Within a pane, values are added in log order: the sum is the same wherever batches are cut,
but rows in another order may change its last bits. A result that is not finite (float64 has run over) is NULL.
"""

from dataclasses import dataclass

COUNT, SUM, MEAN, MIN, MAX, LAST = range(6)


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What one aggregate needs: its code in the kernels, and the pane accumulator that it is made from."""

    code: int
    accumulator: int | None  # SUM, MIN or MAX; None: counts or the newest value suffice


AGGREGATES: dict[str, Ingredients] = {
    "count": Ingredients(COUNT, None),
    "sum": Ingredients(SUM, SUM),
    "mean": Ingredients(MEAN, SUM),
    "min": Ingredients(MIN, MIN),
    "max": Ingredients(MAX, MAX),
    "last": Ingredients(LAST, None),
}
