"""How often did something happen, and where first?

Counts with the smallest places at which they occurred: the same whatever the order and the pieces the rows came in.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitors.verdicts import JSON

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: Rows shown per finding.
ROWS_MAX = 10

_UNITS = (("d", 86_400_000_000), ("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000))


@dataclass(slots=True)
class Occurrences:
    """A count, and up to `ROWS_MAX` of the rows counted, smallest first.

    Examples
    --------
    >>> seen = Occurrences()
    >>> seen.add(np.array([7, 3]))
    >>> seen.add(np.array([5]), np.array([True]))
    >>> seen.count, seen.first, seen.rows
    (3, 3, [3, 5, 7])
    """

    count: int = 0
    rows: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The smallest row; -1 if nothing was counted."""
        return self.rows[0] if self.rows else -1

    def add(self, rows: Int64, where: Bool | None = None) -> None:
        """Count int64[n] row numbers, or those of them for which bool[n] `where` holds."""
        found = rows if where is None else rows[where]
        if found.size == 0:
            return
        self.count += int(found.size)
        if found.size > ROWS_MAX:
            found = np.partition(found, ROWS_MAX - 1)[:ROWS_MAX]
        self.rows = sorted([*self.rows, *found.tolist()])[:ROWS_MAX]

    def merge(self, other: "Occurrences") -> None:
        """Take in what another has counted."""
        self.count += other.count
        self.rows = sorted([*self.rows, *other.rows])[:ROWS_MAX]

    def evidence(self) -> dict[str, JSON]:
        """The count and the rows as JSON values."""
        return {"count": self.count, "rows": [*self.rows]}


def about(us: int) -> str:
    """A measured duration for people: three decimals at most, in the greatest unit that it reaches.

    Examples
    --------
    >>> about(40_000), about(5_003_123), about(7_200_000_000), about(-1)
    ('40 ms', '5.003 s', '2 h', '-1 us')
    """
    for name, of in _UNITS:
        if abs(us) >= of:
            return f"{round(us / of, 3):,g} {name}"
    return f"{us} us"


def rows_of(count: int, total: int) -> str:
    """``"30 of 1,000 rows (3 %)"``.

    Examples
    --------
    >>> rows_of(30, 1_000), rows_of(1, 3)
    ('30 of 1,000 rows (3 %)', '1 of 3 rows (33.3 %)')
    """
    share = f"{100 * count / total:.3g} %" if total else "-"
    return f"{count:,} of {total:,} rows ({share})"
