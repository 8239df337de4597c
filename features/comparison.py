"""When are a cell of the training set and a value of the log the same value, although their columns differ in type?

Each side gathers evidence about its columns, `resolve` decides once how the feature is compared, and `hashes` turns
any column into 64-bit numbers that are equal where the values are. A column that comes from a file without types (CSV,
or the `value` column of a long log) is observed with ``untyped=True``: its texts count as numbers, truth values or
times if all of them, on both sides, are such.

A Parquet written with 32-bit floats holds less than the log it came from; there both sides are compared as 32-bit
floats (`Kind.NUMBER_32`), which is all that the cell can tell.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import lineage, times
from features.kernels import spelling
from features.kernels import stamps as stamp_kernel
from features.kinds import Kind, kind_of, shown
from features.numerals import Numerals, numbers, numerals, ticks, whole
from features.plain import is_texts, letters, plain, valid
from features.recast import cast_like

__all__ = [
    "Evidence",
    "Kind",
    "Sample",
    "cast_like",
    "entity_hashes",
    "hashes",
    "id_hashes",
    "numbers",
    "resolve",
    "shown",
]

UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

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
        return self.text_numbers > 0 or self.text_words == self.texts

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
    return Kind.TIME if train.text_times + log.text_times == texts else Kind.TEXT


def hashes(column: pa.Array, kind: Kind) -> UInt64:
    """uint64[n]: equal values of the kind have equal hashes, whatever their Arrow type; NULL and NaN have 0.

    Floats are compared bitwise (so -0.0 is not 0.0), integers exactly up to 2**64, times to the nanosecond. What is
    not of the kind hashes as the text that it is and equals nothing of the kind.

    Examples
    --------
    >>> one = hashes(pa.array([1, None]), Kind.NUMBER)
    >>> int(one[1]), bool(one[0] == hashes(pa.array(["1.0"]), Kind.NUMBER)[0])
    (0, True)
    """
    column = plain(column)
    own = kind_of(column.type)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.uint64)
    if kind is Kind.TEXT and own is Kind.TEXT:
        return _text_hashes(column)
    if kind is Kind.TIME:
        return _time_hashes(column, own)
    if kind is Kind.TEXT and own is not Kind.NESTED:
        return _text_hashes(_as_text(column))
    if own is Kind.NESTED:
        return _nested_hashes(column)
    if own is Kind.TIME:
        return ticks(column).hashes()
    if own is Kind.TEXT and (kind is Kind.NESTED or not is_texts(column.type)):
        return _text_hashes(column)
    return _number_hashes(column, numerals(column), is_single=kind is Kind.NUMBER_32)


def entity_hashes(column: pa.Array) -> UInt64:
    """uint64[n]: 42, "42", 42.0 and "42.0" are one entity, "042" is another; NULL and NaN have 0 and nothing else has.

    Examples
    --------
    >>> ids = entity_hashes(pa.array(["42", "042", None]))
    >>> bool(ids[0] == entity_hashes(pa.array([42]))[0]), bool(ids[0] == ids[1]), int(ids[2])
    (True, False, 0)
    """
    column = plain(column)
    own = kind_of(column.type)
    if own is Kind.NUMBER or pa.types.is_null(column.type):
        read = numerals(column)
        return _number_hashes(column, read) if read.codes is not None else read.hashes()
    if own is Kind.NESTED:
        return _nested_hashes(column)
    texts = column if is_texts(column.type) else _as_text(column)
    read = numerals(texts)
    assert read.codes is not None
    # Only the shortest spelling is the number: "042" and "1.10" are names that look like one.
    is_short = (read.codes == spelling.WHOLE) | (read.codes == spelling.FRACTION)
    return np.where(is_short, read.hashes(), _text_hashes(texts))


def id_hashes(column: pa.Array) -> UInt64:
    """uint64[n]: version ids and transaction ids of any type; 571, "571" and 571.0 are one; NULL has 0.

    Examples
    --------
    >>> bool(id_hashes(pa.array(["571"]))[0] == id_hashes(pa.array([571.0]))[0])
    True
    """
    return entity_hashes(column)


def _number_hashes(column: pa.Array, read: Numerals, *, is_single: bool = False) -> UInt64:
    if is_single:
        with np.errstate(over="ignore", invalid="ignore"):
            found = lineage.number_hashes(read.floats.astype(np.float32).astype(np.float64))
    else:
        found = read.hashes()
    if read.codes is None:
        return found
    return np.where(read.is_number, found, _text_hashes(column)) if not read.is_number.all() else found


def _text_hashes(column: pa.Array) -> UInt64:
    texts = column if is_texts(column.type) else _as_text(column)
    return np.asarray(spelling.hash_all(*letters(plain(texts)), valid(texts)), np.uint64)


def _time_hashes(column: pa.Array, own: Kind) -> UInt64:
    if own is Kind.TIME:
        return ticks(column).hashes()
    if own is Kind.NESTED:
        return _nested_hashes(column)
    if own is not Kind.TEXT:
        return _number_time_hashes(numerals(column))
    if not is_texts(column.type):
        return _text_hashes(column)
    us, codes = stamp_kernel.read_texts(*letters(column), valid(column))
    is_read = (codes != stamp_kernel.MISSING) & (codes != stamp_kernel.OTHER)
    return np.where(is_read, whole(us, is_read).hashes(), _text_hashes(column))


def _number_time_hashes(read: Numerals) -> UInt64:
    """Numbers as the times that they are by their magnitude; a number that is no time hashes as a number."""
    found = read.hashes()
    exact = np.where(np.isnan(read.floats), 0, read.floats)
    for unit in times.Unit:
        scale = 1 / 1_000 if unit is times.Unit.NANOSECOND else float(int(unit))
        mine = (exact * scale >= times.EARLIEST_US) & (exact * scale <= times.LATEST_US)
        if not mine.any():
            continue
        if unit is times.Unit.NANOSECOND:
            ns = exact[mine].astype(np.int64)
            if read.rests is not None:
                ns += read.rests[mine].astype(np.int64)
            stamps = pa.array(ns, pa.timestamp("ns"))
        else:
            stamps = pa.array(np.rint(exact[mine] * scale).astype(np.int64), pa.timestamp("us"))
        found[mine] = ticks(stamps).hashes()
    return found


def _is_time(floats: npt.NDArray[np.float64]) -> Bool:
    found = np.zeros(floats.size, np.bool_)
    for unit in times.Unit:
        scale = 1 / 1_000 if unit is times.Unit.NANOSECOND else float(int(unit))
        found |= (floats >= times.EARLIEST_US / scale) & (floats <= times.LATEST_US / scale)
    return found


def _as_text(column: pa.Array) -> pa.Array:
    """The texts that show the values: a cast where Arrow has one."""
    try:
        return column.cast(pa.large_utf8())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.array([shown(column, row) for row in range(len(column))], pa.large_utf8())


def _nested_hashes(column: pa.Array) -> UInt64:
    """Lists by their items in order, structs and maps by their fields in any; a field that is NULL is none."""
    column = plain(column)
    kind, there = column.type, valid(column)
    if is_map := pa.types.is_map(kind):
        pair = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
        column = column.cast(pa.list_(pair))
    if is_map or _is_list(kind):
        sizes = pc.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
        bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return np.asarray(spelling.fold(_nested_hashes(column.flatten()), bounds, there, not is_map), np.uint64)
    if pa.types.is_struct(kind):
        return _struct_hashes(column, there)
    if pa.types.is_nested(kind):
        return _text_hashes(_as_text(column))
    return hashes(column, kind_of(kind))


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in lists)


def _struct_hashes(column: pa.Array, there: Bool) -> UInt64:
    fields = []
    for field_, values in zip(column.type, column.flatten(), strict=True):
        found = _nested_hashes(values)
        fields.append(np.where(found == 0, found, found ^ np.uint64(lineage.text_hash(field_.name))))
    children = np.stack(fields, axis=1).ravel() if fields else np.zeros(0, np.uint64)
    bounds = np.arange(len(column) + 1, dtype=np.int64) * len(fields)
    return np.asarray(spelling.fold(children, bounds, there, False), np.uint64)
