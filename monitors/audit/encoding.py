"""What of a feature can the small models of the audit see?

A column of any type becomes numbers or categories (`read_pair`), and these become small codes (`Encoder`): level 0 is
NULL, then come quantile bins or the most frequent categories. Bins and categories are fitted on training rows only
and never look at a label, so nothing of the test part or of the answer slips in beside the model. Only the choice
between number, time and category looks at all rows.

Times become ages, prediction time minus value: a model that learns the calendar day learns nothing for tomorrow.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import comparison, times
from features.kinds import Kind
from features.numerals import has_numerals, numbers, numerals
from features.plain import is_texts, plain, valid
from features.stamps import StampError, read_stamps

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int64]

#: Most frequent values of a category that get a level of their own.
CATEGORIES_MAX = 20
#: Texts tried before a whole column is read as times.
_TRIED = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """One column as a model sees it.

    Parameters
    ----------
    values
        float64[n] with NaN for NULL (ages in microseconds where the column holds times), or uint64[n] hashes of
        categories with 0 for NULL.
    is_category
        Which of the two.
    """

    values: Float64 | UInt64
    is_category: bool

    def take(self, rows: Int64) -> "Reading":
        """The rows asked for, in that order."""
        return Reading(self.values[rows], self.is_category)

    def bits(self) -> UInt64:
        """uint64[n]: equal values have equal bits (-0.0 is 0.0, every NaN is one)."""
        if self.is_category:
            return self.values.astype(np.uint64)
        return np.where(np.isnan(self.values), np.nan, self.values + 0.0).view(np.uint64)

    def differs(self, other: "Reading") -> npt.NDArray[np.bool_]:
        """bool[n]: where two readings of one feature are not the same value."""
        return np.asarray(self.bits() != other.bits(), np.bool_)


def read_pair(one: pa.Array, other: pa.Array, prediction_time_us: Int64) -> tuple[Reading, Reading]:
    """One feature in two tables of the same rows, read in one way.

    Numbers are what the type or every text says; times are Arrow timestamps and dates, ISO 8601 texts, and numbers
    that are all times between 1971 and 2099 in one unit; anything else is a category.

    Examples
    --------
    >>> at = np.array([1_700_000_000_000_000, 1_700_000_000_000_000])
    >>> old, new = read_pair(pa.array([1_699_999_990, None]), pa.array([1_699_999_990, 1_699_999_999]), at)
    >>> old.values.tolist(), new.values.tolist()
    ([10000000.0, nan], [10000000.0, 1000000.0])
    >>> read_pair(pa.array(["a", None]), pa.array(["a", "b"]), at)[1].is_category
    True
    """
    columns = (plain(one), plain(other))
    found = [_instants(column) for column in columns]
    if any(instants is None for instants in found):
        found = [_numbers(column) for column in columns]
        if any(values is None for values in found):
            return _category(columns[0]), _category(columns[1])
        scale = _time_scale(np.concatenate([values for values in found if values is not None]))
        if scale is None:
            return _number(found[0]), _number(found[1])
        found = [None if values is None else values * scale for values in found]
    read = prediction_time_us.astype(np.float64)
    return _number(found[0], read), _number(found[1], read)


class Encoder:
    """Levels of one feature, fitted on the rows it is given.

    Parameters
    ----------
    fitted
        The training rows.
    bins
        Number of quantile bins of a number; a number with at most twice as many values has a level for each.

    Attributes
    ----------
    levels
        Number of levels, level 0 being NULL. Categories end with one level for all others.

    Examples
    --------
    >>> encoder = Encoder(Reading(np.array([1.0, 2.0, np.nan]), False), bins=8)
    >>> encoder.levels, encoder.codes(Reading(np.array([np.nan, 0.5, 7.0]), False)).tolist()
    (3, [0, 1, 2])
    """

    def __init__(self, fitted: Reading, *, bins: int) -> None:
        self._is_category = fitted.is_category
        self._edges: Float64 | UInt64
        if fitted.is_category:
            seen, counts = np.unique(fitted.values[fitted.values != 0], return_counts=True)
            # Ties by the hash, in whose order `seen` is: which rows came first must not decide.
            most = np.argsort(-counts, kind="stable")[:CATEGORIES_MAX]
            self._edges = np.sort(seen[most])
            self.levels = self._edges.size + 2
            return
        there = np.asarray(np.sort(fitted.values[~np.isnan(fitted.values)]), np.float64)
        distinct = _distinct(there)
        if distinct.size > 2 * bins:
            # Observed values, the smallest that a share i/bins does not exceed: nothing is interpolated.
            cuts = np.ceil(np.arange(1, bins) * there.size / bins).astype(np.int64) - 1
            distinct = np.append(_distinct(there[cuts]), np.inf)
        self._edges = np.asarray(distinct[:-1], np.float64)
        self.levels = self._edges.size + 2

    def codes(self, reading: Reading) -> Codes:
        """int64[n] levels; a value never seen in training falls into the bin it lies in, or is one of the others."""
        if not self._is_category:
            found = np.searchsorted(self._edges, reading.values, side="left") + 1
            return np.where(np.isnan(reading.values), 0, found)
        if self._edges.size == 0:
            return np.where(reading.values == 0, 0, 1)
        place = np.minimum(np.searchsorted(self._edges, reading.values), self._edges.size - 1)
        is_known = self._edges[place] == reading.values
        return np.where(reading.values == 0, 0, np.where(is_known, place + 1, self._edges.size + 1))


def _distinct(rising: Float64) -> Float64:
    return rising[np.append(True, rising[1:] != rising[:-1])] if rising.size else rising


def _number(values: Float64 | None, read_us: Float64 | None = None) -> Reading:
    assert values is not None
    return Reading(values if read_us is None else read_us - values, False)


def _category(column: pa.Array) -> Reading:
    kind = Kind.NESTED if pa.types.is_nested(column.type) else Kind.TEXT
    return Reading(comparison.hashes(column, kind), True)


def _instants(column: pa.Array) -> Float64 | None:
    """Microseconds, NaN for NULL; None if the column's type or texts are no times."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return numbers(column)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not is_texts(kind):
        return None
    tried = column.drop_null()
    if len(tried) == 0:
        return np.full(len(column), np.nan)
    try:
        if "text" not in read_stamps(tried.slice(0, _TRIED)).units:
            return None
        read = read_stamps(column)
    except StampError:
        return None
    return np.where(read.missing, np.nan, read.us.astype(np.float64)) if read.units == {"text"} else None


def _numbers(column: pa.Array) -> Float64 | None:
    """float64[n], NaN for NULL; None if something in the column is no number."""
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return numbers(column)
    if not has_numerals(kind):
        return None
    read = numerals(column)
    return read.floats if bool((read.is_number | ~valid(column)).all()) else None


def _time_scale(values: Float64) -> float | None:
    """Microseconds per unit in which all values are times between 1971 and 2099; None if there is no such unit."""
    there = values[~np.isnan(values)]
    if there.size == 0:
        return None
    low, high = float(there.min()), float(there.max())
    for scale in (1_000_000.0, 1_000.0, 1.0, 0.001):
        if low * scale >= times.EARLIEST_US and high * scale <= times.LATEST_US:
            return scale
    return None
