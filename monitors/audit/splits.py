"""To which part does an entity belong, and in which order are rows added up? Decided by content alone."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


def shares(entity: UInt64, seed: int) -> Float64:
    """float64[n] in [0, 1), even over many entities: where an entity falls, whatever else is in the table.

    Examples
    --------
    >>> where = shares(np.array([7, 8, 7], np.uint64), seed=0)
    >>> bool(where[0] == where[2]), bool(where[0] == where[1])
    (True, False)
    """
    salt = mixed(np.array([seed % 2**64], np.uint64))
    return (mixed(entity ^ salt) >> np.uint64(11)).astype(np.float64) / 2.0**53


def in_order(rows: Int64, columns: Iterable[UInt64]) -> Int64:
    """The rows in an order that their content alone decides: sums of floats depend on the order of their terms.

    Examples
    --------
    >>> column = np.array([5, 6, 7], np.uint64)
    >>> one, other = in_order(np.array([0, 1, 2]), [column]), in_order(np.array([2, 0, 1]), [column])
    >>> one.tolist() == other.tolist()
    True
    """
    key = np.zeros(rows.size, np.uint64)
    for column in columns:
        key = mixed(key ^ column[rows])
    return rows[np.argsort(key, kind="stable")]


def mixed(key: UInt64) -> UInt64:
    """Every bit spread over all others: the finaliser of splitmix64 (Steele, Lea, Flood 2014).

    Examples
    --------
    >>> int(mixed(np.array([0], np.uint64))[0])
    16294208416658607535
    """
    key = key + np.uint64(0x9E3779B97F4A7C15)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(key ^ (key >> np.uint64(31)), np.uint64)
