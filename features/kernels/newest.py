"""Compiled newest values of one column."""

import numpy as np
import numpy.typing as npt
from numba import njit

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]


@njit(cache=True, nogil=True)
def pass_column(
    entity: Int32, event_time: Int64, hashes: UInt64, by_event_time: bool, known: Bool, present: UInt64, time_us: Int64
) -> tuple[Int64, Int64]:
    """int64[m] rows that make a version, int64[c] those whose value is the present one when they have come.

    In order of writing, a row that repeats the present value makes none. By event time every row makes one, because
    which of two is current depends on what becomes readable first.
    """
    made = np.empty(entity.size, np.int64)
    taken = np.empty(entity.size, np.int64)
    m = c = 0
    for i in range(entity.size):
        k = entity[i]
        if not by_event_time and known[k] and present[k] == hashes[i]:
            continue
        made[m] = i
        m += 1
        if by_event_time and known[k] and event_time[i] < time_us[k]:
            continue
        known[k] = True
        present[k] = hashes[i]
        time_us[k] = event_time[i]
        taken[c] = i
        c += 1
    return made[:m], taken[:c]
