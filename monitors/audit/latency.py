"""How long did versions take from happening to being readable, and is that within the budget?

A sketch in buckets of one per cent (in the manner of DDSketch, Masson et al. 2019), with bounds in whole microseconds
so that a lag is in the same bucket on every machine; shares over a limit and the greatest lag are exact.

How to call it: one `LatencySketch` per feature (or per group of features that share their rows), any batches of its
versions: event times, visible times, row numbers, and which rows are snapshots.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.audit.occurrences import Occurrences, about
from monitors.audit.outcome import Latency, TableFinding
from monitors.verdicts import Severity

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Quantiles in thousandths: p50, p95, p99, p99.9.
_QUANTILES = (500, 950, 990, 999)

#: A budget is about the 99th percentile: it is broken when more than this share is above.
_OVER_MAX = 0.01


def _buckets() -> tuple[Int64, Int64]:
    """Last lag of each bucket and the lag that stands for it, at most 1 % from every lag in it; exact up to 99 us."""
    last, middle = [], []
    low = 1
    while low < FOREVER_US:
        middle.append(min(low + low // 100, FOREVER_US))
        last.append(min(middle[-1] * 100 // 99, FOREVER_US))
        low = last[-1] + 1
    return np.array(last, np.int64), np.array(middle, np.int64)


_LAST, _MIDDLE = _buckets()


@dataclass(slots=True)
class LatencySketch:
    """Lags of the versions of a feature, microseconds.

    Parameters
    ----------
    assumed_lag_us
        What training assumed between event and visibility; versions that took longer are backfill.
    budget_us
        The declared budget; None: there is none.

    Examples
    --------
    >>> sketch = LatencySketch(assumed_lag_us=0, budget_us=2_000_000)
    >>> sketch.observe(np.array([0, 0]), np.array([1_000, 3_000_000]), np.array([0, 1]))
    >>> found = sketch.latency()
    >>> found.versions, found.p50_us, found.max_us, found.backfill_share, found.over_budget_share
    (2, 1000, 3000000, 1.0, 0.5)
    >>> sketch.findings("visits")[0].kind
    'LATE'
    """

    assumed_lag_us: int = 0
    budget_us: int | None = None
    versions: int = 0
    backfilled: int = 0
    over_budget: Occurrences = field(default_factory=Occurrences)
    _max_us: int = NEVER_US
    # Negative lags (future-dated versions) mirrored in front, then those of 0, then the positive ones.
    _counts: Int64 = field(default_factory=lambda: np.zeros(2 * _LAST.size + 1, np.int64))

    def observe(self, event_us: Int64, visible_us: Int64, row: Int64, is_snapshot: Bool | None = None) -> None:
        """Take in versions.

        Parameters
        ----------
        event_us, visible_us
            int64[n]; versions without an event time (NEVER_US) or a known visible time (FOREVER_US) have no lag.
        is_snapshot
            bool[n]: rows of a snapshot (op ``r``), which count as backfill.
        """
        there = (event_us != NEVER_US) & (visible_us != FOREVER_US) & (visible_us != NEVER_US)
        lag = visible_us[there] - event_us[there]
        if lag.size == 0:
            return
        self.versions += int(lag.size)
        self._max_us = max(self._max_us, int(lag.max()))
        is_backfill = lag > self.assumed_lag_us
        if is_snapshot is not None:
            is_backfill |= is_snapshot[there]
        self.backfilled += int(np.count_nonzero(is_backfill))
        if self.budget_us is not None:
            self.over_budget.add(row[there], lag > self.budget_us)
        bucket = np.searchsorted(_LAST, np.abs(lag)) + 1
        place = _LAST.size + np.sign(lag) * bucket
        self._counts += np.bincount(place, minlength=self._counts.size)

    def merge(self, other: "LatencySketch") -> None:
        """Take in what another sketch with the same limits has seen."""
        self.versions += other.versions
        self.backfilled += other.backfilled
        self._max_us = max(self._max_us, other._max_us)
        self.over_budget.merge(other.over_budget)
        self._counts += other._counts

    def latency(self) -> Latency | None:
        """What was measured; None if no version had a lag."""
        if self.versions == 0:
            return None
        p50, p95, p99, p999 = (self._quantile(q) for q in _QUANTILES)
        return Latency(
            versions=self.versions,
            p50_us=p50,
            p95_us=p95,
            p99_us=p99,
            p999_us=p999,
            max_us=self._max_us,
            backfill_share=self.backfilled / self.versions,
            over_budget_share=None if self.budget_us is None else self.over_budget.count / self.versions,
        )

    def findings(self, feature: str) -> tuple[TableFinding, ...]:
        """LATE, if the budget is broken."""
        found = self.latency()
        if found is None or self.budget_us is None:
            return ()
        late_ = late(feature, found, self.budget_us, rows=self.over_budget)
        return () if late_ is None else (late_,)

    def _quantile(self, thousandths: int) -> int:
        rank = -(-thousandths * self.versions // 1000)
        place = int(np.searchsorted(np.cumsum(self._counts), rank)) - _LAST.size
        if place == 0:
            return 0
        us = int(_MIDDLE[abs(place) - 1])
        return min(us if place > 0 else -us, self._max_us)


def late(feature: str, latency: Latency, budget_us: int, *, rows: Occurrences | None = None) -> TableFinding | None:
    """LATE if the 99th percentile is above the budget, decided by the exact share; None if it is within.

    Parameters
    ----------
    rows
        The versions over the budget, to name the first.

    Examples
    --------
    >>> late("visits", Latency(100, 5, 5, 5, 5, 9, 1.0, 0.01), 8) is None
    True
    """
    if latency.over_budget_share is None or latency.over_budget_share <= _OVER_MAX:
        return None
    first = f" (first: row {rows.first} of its log)" if rows is not None and rows.count else ""
    return TableFinding(
        "LATE",
        Severity.WARNING,
        feature,
        f"{feature!r} is readable {about(latency.p99_us)} after the event in the slowest hundredth of its versions, "
        f"and {100 * latency.over_budget_share:.3g} % exceed the budget of {about(budget_us)}{first}.",
        "Train with the lag that production has: join by visible time, or declare the real lag and budget.",
        {
            "p99_us": latency.p99_us,
            "max_us": latency.max_us,
            "budget_us": budget_us,
            "over_budget_share": latency.over_budget_share,
            "backfill_share": latency.backfill_share,
            **({} if rows is None else rows.evidence()),
        },
    )
