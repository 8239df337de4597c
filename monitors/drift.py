"""Does this model still see the inputs that it was introduced with?

For every numeric feature the first predictions of the model are the *reference*. A tenth of it places the edges of 16
cells, the rest fills the bag of an exact conformal martingale (`kernels/martingale`), which then follows the stream and
bets on a change of location. Under "reference and stream are exchangeable" the chance of a false alarm, for ever, is at
most the `alpha` that the feature was given (`budget`), whatever its distribution and however short the reference.

Dependence breaks exchangeability: with autocorrelation 0.8 an untempered martingale alarms on every stable stream.
So the variance inflation of the reference in arrival order is estimated; above 1.2 all bets are tempered by it, and the
finding says *approximate* instead of *exact*.

Effect sizes (KS, PSI, shift in sigmas) describe an alarm; they never raise one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from features.lineage import text_hash
from monitors.kernels import martingale
from monitors.kernels.martingale import BETS, BLOCK, CELLS, SLOTS
from monitors.reference import (
    REFERENCE_ROWS_MIN,
    SHOWN_LEVELS,
    DriftReference,
    Effect,
    effect_between,
    quantiles_of,
)
from monitors.verdicts import JSON, Finding, Severity

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Arrays = Mapping[str, npt.NDArray[np.generic]]
Number = TypeVar("Number", np.float64, np.int64)

DRIFT = "DRIFT"

VIF_EXACT = 1.2  # below, inflation cannot be told from the noise of its own estimate
ALPHA_MIN = 1e-100  # keeps wealth far from overflow, see kernels/martingale

#: Sizes of the bets on location, in sigmas: a factor 1.38 apart, so no shift between them loses over 3 % of its growth.
SIZES = tuple(float(size) for size in np.geomspace(0.06, 2.0, BETS // 2))

_NORMAL = NormalDist()


def log_bets() -> Float64:
    """Logarithms of the bets, float64[64 slots, 24 bets]: normal-score tilts exp(t z - t²/2), averaged over each slot.

    Each bet has mean 1 over the slots: it is a density on [0, 1].

    Examples
    --------
    >>> bool(np.allclose(np.exp(log_bets()).mean(axis=0), 1.0, rtol=0, atol=1e-12))
    True
    """
    border = [-math.inf, *(_NORMAL.inv_cdf(slot / SLOTS) for slot in range(1, SLOTS)), math.inf]
    tilts = [-size for size in reversed(SIZES)] + list(SIZES)
    # the integral of a tilt between two normal scores is a normal probability of the shifted scores
    below = np.array([[_NORMAL.cdf(z - tilt) if math.isfinite(z) else float(z > 0) for tilt in tilts] for z in border])
    density = np.diff(below, axis=0) * SLOTS
    return np.asarray(np.log(density / density.mean(axis=0)), np.float64)


_LOG_BETS = log_bets()


class Guarantee(StrEnum):
    """How far the promise about false alarms goes."""

    EXACT = "exact"  # the reference shows no dependence: a theorem
    APPROXIMATE = "approximate"  # it does; bets were tempered by its variance inflation: a measurement


@dataclass(frozen=True, slots=True)
class Place:
    """One value of the stream: the `seen`-th number (from 0) and where it stands in the consumed log."""

    seen: int
    partition: int
    offset: int
    time_us: int


@dataclass(frozen=True, slots=True)
class DriftResult:
    """An alarm with the evidence needed to judge it again.

    Parameters
    ----------
    log_e
        Natural logarithm of the e-value at the alarm.
    log_e_limit
        ln(1/alpha): where the alarm is.
    vif, guarantee
        Variance inflation of the reference, and what it leaves of the promise.
    change
        Estimated first value after the change: the start on which the winning bet earned most.
    alarm
        The value that raised the alarm.
    n_reference, n_current
        Values in the bag of the reference, and from `change` to `alarm`.
    quantiles_reference, quantiles_current
        float64[5] at `SHOWN_LEVELS`: of the reference, and of the part of the last 100 values since `change`.
    """

    log_e: float
    log_e_limit: float
    vif: float
    guarantee: Guarantee
    change: Place
    alarm: Place
    n_reference: int
    n_current: int
    missing: int
    effect: Effect
    quantiles_reference: Float64
    quantiles_current: Float64


class _State(NamedTuple):
    """Arrays that the kernel changes in place; names and order are those of its arguments."""

    tally: Int64
    bag: Int64
    block_bag: Int64
    block: Float64
    grid: Int64
    wealth: Float64
    best: Float64
    starts: Int64
    start_bags: Int64

    @classmethod
    def before(cls, bag: Int64) -> "_State":
        return cls(
            tally=np.zeros(8, np.int64),
            bag=bag.copy(),
            block_bag=np.zeros(CELLS + 1, np.int64),
            block=np.zeros(BLOCK),
            grid=np.zeros(SLOTS, np.int64),
            wealth=np.zeros(BETS),
            best=np.full(BETS, -np.inf),
            starts=np.zeros((BETS, 4), np.int64),
            start_bags=np.zeros((BETS, CELLS + 1), np.int64),
        )


class DriftMonitor:
    """Watches one feature of one model, from its reference on.

    Parameters
    ----------
    reference
        What "as before" means.
    alpha
        Chance of a false alarm that this feature may spend in its whole life, at least 1e-100.
    seed
        Unsigned 64-bit: names the feature; with partition and offset it gives the random part of each p-value.

    Raises
    ------
    ValueError
        `alpha` is not between 1e-100 and 1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> monitor = DriftMonitor(DriftReference.fit(rng.normal(size=2000)), alpha=0.01, seed=7)
    >>> offsets = np.arange(1000)
    >>> monitor.observe(rng.normal(size=1000), offsets, partition=0) is None
    True
    >>> alarm = monitor.observe(rng.normal(1.0, size=1000), 1000 + offsets, partition=0)
    >>> alarm.change.offset, alarm.alarm.offset, alarm.guarantee.value
    (1000, 1099, 'exact')
    """

    def __init__(self, reference: DriftReference, *, alpha: float, seed: int) -> None:
        if not ALPHA_MIN <= alpha < 1:
            raise ValueError(f"expected an alpha between {ALPHA_MIN} and 1, found {alpha}")
        self.reference = reference
        self.alpha = alpha
        self._seed = np.uint64(seed)
        self._state = _State.before(reference.bag)

    @property
    def has_alarmed(self) -> bool:
        """Whether the alarm was raised; from then on nothing is observed any more, until a person starts anew."""
        return bool(self._state.tally[martingale.ALARMED])

    @property
    def missing(self) -> int:
        """NaN values met so far."""
        return int(self._state.tally[martingale.MISSING])

    @property
    def log_e(self) -> float:
        """Natural logarithm of the e-value at the last check; minus infinity before the first."""
        mean = float(self._state.wealth.mean())
        return math.log(mean) if mean > 0 else -math.inf

    def observe(
        self, values: Float64, offsets: Int64, partition: int | Int64, times_us: Int64 | None = None
    ) -> DriftResult | None:
        """Take the next values in order and answer with the alarm, if they raise it.

        How the stream is cut into calls never matters: checks come after every 100 numbers.

        Parameters
        ----------
        values
            float64[n]; NaN is counted as missing and moves nothing else, infinite values are values. May be empty.
        offsets
            int64[n], where each value stands in its partition; a (partition, offset) may occur once in a life.
        partition
            One for all values, or int64[n].
        times_us
            int64[n], for the evidence only; 0 when absent.

        Raises
        ------
        ValueError
            The arrays differ in length.
        """
        times_us = np.zeros(offsets.size, np.int64) if times_us is None else times_us
        if not values.size == offsets.size == times_us.size:
            raise ValueError(
                f"expected as many values as offsets and times, found {values.size}, {offsets.size}, {times_us.size}"
            )
        if self.has_alarmed or not values.size:
            return None
        partitions = np.full(values.size, partition, np.int64)
        at = martingale.follow(
            _ready(values, np.float64),
            _ready(offsets, np.int64),
            partitions,
            _ready(times_us, np.int64),
            self._seed,
            self.reference.edges,
            _LOG_BETS,
            1.0 if self.guarantee is Guarantee.EXACT else 1 / self.reference.vif,
            1 / self.alpha,
            *self._state,
        )
        if at < 0:
            return None
        return self._result(Place(self._seen - 1, int(partitions[at]), int(offsets[at]), int(times_us[at])))

    @property
    def guarantee(self) -> Guarantee:
        """Exact unless the reference shows dependence."""
        return Guarantee.EXACT if self.reference.vif <= VIF_EXACT else Guarantee.APPROXIMATE

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything `restore` needs, as copied arrays of fixed size (6.3 kB)."""
        own = {name: array.copy() for name, array in self._state._asdict().items()}
        reference = {
            f"reference_{field.name}": np.array(getattr(self.reference, field.name)) for field in fields(DriftReference)
        }
        return own | reference

    def restore(self, arrays: Arrays) -> None:
        """Continue where the monitor was when `arrays` were its snapshot. Alpha and seed stay those of this monitor.

        Raises
        ------
        KeyError
            An array is absent.
        ValueError
            An array has another shape than this release's.
        """
        state = _State.before(np.zeros(CELLS + 1, np.int64))
        for name, array in state._asdict().items():
            _copy_into(array, arrays[name], name)
        edges, bag, quantiles = np.empty(CELLS), np.empty(CELLS + 1, np.int64), np.empty(len(SHOWN_LEVELS))
        for name, into in (("edges", edges), ("bag", bag), ("quantiles", quantiles)):
            _copy_into(into, arrays[f"reference_{name}"], f"reference_{name}")
        numbers = (arrays[f"reference_{name}"].item() for name in ("vif", "rows", "missing"))
        self.reference = DriftReference(edges, bag, quantiles, *numbers)
        self._state = state

    @property
    def _seen(self) -> int:
        return int(self._state.tally[martingale.SEEN])

    def _result(self, alarm: Place) -> DriftResult:
        state = self._state
        bet = int(np.argmax(state.best))
        start = state.starts[bet]
        change = Place(
            int(start[martingale.START_SEEN]),
            int(start[martingale.START_PARTITION]),
            int(start[martingale.START_OFFSET]),
            int(start[martingale.START_TIME_US]),
        )
        return DriftResult(
            log_e=self.log_e,
            log_e_limit=-math.log(self.alpha),
            vif=self.reference.vif,
            guarantee=self.guarantee,
            change=change,
            alarm=alarm,
            n_reference=int(self.reference.bag[0]),
            n_current=alarm.seen + 1 - change.seen,
            missing=self.missing,
            effect=effect_between(self.reference.bag, state.bag - state.start_bags[bet]),
            quantiles_reference=self.reference.quantiles,
            quantiles_current=quantiles_of(state.block),
        )


