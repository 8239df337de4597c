"""What did a feature look like when its model was introduced, and how far from that is it now?

A tenth of the first values places the edges of 16 cells, the rest is counted in them. Everything else is read off such
counts (*bags*, see `kernels/martingale`): which cell a new value is in, and how large a change is.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from monitors.kernels import martingale
from monitors.kernels.martingale import CELLS

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Levels of the 15 edges, dense in the tails, where drift of scale and broken units show first.
LEVELS = (0.003, 0.015, 0.05, 0.10, 0.18, 0.28, 0.39, 0.50, 0.61, 0.72, 0.82, 0.90, 0.95, 0.985, 0.997)
SHOWN_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles in a finding
EDGE_ROWS_EVERY = 10  # every tenth row of the reference goes to the edges: exactness forbids counting it as well
REFERENCE_ROWS_MIN = 30  # fewer leave two edges

_NORMAL = NormalDist()


def edges_of(values: Float64) -> Float64:
    """Edges of the cells, float64[16]: increasing, unused lanes NaN.

    A level that repeats is an atom, a value that many rows share. It gets a cell of its own, up to the next float, so
    that what lies above it can be told from it.

    Examples
    --------
    >>> edges_of(np.arange(1000.0))[[0, 7, 14, 15]].tolist()
    [2.0, 499.0, 996.0, nan]
    >>> edges_of(np.zeros(9))[:3].tolist()      # below, at, and above 0
    [0.0, 5e-324, nan]
    """
    edges = np.full(CELLS, np.nan)
    if values.size:
        found, times = np.unique(np.quantile(values, LEVELS, method="inverted_cdf"), return_counts=True)
        # as many edges as levels at most: an atom's second edge replaces its repeated level
        found = np.unique(np.concatenate([found, np.nextafter(found[times > 1], np.inf)]))
        edges[: found.size] = found
    return edges


def variance_inflation(values: Float64) -> float:
    """How many dependent values weigh as much as one independent one, from their ranks in arrival order; at least 1.

    1 + 2 (sum of autocorrelations), summed in pairs of lags while the pairs stay positive and fall (Geyer's initial
    monotone sequence, Statistical Science 1992). Without spread, or below 30 values: 1.

    Examples
    --------
    >>> noise = np.random.default_rng(3).normal(size=2000)
    >>> variance_inflation(noise) < 1.2 < 3 < variance_inflation(np.convolve(noise, np.ones(5)))
    True
    """
    n = values.size
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    if n < REFERENCE_ROWS_MIN or times.size < 2:
        return 1.0
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]  # equal values share their mean rank
    ranks = ranks - ranks.mean()
    spread = float(ranks @ ranks)
    total, last = 0.0, math.inf
    for lag in range(0, n // 2, 2):
        pair = sum(float(ranks[: n - at] @ ranks[at:]) / spread for at in (lag, lag + 1))
        if pair <= 0:
            break
        last = min(last, pair)
        total += last
    return max(1.0, 2 * total - 1)


@dataclass(frozen=True, slots=True)
class DriftReference:
    """What a feature looked like when its model was introduced.

    Parameters
    ----------
    edges
        float64[16], see `edges_of`.
    bag
        int64[17], see `kernels/martingale`: the counts of the nine tenths that did not place the edges.
    quantiles
        float64[5] at `SHOWN_LEVELS`, of all values; NaN without values.
    vif
        Variance inflation in arrival order, at least 1.
    rows, missing
        Rows given, and how many of them were NaN.
    """

    edges: Float64
    bag: Int64
    quantiles: Float64
    vif: float
    rows: int
    missing: int

    @classmethod
    def fit(cls, values: Float64) -> "DriftReference":
        """The reference of `values` (float64[n], in arrival order; NaN is missing, infinite values are values).

        Without any number there are no edges; a stream is then in one cell for ever and raises no alarm.

        Examples
        --------
        >>> reference = DriftReference.fit(np.arange(1000.0))
        >>> int(reference.bag[0]), reference.quantiles.tolist()
        (900, [49.0, 249.0, 499.0, 749.0, 949.0])
        """
        numbers = values[~np.isnan(values)]
        is_edge_row = np.arange(numbers.size) % EDGE_ROWS_EVERY == 0
        edges = edges_of(numbers[is_edge_row])
        rest = np.ascontiguousarray(numbers[~is_edge_row])
        cells, bag = np.empty(rest.size, np.int64), np.zeros(CELLS + 1, np.int64)
        martingale.find_cells(rest, edges, cells)
        martingale.fill_bag(cells, bag)
        missing = values.size - numbers.size
        return cls(edges, bag, quantiles_of(numbers), variance_inflation(numbers), values.size, missing)


def quantiles_of(values: Float64) -> Float64:
    """Order statistics at `SHOWN_LEVELS`, float64[5]; NaN for no values."""
    if not values.size:
        return np.full(len(SHOWN_LEVELS), np.nan)
    return np.asarray(np.quantile(values, SHOWN_LEVELS, method="inverted_cdf"))


@dataclass(frozen=True, slots=True)
class Effect:
    """How large a change is, from counts in the same cells.

    Parameters
    ----------
    ks
        Greatest gap between the two distribution functions at the edges, 0 to 1.
    psi
        Population stability index, sum (q - p) ln(q/p) with half a row added to every cell.
    psi_expected
        What `psi` is on average without any change: (cells - 1) (1/n_reference + 1/n_current).
    shift_sigma
        Change of the mean normal score, in sigmas of the reference.
    """

    ks: float
    psi: float
    psi_expected: float
    shift_sigma: float


def effect_between(reference: Int64, current: Int64) -> Effect:
    """Effect sizes of `current` against `reference`, both bags (int64[17]) over the same edges.

    An empty bag on either side gives NaN throughout.

    Examples
    --------
    >>> bag = np.array([100, 50] + [0] * 15)      # half of the values in each of the first two cells
    >>> effect_between(bag, bag).ks, round(effect_between(bag, np.array([100, 80] + [0] * 15)).ks, 3)
    (0.0, 0.3)
    """
    n, m = int(reference[0]), int(current[0])
    if n == 0 or m == 0:
        return Effect(math.nan, math.nan, math.nan, math.nan)
    ks = float(np.abs(reference / n - current / m).max())
    # cells that neither has seen say nothing (lanes without an edge are such)
    is_live = (np.diff(reference) != 0) | (np.diff(current) != 0)
    cells = int(is_live.sum())
    p = (-np.diff(reference)[is_live] + 0.5) / (n + cells / 2)
    q = (-np.diff(current)[is_live] + 0.5) / (m + cells / 2)
    psi = float(((q - p) * np.log(q / p)).sum())
    heights = [_NORMAL.pdf(_NORMAL.inv_cdf(level)) for level in np.cumsum(p)[:-1]]
    scores = -np.diff(np.array([0.0, *heights, 0.0])) / p  # mean normal score inside each cell
    weight = float(p @ scores**2)
    shift = float((q - p) @ scores) / weight if weight > 0 else 0.0
    return Effect(ks, psi, (cells - 1) * (1 / n + 1 / m), shift)
