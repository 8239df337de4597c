"""Compiled mixing of 64-bit numbers into ids (splitmix64's finaliser, Steele et al. 2014)."""

import numpy as np
import numpy.typing as npt
from numba import njit

UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True, inline="always")
def mix64(x: np.uint64) -> np.uint64:
    """One bijective scramble of 64 bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def mix_ids(origin: UInt64, entity: UInt64, partition: Int64, offset: Int64, window: Int64) -> UInt64:
    """One id per row from five causes, never 0."""
    n = origin.size
    out = np.empty(n, np.uint64)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for i in range(n):
        h = mix64(origin[i] + golden)
        h = mix64((h ^ entity[i]) + golden)
        h = mix64((h ^ np.uint64(partition[i])) + golden)
        h = mix64((h ^ np.uint64(offset[i])) + golden)
        h = mix64((h ^ np.uint64(window[i])) + golden)
        out[i] = h if h != np.uint64(0) else np.uint64(1)
    return out
