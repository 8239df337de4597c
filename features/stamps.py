"""Which instants does this column mean, in which unit were they written, and how finely?

Whole columns of stamps become int64 microseconds UTC at once, whatever type they arrive in. What cannot be a time is
an error that names the row: a guessed time would convict or acquit without evidence.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import times
from features.kernels import stamps as kernel
from features.plain import Bool, Int64, UInt8, first_not_text, is_texts, letters, plain, valid

Float64 = npt.NDArray[np.float64]

MINUTE_US, HOUR_US, DAY_US = 60_000_000, 3_600_000_000, 86_400_000_000

#: Resolutions that a log may have, finest first, and how many stamps must agree before one is believed
#: (the audit's contract).
RESOLUTIONS_US = (1, 1_000, 1_000_000, MINUTE_US, HOUR_US, DAY_US)
RESOLUTION_STAMPS_MIN = 200

# Codes beyond those of the kernel: stamps with a fraction, by unit and the resolution that it shows, and Arrow's types.
_S_TO_MS, _S_TO_US, _MS_TO_US, _DATE = 12, 13, 14, 15

#: (unit, resolution in microseconds) of each code.
_CODES = {
    kernel.WHOLE_S: ("s", 1_000_000),
    kernel.WHOLE_MS: ("ms", 1_000),
    kernel.WHOLE_US: ("us", 1),
    kernel.WHOLE_NS: ("ns", 1),
    kernel.TEXT_DAY: ("text", DAY_US),
    kernel.TEXT_HOUR: ("text", HOUR_US),
    kernel.TEXT_MINUTE: ("text", MINUTE_US),
    kernel.TEXT_S: ("text", 1_000_000),
    kernel.TEXT_MS: ("text", 1_000),
    kernel.TEXT_US: ("text", 1),
    _S_TO_MS: ("s", 1_000),
    _S_TO_US: ("s", 1),
    _MS_TO_US: ("ms", 1),
    _DATE: ("date", DAY_US),
}
_WHOLE = {"s": kernel.WHOLE_S, "ms": kernel.WHOLE_MS, "us": kernel.WHOLE_US, "ns": kernel.WHOLE_NS}
_UNITS = tuple(times.UNIT_NAMES.items())

#: The resolution of a text that may have had a fraction of zero.
_FRACTION_LEFT_OUT_US = 1_000_000

_EXPECTED = "a time between 1971 and 2099, as timestamp, ISO 8601 text, or a number of s, ms, us or ns"
_SHOWN_MAX = 60


class StampError(ValueError):
    """A column holds something that is no time.

    Parameters
    ----------
    row
        Index of the first such value within the array.
    expected, found
        For people.
    """

    def __init__(self, row: int, found: str, expected: str = _EXPECTED) -> None:
        super().__init__(f"row {row}: expected {expected}, found {found}")
        self.row, self.expected, self.found = row, expected, found


@dataclass(frozen=True, slots=True)
class Stamps:
    """A column of times.

    Parameters
    ----------
    us
        int64[n], microseconds UTC; `features.times.NEVER_US` where there is none.
    missing
        bool[n], True where there is no time: NULL, NaN, NaT, empty text.
    units
        Units seen among the others: ``"s"``, ``"ms"``, ``"us"``, ``"ns"``, ``"date"``, ``"text"``.
    steps
        What they show: (unit, resolution in microseconds) of every kind of them.
    """

    us: Int64
    missing: Bool
    units: frozenset[str]
    steps: frozenset[tuple[str, int]]

    @property
    def unit_us(self) -> int:
        """Coarsest resolution that one of them shows, microseconds; 1 if there is none.

        Many programs leave a fraction out where it is zero, so a text without one in a column of texts with one shows
        no whole second.
        """
        return _coarsest_us(self.steps)


def read_stamps(column: pa.Array, *, bounded: bool = True) -> Stamps:
    """The times of one column.

    Arrow timestamps and ISO 8601 texts without a zone are UTC, others are converted to it; the unit of a number is
    found by its magnitude, for each value alone; nanoseconds are floored. A text shows its resolution by its digits
    (``"2023-11-14T22:13"`` a minute, without a time of day a day, a fraction of up to three digits a millisecond;
    without one a second, unless another text of the column has one).
    A number with a fraction shows a millisecond if its microseconds are a multiple of one.

    Parameters
    ----------
    bounded
        Whether a timestamp, date or text must lie between 1971 and 2099; a number always must.

    Raises
    ------
    StampError
        Something in the column is no time, or the type of the column cannot hold one.

    Examples
    --------
    >>> read = read_stamps(pa.array(["2023-11-14T22:13:20Z", None]))
    >>> int(read.us[0]), read.missing.tolist(), read.units, read.unit_us
    (1700000000000000, [False, True], frozenset({'text'}), 1000000)
    >>> read_stamps(pa.array([1_700_000_000, 7]))
    Traceback (most recent call last):
    features.stamps.StampError: row 1: expected a time between 1971 and 2099, as timestamp, ISO 8601 text, or a number \