def _ready(array: npt.NDArray[Number], dtype: type[Number]) -> npt.NDArray[Number]:
    # A read-only array (Arrow's) or one with gaps is another type to numba: it would compile anew on a first event.
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable:
        return array
    return np.array(array, dtype)


def _copy_into(into: npt.NDArray[np.generic], array: npt.NDArray[np.generic], name: str) -> None:
    if into.shape != array.shape:
        raise ValueError(f"expected {name} of shape {into.shape}, found {array.shape}")
    into[...] = array


class DriftJudge:
    """Watches the numeric features of one model: takes its first predictions as reference, then judges the others.

    Parameters
    ----------
    features
        Numeric features, in a fixed order, without repetition.
    reference_rows
        Predictions in the reference, at least 30.
    alpha
        Chance of a false alarm for each feature, from `budget`: the division over features is made there.

    Raises
    ------
    ValueError
        Too few reference rows, a feature named twice, or an alpha out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> judge = DriftJudge("churn", ("age",), reference_rows=500, alpha=0.0024)
    >>> at = np.arange(2000)
    >>> ages = np.where(at < 1200, 40.0, 47.0) + rng.normal(0, 10, size=2000)
    >>> finding, = judge.observe({"age": ages}, at, partition=0, read_time_us=at)
    >>> finding.kind, finding.severity.value, finding.since_us, finding.evidence["alarm_offset"]
    ('DRIFT', 'page', 1200, 1299)
    """

    def __init__(self, model: str, features: Sequence[str], *, reference_rows: int, alpha: float) -> None:
        if reference_rows < REFERENCE_ROWS_MIN:
            raise ValueError(f"expected at least {REFERENCE_ROWS_MIN} reference rows, found {reference_rows}")
        if len(set(features)) < len(features):
            raise ValueError(f"expected every feature once, found {', '.join(features)}")
        self.model = model
        self.features = tuple(features)
        self._alpha = alpha
        self._rows = 0  # of the reference, so far
        self._reference_until_us = -(2**63)
        self._buffer = np.full((len(self.features), reference_rows), np.nan)
        nothing = DriftReference.fit(np.empty(0))
        self._monitors = [self._monitor(feature, nothing) for feature in self.features]

    @property
    def has_reference(self) -> bool:
        """Whether the reference is complete and features are being watched."""
        return self._rows == self._buffer.shape[1]

    def monitor(self, feature: str) -> DriftMonitor:
        """The monitor of a feature; before the reference is complete, one that has seen nothing."""
        return self._monitors[self.features.index(feature)]

    def observe(
        self, columns: Mapping[str, Float64], offsets: Int64, *, partition: int | Int64, read_time_us: Int64
    ) -> list[Finding]:
        """Take the next predictions of the model, in arrival order; answer with the features that now alarm.

        Parameters
        ----------
        columns
            float64[n] per feature, NaN where a value is absent or no number. An absent column is all NaN.
        offsets
            int64[n] in their partition; a (partition, offset) may occur once in a life.
        partition
            One for all rows, or int64[n].
        read_time_us
            int64[n]; for the evidence only.
        """
        n = offsets.size
        taken = min(n, self._buffer.shape[1] - self._rows)
        given = [np.asarray(columns[name]) if name in columns else np.full(n, np.nan) for name in self.features]
        if taken:
            self._take_reference([column[:taken] for column in given], read_time_us[:taken])
        if taken == n:
            return []
        findings = []
        partitions = np.broadcast_to(np.asarray(partition, np.int64), offsets.shape)
        for feature, monitor, column in zip(self.features, self._monitors, given, strict=True):
            result = monitor.observe(column[taken:], offsets[taken:], partitions[taken:], read_time_us[taken:])
            if result is not None:
                findings.append(finding_of(self.model, feature, result, monitor, self._reference_until_us))
        return findings

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """What `restore` needs: the arrays of the monitors, stacked (a row per feature), and the reference so far."""
        own: dict[str, npt.NDArray[np.generic]] = {
            "features": np.array(self.features, np.str_),
            "progress": np.array([self._rows, self._buffer.shape[1], self._reference_until_us], np.int64),
            "buffer": self._buffer[:, : 0 if self.has_reference else self._rows].copy(),
        }
        shots = [monitor.snapshot() for monitor in self._monitors]
        return own | {name: np.stack([shot[name] for shot in shots]) for name in (shots[0] if shots else ())}

    def restore(self, arrays: Arrays) -> None:
        """Continue where the judge was when `arrays` were its snapshot.

        Raises
        ------
        ValueError
            The snapshot is of other features or another number of reference rows.
        """
        found = tuple(str(name) for name in arrays["features"])
        rows, rows_wanted, until_us = (int(number) for number in arrays["progress"])
        if found != self.features or rows_wanted != self._buffer.shape[1]:
            raise ValueError(
                f"expected a snapshot of {', '.join(self.features)} with {self._buffer.shape[1]} reference rows, "
                f"found {', '.join(found)} with {rows_wanted}"
            )
        self._rows, self._reference_until_us = rows, until_us
        self._buffer[:, : arrays["buffer"].shape[1]] = arrays["buffer"]
        for i, monitor in enumerate(self._monitors):
            monitor.restore({name: array[i] for name, array in arrays.items() if name not in _OWN})

    def _take_reference(self, columns: list[Float64], read_time_us: Int64) -> None:
        n = read_time_us.size
        for row, column in zip(self._buffer, columns, strict=True):
            row[self._rows : self._rows + n] = column
        self._rows += n
        self._reference_until_us = max(self._reference_until_us, int(read_time_us.max()))
        if self.has_reference:
            fits = [DriftReference.fit(row) for row in self._buffer]
            self._monitors = [self._monitor(name, fit) for name, fit in zip(self.features, fits, strict=True)]

    def _monitor(self, feature: str, reference: DriftReference) -> DriftMonitor:
        seed = text_hash(msgspec.json.encode([self.model, feature]).decode())
        return DriftMonitor(reference, alpha=self._alpha, seed=seed)


