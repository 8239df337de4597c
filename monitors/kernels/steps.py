"""Compiled steps of stamps against an order that is known better."""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]

_NEVER = -(2**63)


@njit(cache=True, nogil=True)
def step_back(start: Int64, stamp_us: Int64) -> Int64:
    """int64[n]: by how much each stamp lies before the greatest one before it in its group; 0 where it does not."""
    back = np.zeros(stamp_us.size, np.int64)
    for g in range(start.size - 1):
        highest = _NEVER
        for i in range(start[g], start[g + 1]):
            if stamp_us[i] == _NEVER:
                continue
            if stamp_us[i] >= highest:
                highest = stamp_us[i]
            else:
                back[i] = highest - stamp_us[i]
    return back
