"""How far has event time come in one log?

A watermark is a promise about the past: nothing older is still expected. It follows the newest event time of its log
at a distance of the declared lateness and never steps back, so what was closed under it stays closed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.times import NEVER_US

Int64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class Watermark:
    """Watermark of one log, microseconds UTC.

    Parameters
    ----------
    lateness_us
        How far behind the newest event time of its log a row may be and still be on time.
    at_us
        The watermark; NEVER_US as long as there was no row.

    Examples
    --------
    >>> mark = Watermark(lateness_us=5)
    >>> before, after = mark.observe(np.array([12, 20, 14, 15]))
    >>> after.tolist(), (np.array([12, 20, 14, 15]) < before).tolist()   # 14 is older than the promise: 15
    ([7, 15, 15, 15], [False, False, True, False])
    """

    lateness_us: int
    at_us: int = NEVER_US

    def observe(self, event_time_us: Int64) -> tuple[Int64, Int64]:
        """The watermark before and after each row, int64[n] each; a row is late if it is older than the one before."""
        after = np.maximum(np.maximum.accumulate(event_time_us - self.lateness_us), self.at_us)
        before = np.empty_like(after)
        before[:1] = self.at_us
        before[1:] = after[:-1]
        if after.size:
            self.at_us = int(after[-1])
        return before, after
