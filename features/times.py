"""Which instant does this stamp mean?

Inside, every time is an int64 count of microseconds since the epoch, UTC. Outside there are seconds,
milliseconds, nanoseconds and ISO 8601 text; this file turns them into one kind, once, and says so when a
stamp cannot be what its source declares.
"""

import re
from datetime import UTC, datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]

NEVER_US = -(2**63)  # minus infinity: sorts before every real time
FOREVER_US = 2**63 - 1  # plus infinity

#: Times outside these bounds are no times of ours: the magnitude classes of the units are disjoint inside
#: (1971-01-01 to 2099-12-31), so a stamp in the wrong unit always falls outside.
EARLIEST_US = 31_536_000_000_000
LATEST_US = 4_102_444_800_000_000


class Unit(IntEnum):
    """Microseconds per unit; NANOSECOND is negative because it divides."""

    NANOSECOND = -1000
    MICROSECOND = 1
    MILLISECOND = 1_000
    SECOND = 1_000_000


UNIT_NAMES = {"s": Unit.SECOND, "ms": Unit.MILLISECOND, "us": Unit.MICROSECOND, "ns": Unit.NANOSECOND}

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|min|h|d|w)\s*$")
_DURATION_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}


def parse_duration_us(text: str) -> int:
    """Microseconds in a duration such as ``"250ms"``, ``"30s"``, ``"5m"``, ``"3d"``.

    Raises
    ------
    ValueError
        The text is no duration.

    Examples
    --------
    >>> parse_duration_us("1.5s"), parse_duration_us("5m")
    (1500000, 300000000)
    """
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"expected a duration such as '250ms', '30s', '5m', '2h' or '3d', found {text!r}")
    return round(float(match[1]) * _DURATION_US[match[2]])


def duration_text(us: int) -> str:
    """A duration as `parse_duration_us` reads it, in the greatest unit that divides it; for people.

    Examples
    --------
    >>> duration_text(7_200_000_000), duration_text(1_500), duration_text(0)
    ('2h', '1500us', '0s')
    """
    units = (("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000))
    return next((f"{us // of}{name}" for name, of in units if us and us % of == 0), f"{us}us" if us else "0s")


def unit_of(stamp: int) -> Unit | None:
    """The unit in which `stamp` is a time between 1971 and 2099; None if there is none.

    Examples
    --------
    >>> unit_of(1_700_000_000).name, unit_of(1_700_000_000_000).name, unit_of(12) is None
    ('SECOND', 'MILLISECOND', True)
    """
    for unit in (Unit.SECOND, Unit.MILLISECOND, Unit.MICROSECOND, Unit.NANOSECOND):
        if EARLIEST_US <= to_us(stamp, unit) <= LATEST_US:
            return unit
    return None


def to_us(stamp: int, unit: Unit) -> int:
    """`stamp` in microseconds; nanoseconds are floored.

    Examples
    --------
    >>> to_us(1_700_000_000, Unit.SECOND)
    1700000000000000
    """
    return stamp // 1000 if unit is Unit.NANOSECOND else stamp * unit


def parse_iso_us(text: str) -> int:
    """Microseconds of an ISO 8601 stamp; a stamp without a zone is UTC.

    Raises
    ------
    ValueError
        The text is no ISO 8601 stamp.

    Examples
    --------
    >>> parse_iso_us("2023-11-14T22:13:20Z")
    1700000000000000
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def iso(time_us: int) -> str:
    """An ISO 8601 stamp in UTC, for people.

    Examples
    --------
    >>> iso(1_700_000_000_000_000)
    '2023-11-14T22:13:20.000000Z'
    """
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(microsecond=time_us % 1_000_000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
