"""Which version would a training set hold?

Training joins each feature to a prediction in one of three ways, and what it did decides what it may have leaked.
"""

import numpy as np
import numpy.typing as npt

from features.definitions import Join
from features.history import History, Slices

Int64 = npt.NDArray[np.int64]

LATEST, AS_OF, EVENT_TIME = 0, 1, 2
_CODES: dict[Join, int] = {"latest": LATEST, "as_of": AS_OF, "event_time": EVENT_TIME}


def joined(history: History, slices: Slices, joins: list[Join], read_time_us: Int64, by_us: Int64) -> Int64:
    """int64[groups]: place in `slices.rows` of the version that training would join, -1 if none.

    Parameters
    ----------
    joins
        How, one per group: ``latest`` the newest version that has arrived; ``as_of`` the newest that every read at
        the read time would have found (`by_us` <= read time); ``event_time`` the newest among those whose event
        time is not after the read time, by (event time, source order).
    by_us
        int64[rows]: upper bounds of visibility.

    Examples
    --------
    >>> empty = Slices(np.array([0, 0]), np.empty(0, np.int64), np.array([False]), np.array([9]))
    >>> joined(History(), empty, ["latest"], np.array([5]), np.empty(0, np.int64)).tolist()
    [-1]
    """
    groups = slices.start.size - 1
    chosen = np.full(groups, -1, np.int64)
    if not slices.rows.size:
        return chosen
    place = np.arange(slices.rows.size)
    code = np.array([_CODES[j] for j in joins], np.int8)[slices.group]
    read = read_time_us[slices.group]
    event = history.event_time_us[slices.rows]
    fits = np.where(code == AS_OF, by_us <= read, np.where(code == EVENT_TIME, event <= read, True))
    rank = np.where(code == EVENT_TIME, event, 0)
    order = np.lexsort((place, rank, fits, slices.group))  # the last of each group is the one
    last = slices.start[1:] - 1
    has_rows = slices.start[1:] > slices.start[:-1]
    best = order[np.where(has_rows, last, 0)]
    return np.where(has_rows & fits[best], best, -1)
