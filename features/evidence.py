"""What do the columns of one feature hold, on one side, and how are the two sides compared?

A column that comes from a file without types (CSV, or the `value` column of a long log) is observed with
``untyped=True``: its texts count as numbers, truth values or times if all of them, on both sides, are such.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features import times
from features.kernels import spelling
from features.kernels import stamps as stamp_kernel
from features.kinds import Kind, kind_of, shown
from features.numerals import numerals
from features.plain import Bool, is_texts, letters, plain, valid

SAMPLES_MAX = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One value that was seen, to show in a message."""

    row: int
    value: str


@dataclass(slots=True)
class Evidence:
    """What the columns of one feature on one side are known to hold; the same however the rows are cut into batches.

    Parameters
    ----------
    values
        How many were there: neither NULL nor NaN of a float column.
    kinds
        Kinds of the typed columns that had values, `Kind.TEXT` left out.
    texts, typed_texts
        How many of the values were texts, and how many of these in columns that claim to be text.
    text_numbers, text_odd, text_words, text_times, text_stamps
        Texts that spell a number; with a leading zero or plus; a truth value; a time in ISO 8601; any time.
    numbers, number_times
        Typed numbers, and how many of them are times between 1971 and 2099 in some unit.
    is_single
        Whether a column of 16- or 32-bit floats had values.
    samples
        The first values.

    Examples
    --------
    >>> evidence = Evidence()
    >>> evidence.observe(pa.array(["1", "007", None]))
    >>> evidence.values, evidence.text_numbers, evidence.text_odd
    (2, 2, 1)
    """

    rows: int = 0
    values: int = 0
    declared: pa.DataType | None = None
    kinds: set[Kind] = field(default_factory=set)
    texts: int = 0
    typed_texts: int = 0
    text_numbers: int = 0
    text_odd: int = 0
    text_words: int = 0
    text_times: int = 0
    text_stamps: int = 0
    numbers: int = 0
    number_times: int = 0
    is_single: bool = False
    samples: list[Sample] = field(default_factory=list)

    def observe(self, column: pa.Array, *, untyped: bool = False) -> None:
        """Take in one column or batch; `untyped`: its file knows no types."""
        column = plain(column)
        there = valid(column)
        if pa.types.is_floating(column.type):
            there &= ~np.isnan(column.fill_null(0).to_numpy())
        self.declared = self.declared or column.type
        count = int(there.sum())
        if count:
            self.values += count
            self._sample(column, there)
            self._observe_values(column, there, count, untyped)
        self.rows += len(column)

    def could_be(self, kind: Kind) -> bool:
        """Whether texts of this side may be read as `kind`: one of them at least can."""
        if kind is Kind.TIME:
            return self.text_stamps > 0
        if kind is Kind.NESTED:
            return False
        return self.text_numbers > 0 or self.text_words == self.texts or (kind is Kind.BOOL and self.text_words > 0)

    def _sample(self, column: pa.Array, there: Bool) -> None:
        for row in np.flatnonzero(there)[: SAMPLES_MAX - len(self.samples)].tolist():
            self.samples.append(Sample(self.rows + row, shown(column, row) or ""))

    def _observe_values(self, column: pa.Array, there: Bool, count: int, untyped: bool) -> None:
        kind = kind_of(column.type)
        if kind is not Kind.TEXT:
            self.kinds.add(kind)
        if kind is Kind.NUMBER:
            self.is_single |= pa.types.is_floating(column.type) and not pa.types.is_float64(column.type)
            self.numbers += count
            self.number_times += int(np.count_nonzero(_is_time(numerals(column).floats)))
        elif is_texts(column.type):
            self._observe_texts(column, there, count, untyped)
        elif kind is Kind.TEXT:  # intervals and what else Arrow may learn: compared as the text that shows them
            self.texts += count
            self.typed_texts += count

    def _observe_texts(self, column: pa.Array, there: Bool, count: int, untyped: bool) -> None:
        content, bounds = letters(column)
        codes = spelling.read_numbers(content, bounds, there)[0]
        spelled = codes & 15
        _, stamps = stamp_kernel.read_texts(content, bounds, there)
        self.texts += count
        self.typed_texts += 0 if untyped else count
        self.text_numbers += int(np.count_nonzero((spelled >= spelling.WHOLE) & (spelled <= spelling.NAN)))
        self.text_odd += int(np.count_nonzero(codes & spelling.ODD))
        self.text_words += int(np.count_nonzero(spelled == spelling.WORD))
        iso = (stamps >= stamp_kernel.TEXT_DAY) & (stamps <= stamp_kernel.TEXT_US)
        self.text_times += int(np.count_nonzero(iso))
        self.text_stamps += int(np.count_nonzero((stamps != stamp_kernel.MISSING) & (stamps != stamp_kernel.OTHER)))


def resolve(train: Evidence, log: Evidence) -> Kind | None:
    """How the feature is compared; None: the two sides have nothing in common, no cell can be judged.

    Typed columns decide; numbers and truth values are compared as numbers, numbers and times as times if all numbers
    are such. Texts on one side alone are read as the other side's kind if one of them at least can be; those that
    cannot equal nothing. Texts on both sides are text, unless all come from files without types.

    Examples
    --------
    >>> train, log = Evidence(), Evidence()
    >>> train.observe(pa.array([1.5])); log.observe(pa.array(["1.50"]))
    >>> str(resolve(train, log))
    'number'
    """
    sides = [side for side in (train, log) if side.values]
    if not sides:
        declared = [kind_of(side.declared) for side in (train, log) if side.declared is not None]
        return next((kind for kind in declared if kind is not Kind.TEXT), Kind.TEXT)
    typed = train.kinds | log.kinds
    if not typed:
        return _of_texts(train, log)
    kind = _common(typed, sides)
    if kind is None or not all(side.kinds or side.could_be(kind) for side in sides):
        return None
    return Kind.NUMBER_32 if kind is Kind.NUMBER and (train.is_single or log.is_single) else kind


def _common(typed: set[Kind], sides: list[Evidence]) -> Kind | None:
    if len(typed) == 1:
        return next(iter(typed))
    if typed == {Kind.NUMBER, Kind.BOOL}:
        return Kind.NUMBER
    if typed == {Kind.NUMBER, Kind.TIME} and all(side.number_times == side.numbers for side in sides):
        return Kind.TIME
    return None


def _of_texts(train: Evidence, log: Evidence) -> Kind:
    texts = train.texts + log.texts
    if train.typed_texts or log.typed_texts:
        return Kind.TEXT
    if train.text_numbers + log.text_numbers == texts and not train.text_odd + log.text_odd:
        return Kind.NUMBER
    if train.text_words + log.text_words == texts:
        return Kind.BOOL
    if not train.text_odd + log.text_odd and {True, False} == {_is_of_words(train), _is_of_words(log)}:
        return Kind.NUMBER  # True and False on one side, 1 and 0 on the other
    return Kind.TIME if train.text_times + log.text_times == texts else Kind.TEXT


def _is_of_words(side: Evidence) -> bool | None:
    """True: truth values alone, False: numbers alone, None: neither, or nothing at all."""
    if not side.texts or side.texts not in (side.text_words, side.text_numbers):
        return None
    return side.text_words == side.texts


def _is_time(floats: npt.NDArray[np.float64]) -> Bool:
    found = np.zeros(floats.size, np.bool_)
    for unit in times.Unit:
        scale = 1 / 1_000 if unit is times.Unit.NANOSECOND else float(int(unit))
        found |= (floats >= times.EARLIEST_US / scale) & (floats <= times.LATEST_US / scale)
    return found
