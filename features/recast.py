"""How does a value of the log look in the type of the training set?"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.kinds import Kind, kind_of, shown
from features.numerals import numerals
from features.plain import is_texts, plain
from features.stamps import read_stamps

_COUNTABLE = (Kind.NUMBER, Kind.BOOL)
_REFUSALS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError, ValueError)


def cast_like(column: pa.Array, wanted: pa.DataType, kind: Kind) -> pa.Array:
    """The column in type `wanted`, as the corrected table needs it; what does not fit is NULL.

    Floats and times lose what a narrower type cannot hold. A time becomes a number of its own column's unit.

    Examples
    --------
    >>> cast_like(pa.array(["1", "2.5", "no", None]), pa.int64(), Kind.NUMBER).to_pylist()
    [1, None, None, None]
    """
    if column.type == wanted:
        return column
    column = plain(column)
    if pa.types.is_dictionary(wanted):
        values = cast_like(column, wanted.value_type, kind)
        return _encoded(values, wanted)
    if pa.types.is_null(wanted):
        return pa.nulls(len(column))
    if column.type == wanted:
        return column
    read = _reader(column, wanted)
    try:
        found = read(column)
        return found if found.type == wanted else found.cast(wanted)
    except _REFUSALS:
        return _one_by_one(column, wanted, read)


def _reader(column: pa.Array, wanted: pa.DataType) -> Callable[[pa.Array], pa.Array]:
    """A function that casts a column or raises one of `_REFUSALS`."""
    own, target = kind_of(column.type), kind_of(wanted)
    is_text = is_texts(column.type)
    if target is Kind.NUMBER and not pa.types.is_decimal(wanted) and (is_text or own in _COUNTABLE):
        return lambda part: _numbers(part, wanted)
    if target is Kind.BOOL and (own is Kind.NUMBER or is_text):
        return _truths
    if _is_instant(wanted) and (own is Kind.NUMBER or is_text or _is_instant(column.type)):
        return lambda part: _instants(part, wanted)
    if is_texts(wanted):
        return lambda part: _texts(part, wanted)
    return lambda part: part.cast(wanted)


def _is_instant(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _numbers(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_integer(column.type) and pa.types.is_integer(wanted):
        return column.cast(wanted)
    read = numerals(column)
    missing = ~read.is_number | np.isnan(read.floats)
    if (missing & np.asarray(column.is_valid().to_numpy(zero_copy_only=False)) & ~read.is_number).any():
        raise ValueError("expected numbers alone")
    if pa.types.is_floating(wanted):
        with np.errstate(over="ignore"):
            return pa.array(read.floats, pa.float64(), mask=missing).cast(wanted, safe=False)
    floats = np.where(missing, 0.0, read.floats)
    if (floats != np.floor(floats)).any() or (np.abs(floats) >= 2.0**63).any():
        raise ValueError("expected integers alone")
    whole = floats.astype(np.int64)
    if read.rests is not None:
        whole += read.rests.astype(np.int64)
    return pa.array(whole, pa.int64(), mask=missing).cast(wanted)


def _truths(column: pa.Array) -> pa.Array:
    floats = numerals(column).floats
    missing = np.isnan(floats)
    if (~missing & (floats != 0) & (floats != 1)).any():
        raise ValueError("expected truth values alone")
    if int(missing.sum()) > column.null_count and not pa.types.is_floating(column.type):
        raise ValueError("expected truth values alone")
    return pa.array(floats == 1, pa.bool_(), mask=missing)


def _instants(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    read = read_stamps(column, bounded=False)  # StampError is a ValueError
    stamps = pa.array(read.us, pa.timestamp("us"), mask=read.missing)
    if pa.types.is_timestamp(wanted):
        if wanted.unit == "ns":
            return stamps.cast(wanted)  # beyond the year 2262 there are none: refused, not wrapped
        return stamps.cast(pa.timestamp(wanted.unit), safe=False).cast(wanted)
    return stamps.cast(wanted, safe=False)


def _texts(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    elif kind_of(column.type) is Kind.NESTED or pa.types.is_interval(column.type):
        return pa.array([shown(column, row) for row in range(len(column))], pa.large_utf8()).cast(wanted)
    return column.cast(pa.large_utf8()).cast(wanted)


def _one_by_one(column: pa.Array, wanted: pa.DataType, read: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Some value does not fit: only it becomes NULL. Each distinct value is tried once."""
    try:
        encoded = column.dictionary_encode()
        values, index = encoded.dictionary, encoded.indices
    except pa.ArrowNotImplementedError:  # nested
        values, index = column, None
    tried = [pa.nulls(0, wanted)]
    for row in range(len(values)):
        try:
            one = read(values.slice(row, 1))
            tried.append(one if one.type == wanted else one.cast(wanted))
        except _REFUSALS:
            tried.append(pa.nulls(1, wanted))
    found = pa.concat_arrays(tried)
    return found if index is None else found.take(index)


def _encoded(values: pa.Array, wanted: pa.DataType) -> pa.Array:
    encoded = values.dictionary_encode()
    try:
        return pa.DictionaryArray.from_arrays(
            encoded.indices.cast(wanted.index_type), encoded.dictionary, ordered=wanted.ordered
        )
    except pa.ArrowInvalid:  # more distinct values than the index type can count
        return encoded
