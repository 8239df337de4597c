"""How is a column of values shown? What `features.lineage.canonical` says of one number, for arrays."""

import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.lineage import Scalar, canonical, value_hash

Float64 = npt.NDArray[np.float64]

#: Arrow and Python write the same shortest decimals between these bounds (measured on 400,000 random doubles); outside,
#: they differ in when an exponent begins, and Python's way is the one that counts.
_SAME_FROM, _SAME_TO = 1e-4, 1e10
_EXACT_MAX = 2.0**53
#: Counts are small numbers again and again: their texts are made once.
_COUNTS = np.arange(4096)
_COUNT_TEXTS = pa.array(_COUNTS).cast(pa.utf8())
_TRUE, _FALSE = value_hash(True), value_hash(False)


def number_texts(numbers: Float64) -> pa.Array:
    """utf8[n]: canonical texts; null for NaN.

    Examples
    --------
    >>> number_texts(np.array([3.0, 2.5, np.nan, 1e-5])).to_pylist()
    ['3', '2.5', None, '1e-05']
    """
    size = np.abs(numbers)
    is_small = (size < _COUNTS.size) & (numbers == np.floor(numbers)) & ~np.signbit(numbers)
    index = np.where(is_small, numbers, 0).astype(np.int64)
    others = np.flatnonzero(~is_small)
    if others.size == 0:
        return _COUNT_TEXTS.take(pa.array(index))
    index[others] = _COUNTS.size + np.arange(others.size)
    return pa.concat_arrays([_COUNT_TEXTS, _decimals(numbers[others] + 0.0, size[others])]).take(pa.array(index))


def _decimals(numbers: Float64, size: Float64) -> pa.Array:
    """Texts of numbers of these sizes, no -0.0 among them."""
    texts = pa.array(numbers, mask=np.isnan(numbers)).cast(pa.utf8())
    odd = np.flatnonzero((size > 0) & (size < _SAME_FROM) | (size >= _SAME_TO))
    if odd.size == 0:
        return texts
    mended = pa.array([canonical(x) for x in numbers[odd].tolist()], pa.utf8())
    index = np.arange(numbers.size)
    index[odd] = numbers.size + np.arange(odd.size)
    return pa.concat_arrays([texts, mended]).take(pa.array(index))


def scalar_of(number: float) -> Scalar:
    """A number as JSON shows it: None for NaN, whole ones without a point.

    Examples
    --------
    >>> scalar_of(3.0), scalar_of(2.5), scalar_of(float("nan"))
    (3, 2.5, None)
    """
    if math.isnan(number):
        return None
    return int(number) if number.is_integer() and abs(number) <= _EXACT_MAX else number


def cell_of(text: str | None, hashed: int, number: float) -> Scalar:
    """The scalar behind a payload cell of kind ``any``: its canonical text, hash and number.

    Examples
    --------
    >>> nan = float("nan")
    >>> cell_of("3", value_hash(3), 3.0), cell_of("3", value_hash("3"), nan), cell_of("true", value_hash(True), nan)
    (3, '3', True)
    """
    if text is None:
        return None
    if not math.isnan(number):
        return int(text) if text.lstrip("-").isdigit() else number
    return True if hashed == _TRUE else False if hashed == _FALSE else text
