"""JSON scalars of any kind as columns."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from features.canonical import number_texts
from features.lineage import canonical, number_hashes, value_hash

#: Up to here an integer is its float, in text and in hash.
_EXACT_MAX = 2.0**53
_HUGE = 2**1023  # an integer below is a finite float


def cell_columns(values: list[Any]) -> list[Any]:
    """Canonical text, hash and number of JSON scalars: the columns of a value of any kind."""
    if set(map(type, values)) <= {int, float}:
        try:
            numbers = np.array(values, np.float64)
        except OverflowError:
            numbers = np.array([np.inf])
        if (np.abs(numbers) <= _EXACT_MAX).all():
            return [number_texts(numbers), number_hashes(numbers), numbers]
    return [[canonical(v) for v in values], np.array([value_hash(v) for v in values], np.uint64), as_numbers(values)]


def as_numbers(values: list[Any]) -> npt.NDArray[np.float64]:
    """float64[n]: the numbers among JSON scalars, NaN for everything else; an integer beyond float64 is no number."""
    return np.array([_number(v) for v in values], np.float64)


def _number(value: Any) -> float:
    kind = type(value)
    if kind is float:
        return float(value)
    return float(value) if kind is int and abs(value) < _HUGE else math.nan
