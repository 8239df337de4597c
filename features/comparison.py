"""When are a cell of the training set and a value of the log the same value, although their columns differ in type?

Each side gathers `Evidence` about its columns, `resolve` decides once how the feature is compared, and `hashes` turns
any column into 64-bit numbers that are equal where the values are.

A Parquet written with 32-bit floats holds less than the log it came from; there both sides are compared as 32-bit
floats (`Kind.NUMBER_32`), which is all that the cell can tell.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import lineage, times
from features.evidence import Evidence, Sample, resolve
from features.kernels import spelling
from features.kernels import stamps as stamp_kernel
from features.kinds import Kind, kind_of, shown
from features.numerals import Numerals, numbers, numerals, ticks, whole
from features.plain import Bool, is_texts, letters, plain, valid
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
    is_short = np.flatnonzero((read.codes == spelling.WHOLE) | (read.codes == spelling.FRACTION))
    if is_short.size == len(texts):
        return read.hashes()
    found = _text_hashes(texts)
    if is_short.size:
        found[is_short] = numerals(texts.take(pa.array(is_short))).hashes()
    return found


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