of s, ms, us or ns, found 7
    """
    column = plain(column)
    if column.type == pa.large_binary():
        try:
            column = column.cast(pa.large_utf8())
        except pa.ArrowInvalid:
            raise StampError(first_not_text(column), "bytes that are no UTF-8 text") from None
    us, codes = _reader(column.type)(column)
    missing = codes == kernel.MISSING
    if bounded:
        outside = ((us < times.EARLIEST_US) | (us > times.LATEST_US)) & ~missing
        if outside.any():
            row = int(outside.argmax())
            raise StampError(row, _shown(column, row))
    seen = [_CODES[code] for code in np.flatnonzero(np.bincount(codes, minlength=1)).tolist() if code]
    us[missing] = times.NEVER_US
    return Stamps(us, missing, frozenset(unit for unit, _ in seen), frozenset(seen))


def _coarsest_us(steps: AbstractSet[tuple[str, int]]) -> int:
    finest = min((step for unit, step in steps if unit == "text"), default=1)
    shown = (finest if unit == "text" and step <= _FRACTION_LEFT_OUT_US else step for unit, step in steps)
    return max(shown, default=1)


class ResolutionEvidence:
    """How finely the stamps of one source are written, over all its columns and batches.

    Examples
    --------
    >>> evidence = ResolutionEvidence()
    >>> evidence.observe(read_stamps(pa.array(range(1_700_000_000_000, 1_700_000_000_000 + 200 * 5_000, 5_000))))
    >>> evidence.resolution_us()      # milliseconds by their unit, but all are whole seconds
    1000000
    """

    def __init__(self) -> None:
        self.stamps = 0
        self._steps: set[tuple[str, int]] = set()
        self._others_us = 1
        self._common = len(RESOLUTIONS_US) - 1  # the coarsest resolution that divides all stamps so far

    def observe(self, stamps: Stamps) -> None:
        """Take in one column or batch."""
        us = stamps.us[~stamps.missing] if stamps.missing.any() else stamps.us
        if us.size == 0:
            return
        self.stamps += us.size
        self._steps |= stamps.steps
        while self._common and (us % RESOLUTIONS_US[self._common]).any():
            self._common -= 1

    @property
    def unit_us(self) -> int:
        """Coarsest resolution that a stamp showed; 1 if there was none."""
        return max(_coarsest_us(self._steps), self._others_us)

    def merge(self, other: "ResolutionEvidence") -> None:
        """Take in what another has seen in other columns."""
        self.stamps += other.stamps
        self._others_us = max(self._others_us, other.unit_us)
        self._common = min(self._common, other._common)

    def resolution_us(self) -> int:
        """The coarsest usual resolution that divides all stamps; of few, the coarsest that one shows; of none, 1."""
        return RESOLUTIONS_US[self._common] if self.stamps >= RESOLUTION_STAMPS_MIN else self.unit_us


_Read = tuple[Int64, UInt8]


def _reader(kind: pa.DataType) -> Callable[[pa.Array], _Read]:
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _from_arrow
    if pa.types.is_integer(kind):
        return _from_integers
    if pa.types.is_float64(kind):
        return _from_floats
    if pa.types.is_decimal(kind):
        return _from_decimals
    if is_texts(kind):
        return _from_texts
    if pa.types.is_null(kind):
        return lambda column: (np.zeros(len(column), np.int64), np.zeros(len(column), np.uint8))
    if pa.types.is_floating(kind):
        raise StampError(0, f"a column of type {kind}, which keeps times of today to two minutes at best")
    raise StampError(0, f"a column of type {kind}")


def _from_arrow(column: pa.Array) -> _Read:
    kind, there = column.type, valid(column)
    wide = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    numbers = column.view(wide).fill_null(0).to_numpy().astype(np.int64, copy=True)
    if pa.types.is_date(kind):
        factor, code = (DAY_US if pa.types.is_date32(kind) else 1_000), _DATE
    else:
        factor, code = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}[kind.unit], _WHOLE[kind.unit]
    if factor > 1:
        limit = times.FOREVER_US // factor
        beyond = (numbers > limit) | (numbers < -limit)
        if beyond.any():
            row = int(beyond.argmax())
            raise StampError(row, f"{int(numbers[row])} in a column of type {kind}, out of any calendar")
        numbers *= factor
    elif factor == 0:
        numbers //= 1_000
    return numbers, np.where(there, np.uint8(code), np.uint8(kernel.MISSING))


def _from_integers(column: pa.Array) -> _Read:
    there = valid(column)
    if pa.types.is_uint64(column.type):
        beyond = column.fill_null(0).to_numpy() > np.uint64(times.FOREVER_US)
        if beyond.any():
            row = int(beyond.argmax())
            raise StampError(row, _shown(column, row))
    numbers = column.fill_null(0).to_numpy().astype(np.int64, copy=True)
    codes = np.zeros(numbers.size, np.uint8)
    if not there.any():
        return numbers, codes
    if not there.all():
        numbers[~there] = numbers[there.argmax()]  # of the unit of another, so that most columns have one unit
    for name, unit in _UNITS:
        low, high = _range(unit)
        if low <= numbers.min() and numbers.max() <= high:
            codes[there] = _WHOLE[name]
            return _scaled(numbers, unit), codes
    for name, unit in _UNITS:
        low, high = _range(unit)
        codes[(numbers >= low) & (numbers <= high)] = _WHOLE[name]
    strange = there & (codes == kernel.MISSING)
    if strange.any():
        row = int(strange.argmax())
        raise StampError(row, _shown(column, row))
    for name, unit in _UNITS:
        mine = codes == _WHOLE[name]
        numbers[mine] = _scaled(numbers[mine], unit)
    codes[~there] = kernel.MISSING
    return numbers, codes


def _range(unit: times.Unit) -> tuple[int, int]:
    """Least and greatest number that is a time of ours in this unit."""
    if unit is times.Unit.NANOSECOND:
        return times.EARLIEST_US * 1_000, times.LATEST_US * 1_000 + 999
    return times.EARLIEST_US // unit, times.LATEST_US // unit


def _scaled(numbers: Int64, unit: times.Unit) -> Int64:
    return numbers // 1_000 if unit is times.Unit.NANOSECOND else numbers * int(unit)


def _from_floats(column: pa.Array) -> _Read:
    floats = column.fill_null(np.nan).to_numpy()
    codes = np.zeros(floats.size, np.uint8)
    us = np.zeros(floats.size, np.float64)
    whole = floats == np.floor(floats)
    for name, unit in _UNITS:
        low, high = _range(unit)
        mine = (floats >= low) & (floats < high + 1)
        codes[mine] = _WHOLE[name]
        us[mine] = np.rint(floats[mine] / 1_000 if unit is times.Unit.NANOSECOND else floats[mine] * int(unit))
    strange = (codes == kernel.MISSING) & ~np.isnan(floats)
    if strange.any():
        row = int(strange.argmax())
        raise StampError(row, _shown(column, row))
    read = us.astype(np.int64)  # below 2**53: exact
    to_ms = read % 1_000 == 0
    codes[(codes == kernel.WHOLE_S) & ~whole & to_ms] = _S_TO_MS
    codes[(codes == kernel.WHOLE_S) & ~whole] = _S_TO_US
    codes[(codes == kernel.WHOLE_MS) & ~whole] = _MS_TO_US
    return read, codes


def _from_decimals(column: pa.Array) -> _Read:
    if column.type.scale <= 0:
        try:
            return _from_integers(column.cast(pa.int64()))
        except pa.ArrowInvalid:  # beyond int64: the floats name the row
            pass
    return _from_floats(column.cast(pa.float64()))


def _from_texts(column: pa.Array) -> _Read:
    us, codes = kernel.read_texts(*letters(column), valid(column))
    rest = np.flatnonzero(codes == kernel.OTHER)
    if rest.size:
        us[rest], codes[rest] = _from_rare_texts(column.take(pa.array(rest)), rest)
    return us, codes


def _from_rare_texts(texts: pa.Array, rows: Int64) -> _Read:
    """Texts with a fraction or an exponent are read as the float they mean, so that a CSV says what a Parquet says."""
    try:
        return _from_floats(pc.utf8_trim_whitespace(texts).cast(pa.float64()))
    except (pa.ArrowInvalid, StampError):
        pass
    read: dict[str, tuple[int, int]] = {}
    us, codes = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.uint8)
    for i, text in enumerate(texts.to_pylist()):
        if text not in read:
            read[text] = _rare(text.strip(), int(rows[i]))
        us[i], codes[i] = read[text]
    return us, codes


def _rare(text: str, row: int) -> tuple[int, int]:
    try:
        us, codes = _from_floats(pa.array([float(text)]))
        return int(us[0]), int(codes[0])
    except StampError as error:
        raise StampError(row, _quoted(text)) from error
    except ValueError:
        pass
    try:
        us_of_text = times.parse_iso_us(text)
    except (ValueError, OverflowError):
        raise StampError(row, _quoted(text)) from None
    return us_of_text, kernel.TEXT_US if "." in text or "," in text else kernel.TEXT_S


def _quoted(text: str) -> str:
    found = repr(text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "...")
    return found + _advice(text)


def _shown(column: pa.Array, row: int) -> str:
    value: Any = column[row].cast(pa.int64()).as_py() if pa.types.is_date64(column.type) else column[row]
    text = str(value)
    if is_texts(column.type):
        return _quoted(text)
    return text + _advice(text)


def _advice(text: str) -> str:
    """The nearest mend, where one is plain."""
    if len(text) == 8 and text.isascii() and text.isdigit() and 1971 <= int(text[:4]) <= 2099:
        return f" (a date as a number? write {text[:4]}-{text[4:6]}-{text[6:]})"
    return ""