_OWN = {"features", "progress", "buffer"}


def finding_of(
    model: str, feature: str, result: DriftResult, monitor: DriftMonitor, reference_until_us: int
) -> Finding:
    """The finding of severity `page` that an alarm is, with its evidence and the SQL that shows it."""
    effect: dict[str, JSON] = {name: _shown(value) for name, value in asdict(result.effect).items()}
    evidence: dict[str, JSON] = {
        "log_e": _shown(result.log_e),
        "log_e_limit": _shown(result.log_e_limit),
        "alpha": monitor.alpha,
        "guarantee": result.guarantee.value,
        "vif": _shown(result.vif),
        "n_reference": result.n_reference,
        "n_current": result.n_current,
        "missing": result.missing,
        "reference_until_us": reference_until_us,
        "change_partition": result.change.partition,
        "change_offset": result.change.offset,
        "change_time_us": result.change.time_us,
        "alarm_partition": result.alarm.partition,
        "alarm_offset": result.alarm.offset,
        "alarm_time_us": result.alarm.time_us,
        **effect,
        "quantile_levels": list(SHOWN_LEVELS),
        "quantiles_reference": [_shown(value) for value in result.quantiles_reference],
        "quantiles_current": [_shown(value) for value in result.quantiles_current],
    }
    sql = _sql(model, feature, reference_until_us, result.change.time_us, result.alarm.time_us)
    return Finding.of(model, feature, DRIFT, Severity.PAGE, result.change.time_us, evidence, sql)


