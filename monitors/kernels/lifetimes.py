"""Compiled lifetimes of entities: were they there, were they gone, at the moment of a read?"""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_FOREVER = 2**63 - 1


@njit(cache=True, nogil=True)
def returns(start: Int64, a_us: Int64, is_delete: Bool) -> Int64:
    """int64[n]: least `a` of the versions after each row of its group, deletions apart; forever: there is none."""
    found = np.empty(a_us.size, np.int64)
    for g in range(start.size - 1):
        least = _FOREVER
        for i in range(start[g + 1] - 1, start[g] - 1, -1):
            found[i] = least
            if not is_delete[i]:
                least = min(least, a_us[i])
    return found


@njit(cache=True, nogil=True)
def was_deleted(start: Int64, gone_us: Int64, return_us: Int64, group: Int64, p_lo: Int64, p_hi: Int64) -> Bool:
    """bool[c]: whether a deletion was surely visible at the read and no version after it could have been.

    `start` int64[g + 1]: the deletions of each group, each visible by `gone_us`, undone from `return_us` at the
    earliest; `group` -1: none.
    """
    found = np.zeros(group.size, np.bool_)
    for c in range(group.size):
        if group[c] < 0:
            continue
        for j in range(start[group[c]], start[group[c] + 1]):
            if gone_us[j] <= p_lo[c] and return_us[j] >= p_hi[c]:
                found[c] = True
                break
    return found
