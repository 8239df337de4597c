"""Which numbers does this column hold, exactly?

A number is its nearest float64 and the integer that this float leaves over: so 42, 42.0, Decimal("42") and "42" are one
number, integers up to 2**64 stay apart, and one pair of arrays stands for every type.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features import lineage, times
from features.kernels import spelling
from features.plain import Bool, UInt8, is_texts, letters, plain, valid

Float64 = npt.NDArray[np.float64]
UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NANOSECONDS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


@dataclass(frozen=True, slots=True)
class Numerals:
    """The numbers of one column.

    Parameters
    ----------
    floats
        float64[n], NaN where there is no number.
    rests
        uint64[n], what the exact number has beyond the float, modulo 2**64; None: nothing anywhere.
    is_number
        bool[n], True where there is a number or NaN; False at NULL and at texts that are none.
    codes
        uint8[n] of `features.kernels.spelling`, for texts.
    """

    floats: Float64
    rests: UInt64 | None
    is_number: Bool
    codes: UInt8 | None = None

    def hashes(self) -> UInt64:
        """uint64[n]: equal numbers have equal hashes; 0 where there is no number, NaN included.

        Floats hash as in `features.lineage.number_hashes`.
        """
        hashes = lineage.number_hashes(self.floats)
        if self.rests is not None:
            spelling.mix_rests(hashes, self.rests)
        return hashes


def numerals(column: pa.Array) -> Numerals:
    """The numbers of a column of integers, floats, decimals, truth values (1 and 0) or texts.

    Decimals and texts with a fraction count as the nearest float64; texts may spell truth values too.

    Examples
    --------
    >>> numerals(pa.array(["42", "x", "1e3", None, "true"])).floats.tolist()
    [42.0, nan, 1000.0, nan, 1.0]
    >>> big = numerals(pa.array([2**53, 2**53 + 1])).hashes()
    >>> bool(big[0] == big[1])
    False
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_null(kind):
        return Numerals(np.full(len(column), np.nan), None, np.zeros(len(column), np.bool_))
    if pa.types.is_boolean(kind):
        return _from_floats(column.cast(pa.uint8()).cast(pa.float64()))
    if pa.types.is_floating(kind):
        return _from_floats(column.cast(pa.float64()))
    if pa.types.is_integer(kind):
        return _from_integers(column)
    return _from_texts(column.cast(pa.large_utf8()) if pa.types.is_decimal(kind) else column)


def ticks(column: pa.Array) -> Numerals:
    """Timestamps, dates, times of day and durations as microseconds; nanoseconds and overflows are rests.

    Examples
    --------
    >>> ticks(pa.array([1], pa.timestamp("s"))).floats.tolist()
    [1000000.0]
    """
    kind = column.type
    is_narrow = pa.types.is_date32(kind) or pa.types.is_time32(kind)
    there = valid(column)
    numbers = column.view(pa.int32() if is_narrow else pa.int64()).fill_null(0).to_numpy().astype(np.int64)
    if pa.types.is_date32(kind):
        each_ns = 86_400 * 1_000_000_000
    else:
        each_ns = 1_000_000 if pa.types.is_date64(kind) else _NANOSECONDS[kind.unit]
    if each_ns == 1:
        us, rests = numbers // 1_000, (numbers % 1_000).astype(np.uint64) << np.uint64(54)
    else:
        limit = times.FOREVER_US // (each_ns // 1_000)
        beyond = (numbers > limit) | (numbers < -limit)
        us = np.where(beyond, 0, numbers) * (each_ns // 1_000)
        with np.errstate(over="ignore"):
            rests = np.where(beyond, numbers.astype(np.uint64) * _GOLDEN, np.uint64(0))
    return whole(us, there, rests)


def whole(numbers: npt.NDArray[np.int64] | UInt64, there: Bool, rests: UInt64 | None = None) -> Numerals:
    """Integers as numerals, NULL where not `there` (0 stands there); `rests` are added to theirs."""
    floats = numbers.astype(np.float64)
    big = np.flatnonzero(np.abs(floats) >= 2.0**53)
    if big.size:
        rests = np.zeros(numbers.size, np.uint64) if rests is None else rests
        ours = numbers[big].astype(np.uint64)
        near = floats[big]
        held = np.where(near < 0, near, 0).astype(np.int64).astype(np.uint64)
        # 2**64 is 0 modulo 2**64: the rest of the greatest integers counts from there.
        held += np.where((near > 0) & (near < 2.0**64), near, 0).astype(np.uint64)
        rests[big] += ours - held
    if not there.all():
        floats[~there] = np.nan
    return Numerals(floats, rests if rests is not None and rests.any() else None, there)


def _from_floats(column: pa.Array) -> Numerals:
    return Numerals(column.fill_null(np.nan).to_numpy(), None, valid(column))


def _from_integers(column: pa.Array) -> Numerals:
    numbers = column.fill_null(0).to_numpy()
    wide: npt.NDArray[np.int64] | UInt64 = numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)
    return whole(wide, valid(column))


def _from_texts(texts: pa.Array) -> Numerals:
    codes, floats, rests = spelling.read_numbers(*letters(texts), valid(texts))
    spelled = codes & 15
    loose = (spelled == spelling.FRACTION) | (spelled == spelling.LOOSE)
    if loose.any():
        part = texts if loose.all() else texts.take(pa.array(np.flatnonzero(loose)))
        if (codes[loose] & spelling.SPACED).any():
            part = pc.utf8_trim(part.cast(pa.large_utf8()), " ")
        floats[loose] = part.cast(pa.large_utf8()).cast(pa.float64()).to_numpy()
    is_number = (spelled != spelling.NOTHING) & (spelled != spelling.OTHER)
    return Numerals(floats, rests.astype(np.uint64) if rests.any() else None, is_number, codes)


def numbers(column: pa.Array) -> Float64:
    """float64[n] for tolerances and models: NaN for NULL and what is no number; times as microseconds.

    Examples
    --------
    >>> numbers(pa.array(["1.5", "no", None])).tolist()
    [1.5, nan, nan]
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return ticks(column).floats
    if has_numerals(kind):
        return numerals(column).floats
    return np.full(len(column), np.nan)


def has_numerals(kind: pa.DataType) -> bool:
    """Whether `numerals` reads columns of this type.

    Examples
    --------
    >>> has_numerals(pa.decimal128(9, 2)), has_numerals(pa.list_(pa.int8()))
    (True, False)
    """
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return is_number or pa.types.is_boolean(kind) or pa.types.is_null(kind) or is_texts(kind)