def _shown(number: float) -> JSON:
    # JSON has neither NaN nor infinity; twelve digits are the same whatever libm a machine has
    return float(f"{number:.12g}") if math.isfinite(number) else None


def _sql(model: str, feature: str, reference_until_us: int, change_us: int, alarm_us: int) -> str:
    levels = ", ".join(str(level) for level in SHOWN_LEVELS)
    return (
        f"SELECT CASE WHEN read_time_us <= {reference_until_us} THEN 'reference' ELSE 'current' END AS period, "
        "count(*) AS n, avg(value_num) AS mean, stddev_samp(value_num) AS sd, "
        f"quantile_cont(value_num, [{levels}]) AS quantiles "
        "FROM prediction_values "
        f"WHERE model = {_quoted(model)} AND feature = {_quoted(feature)} AND NOT isnan(value_num) "
        f"AND (read_time_us <= {reference_until_us} OR read_time_us BETWEEN {change_us} AND {alarm_us}) "
        "GROUP BY period ORDER BY period DESC"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def warm_up() -> None:
    """Compile or load the kernels, so that no first event waits for them (about a second from the cache)."""
    judge = DriftJudge("", ("",), reference_rows=REFERENCE_ROWS_MIN, alpha=0.5)
    rows = REFERENCE_ROWS_MIN + BLOCK
    judge.observe({"": np.arange(float(rows))}, np.arange(rows), partition=0, read_time_us=np.arange(rows))
