"""Which column is too good to be true?

A single column that nearly tells the label deserves a look. It is a hint and never a verdict: most leaks score no
better than honest features do (of the five leaking columns of a year of flights one has an AUC above 0.95), and an
honest column may be that good. So a hint asks for four things at once:

* the column alone separates the classes (AUC from 0.95, the threshold of H2O's leakage check), or one of its values
  occurs with one class only and more often than chance would have it;
* measured on other entities than it was learned from, so that no column is good by having many values;
* at least five standard errors above chance, counting entities, not rows;
* and by a jump: the values that were readable at the prediction do not do the same. A column whose readable values are
  as good is simply good.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.kinds import shown
from features.plain import plain
from monitors.audit.encoding import CATEGORIES_MAX, Codes, Encoder, Reading, read_pair
from monitors.audit.figures import auc
from monitors.audit.labels import read_label
from monitors.audit.outcome import JSON, TableFinding
from monitors.audit.splits import shares
from monitors.verdicts import Severity

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

#: From this AUC on a single column is suspicious (H2O's default).
AUC_MIN = 0.95
#: So far above chance, and above the values that were readable, in standard errors.
ERRORS_MIN = 5.0
#: The same as a chance: one-sided normal tail beyond five standard errors, over all values tried.
CHANCE_MAX = 2.9e-7
#: Quantile bins of a number.
BINS = 64
#: Values named in the evidence.
_NAMED_MAX = 5


def too_good(
    feature: str,
    values: pa.Array,
    as_of: pa.Array,
    label: pa.Array,
    *,
    prediction_time_us: Int64,
    entity: UInt64,
) -> TableFinding | None:
    """A hint that one column tells the label, or None: nothing to say, or no label of two classes.

    Parameters
    ----------
    values, as_of
        The column as it is, and as it could have been read at the predictions.
    label
        Two classes; rows where it is NULL are left out.
    prediction_time_us, entity
        int64[n] microseconds UTC, and uint64[n] hashes of the entities.

    Examples
    --------
    >>> left = np.arange(400) % 2 == 0
    >>> values = pa.array(np.where(left, 0, 7), mask=left)
    >>> at = np.full(400, 1_700_000_000_000_000)
    >>> hint = too_good(
    ...     "plane",
    ...     values,
    ...     pa.array([7] * 400),
    ...     pa.array(left),
    ...     prediction_time_us=at,
    ...     entity=np.arange(400, dtype="u8"),
    ... )
    >>> hint.message.split(";")[0]
    'plane is NULL in 200 rows, all of them positive'
    """
    read = read_label(label)
    if isinstance(read, str) or not read.is_binary or values.equals(as_of):
        return None
    rows = np.flatnonzero(~np.isnan(read.values))
    old, new = (reading.take(rows) for reading in read_pair(values, as_of, prediction_time_us))
    asked = _Asked(read.values[rows], entity[rows])
    now, then = asked.separation(old), asked.separation(new)
    # As they are written, not as ages: a sentinel such as 2099-12-31 is one value, whenever the question was asked.
    pure = asked.pure(*(one.take(rows) for one in read_pair(values, as_of, np.zeros_like(prediction_time_us))))
    is_strong = now >= AUC_MIN and now - 0.5 >= ERRORS_MIN * asked.error
    is_jump = now - then >= ERRORS_MIN * math.sqrt(2.0) * asked.error
    if not pure and not (is_strong and is_jump):
        return None
    null_flag = auc(asked.rates(_is_null(old), 2), asked.truth)
    named = [one.told(shown(plain(values), int(rows[one.row]))) for one in pure]
    # Of a strong column the values of the common class say nothing more: among many values some have no positives.
    telling = [one for one, found in zip(named, pure, strict=True) if not is_strong or found.is_rarer]
    alone = f"alone it separates the label with an AUC of {now:.3f}"
    said = f"{feature} is too good to be true: {alone}"
    if telling:
        which = "NULL" if telling[0]["value"] is None else repr(telling[0]["value"])
        said = f"{feature} is {which} in {telling[0]['rows']:,} rows, all of them {telling[0]['class']}; {alone}"
    return TableFinding(
        kind="TOO_GOOD",
        severity=Severity.INFO,
        subject=feature,
        message=f"{said} ({then:.3f} with the values that were readable in time): a hint, never a verdict.",
        advice=f"Look at what writes {feature} and when; its verdict is what counts.",
        evidence={
            "auc": now,
            "auc_as_of": then,
            "auc_null_flag": null_flag,
            "standard_error": asked.error,
            "rows": int(rows.size),
            "positive_class": read.positive,
            "positive_share": float(asked.truth.mean()),
            "pure_values": list[JSON](named[:_NAMED_MAX]),
        },
    )


@dataclass(frozen=True, slots=True)
class _Pure:
    """A value that occurs with one class only."""

    row: int
    rows: int
    entities: int
    is_positive: bool
    is_rarer: bool
    log_chance: float

    def told(self, value: str | None) -> dict[str, JSON]:
        word = "positive" if self.is_positive else "negative"
        return {
            "value": value,
            "class": word,
            "rows": self.rows,
            "entities": self.entities,
            "p_value_bound": math.exp(self.log_chance),
        }


class _Asked:
    """The label, and what it takes to ask one column about it."""

    def __init__(self, truth: Float64, entity: UInt64) -> None:
        self.truth = truth
        _, self._entity = np.unique(entity, return_inverse=True)
        self._fold = shares(entity, 1) < 0.5
        # Of an AUC without any connection; rows of one entity tell no more than one.
        a, b = np.unique(self._entity[truth == 1]).size, np.unique(self._entity[truth == 0]).size
        self.error = math.sqrt((a + b + 1) / (12.0 * a * b))

    def rates(self, codes: Codes, levels: int) -> Float64:
        """float64[n]: the share of positives of each row's level among the rows of the other half."""
        found = np.empty(codes.size)
        for fold in (True, False):
            theirs = self._fold != fold
            positive = np.bincount(codes[theirs], self.truth[theirs], levels)
            count = np.bincount(codes[theirs], minlength=levels)
            base = self.truth[theirs].mean() if theirs.any() else 0.5
            # One row's worth of doubt: a level that the other half never saw answers like all rows.
            found[~theirs] = ((positive + base) / (count + 1.0))[codes[~theirs]]
        return found

    def separation(self, reading: Reading) -> float:
        """AUC of one column: shares learned from one half of the entities and asked about the other, both ways."""
        encoder = Encoder(reading, bins=BINS)  # bins know no label, so all rows may shape them
        answers = self.rates(encoder.codes(reading), encoder.levels)
        halves = [auc(answers[part], self.truth[part]) for part in (self._fold, ~self._fold)]
        there = [half for half in halves if not math.isnan(half)]
        return sum(there) / len(there) if there else 0.5

    def pure(self, reading: Reading, readable: Reading) -> list[_Pure]:
        """Values with one class only that are not as pure among the readable ones, least likely first."""
        bits, then = reading.bits(), readable.bits()
        seen, first, index = np.unique(bits, return_index=True, return_inverse=True)
        count = np.bincount(index)
        positive = np.bincount(index, self.truth)
        # The exact chance of n draws of one class, without replacement, is below that with replacement.
        share = float(self.truth.mean())
        most = np.lexsort((seen, -count))[: CATEGORIES_MAX + 1]
        found = []
        for value in most[(positive[most] == 0) | (positive[most] == count[most])]:
            is_positive = bool(positive[value])
            is_rarer = is_positive == (share <= 0.5)
            entities = np.unique(self._entity[index == value]).size
            log_chance = entities * math.log(share if is_positive else 1.0 - share)
            is_readable_too = then == seen[value]
            still = is_readable_too.any() and bool((self.truth[is_readable_too] == float(is_positive)).all())
            if log_chance + math.log(most.size) <= math.log(CHANCE_MAX) and not still:
                found.append(_Pure(int(first[value]), int(count[value]), entities, is_positive, is_rarer, log_chance))
        return sorted(found, key=lambda one: (one.log_chance, not one.is_positive))


def _is_null(reading: Reading) -> Codes:
    empty = reading.values == 0 if reading.is_category else np.isnan(reading.values)
    return np.asarray(empty, np.int64)
