"""Does a producer stamp its events in local time and call it UTC?

Then event and write time differ by a multiple of a quarter of an hour, almost exactly, again and again. Of lags that
are spread, 4 seconds in 900 come that close to a multiple; so each close one is evidence of 225 to 1, and the product
over independent ones is a bet that loses if nothing is wrong (an e-value; Shafer 2021). Three records suffice.

What looks alike and is none: rows with the same event time, jobs and windows that run by the quarter of an hour, lags
that merely tend to one value. Same events count once. Stamps that lie *behind* must also differ in their second within
the quarter hour, and whole minutes do not count. And close lags must be clearly more than four times as dense as those
some seconds farther off.

How to call it: one `OffsetWatch` per LOG that has event times, any batches of its rows. Leave out rows whose event
time is meant to lie ahead (give them NEVER_US).
"""

import numpy as np
import numpy.typing as npt

from features.times import NEVER_US
from monitors.audit.occurrences import rows_of
from monitors.audit.outcome import TableFinding
from monitors.verdicts import JSON, Severity

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

#: Every zone offset is a multiple of a quarter of an hour, up to 14 hours (tz database).
QUARTER_US = 900_000_000
OFFSETS_MAX = 56

#: A lag this close to a multiple is a hit.
NEAR_US = 2_000_000
_CHANCE = (2 * NEAR_US + 1) / QUARTER_US

#: Chance that spread lags ever make a LOG alarm, over all offsets.
FALSE_ALARM = 1e-4

#: Fractions of the wealth that are bet, mixed evenly: large ones find few records, small ones a small share of many.
_BETS = (0.02, 0.1, 0.3, 0.6, 0.9)

_BLOCKS = 1_024  # at least 900: one for each second of a quarter
_RING_US = (10_000_000, 60_000_000)
_RING_SHARE = (_RING_US[1] - _RING_US[0]) / NEAR_US
#: Delays that crowd about one value may be this much denser there than a few seconds away, and no zone.
_DENSER = 4
#: And it must be this much likelier that they are still denser.
_PEAK = 50
_MINUTE_US = 60_000_000


class OffsetWatch:
    """Watches the lags of one LOG for zone offsets.

    Parameters
    ----------
    file
        Its name.

    Examples
    --------
    >>> watch = OffsetWatch("log.csv")
    >>> write = 1_700_000_000_000_000 + np.arange(3) * 7_000_000
    >>> watch.observe(write + 10_800_000_000 - 30_000, write, np.arange(3))
    >>> watch.findings()[0].evidence["offset_ms"]
    10800000
    """

    def __init__(self, file: str) -> None:
        self.file = file
        offsets = 2 * OFFSETS_MAX + 1
        # By offset and block: close lags, and all whose nearest multiple is this offset.
        self._near = np.zeros(offsets * _BLOCKS, np.int64)
        self._around = np.zeros(offsets * _BLOCKS, np.int64)
        self._ring = np.zeros(offsets, np.int64)
        self._first = np.full(offsets, np.iinfo(np.int64).max)
        self._total = 0

    def observe(self, event_us: Int64, write_us: Int64, row: Int64) -> None:
        """Take in some rows: int64[n] event and write times (NEVER_US: none), and row numbers."""
        there = (event_us != NEVER_US) & (write_us != NEVER_US)
        self._total += int(np.count_nonzero(there))
        ahead = np.where(there, event_us - write_us, 0)
        offset = (ahead + QUARTER_US // 2) // QUARTER_US
        wanted = (offset != 0) & (np.abs(offset) <= OFFSETS_MAX) & ((ahead > 0) | (event_us % _MINUTE_US != 0))
        at = np.flatnonzero(wanted)
        if at.size == 0:
            return
        place = offset[at] + OFFSETS_MAX
        far = np.abs(ahead[at] - offset[at] * QUARTER_US)
        cell = place * _BLOCKS + _blocks(event_us[at], offset[at])
        is_near = far <= NEAR_US
        np.add.at(self._around, cell, 1)
        np.add.at(self._near, cell[is_near], 1)
        np.add.at(self._ring, place[(far > _RING_US[0]) & (far <= _RING_US[1])], 1)
        np.minimum.at(self._first, place[is_near], row[at][is_near])

    def findings(self) -> tuple[TableFinding, ...]:
        """TZ_OFFSET for the LOG if some offset is certain enough, the most frequent one first."""
        near = self._near.reshape(-1, _BLOCKS)
        hits = near.sum(axis=1)
        log_wealth = _log_wealth(near, self._around.reshape(-1, _BLOCKS))
        is_sure = log_wealth >= np.log(2 * OFFSETS_MAX / FALSE_ALARM)
        found = np.flatnonzero(is_sure & (_log_peak(hits, self._ring) >= np.log(_PEAK)))
        if found.size == 0:
            return ()
        order = found[np.lexsort((found, -hits[found]))]
        return (self._finding([int(k) for k in order], hits, log_wealth),)

    def _finding(self, places: list[int], hits: Int64, log_wealth: Float64) -> TableFinding:
        main = places[0]
        offset_ms = (main - OFFSETS_MAX) * QUARTER_US // 1_000
        count = int(sum(hits[k] for k in places))
        first = int(min(self._first[k] for k in places))
        is_ahead = offset_ms > 0
        others = "".join(f" and {_shown(k)}" for k in places[1:])
        offsets: dict[str, JSON] = {_shown(k): int(hits[k]) for k in places}
        return TableFinding(
            "TZ_OFFSET",
            # A timer of exactly half an hour looks like a clock half an hour behind; nothing honest looks ahead.
            Severity.WARNING if is_ahead else Severity.INFO,
            self.file,
            f"In {rows_of(count, self._total)} of {self.file} the event time lies {_shown(main)}{others} from the "
            f"write time, to within 2 s: a zone, not a delay (first: row {first}).",
            "Let the producer write UTC, or give its times a zone."
            if is_ahead
            else "Let the producer write UTC, or give its times a zone; nothing is wrong if a timer waits that long.",
            {
                "offset_ms": offset_ms,
                "offsets": offsets,
                "count": count,
                "share": count / self._total,
                "first_row": first,
                "log_e": round(float(log_wealth[main]), 3),
            },
        )


def _blocks(event_us: Int64, offset: Int64) -> Int64:
    """int64[n]: rows of one block are one piece of evidence. Ahead: the same event; behind: the same second of a
    quarter hour, because timetables make such lags, too."""
    scattered = (event_us.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(54)
    second = (event_us // 1_000_000) % 900
    found: Int64 = np.where(offset > 0, scattered.astype(np.int64), second)
    return found


def _log_wealth(near: Int64, around: Int64) -> Float64:
    """float64[offsets]: log of the wealth of betting on each offset; a block counts once, by its share of hits."""
    share = near / np.maximum(around, 1)
    stake = np.where(around > 0, share / _CHANCE - 1, 0)
    return _mixed([np.log1p(bet * stake).sum(axis=1) for bet in _BETS])


def _log_peak(hits: Int64, ring: Int64) -> Float64:
    """float64[offsets]: log of the wealth of betting that close lags are denser than `_DENSER` times the ring."""
    chance = _DENSER / (_DENSER + _RING_SHARE)
    return _mixed([hits * np.log1p(bet * (1 / chance - 1)) + ring * np.log1p(-bet) for bet in _BETS])


def _mixed(logs: list[Float64]) -> Float64:
    """Log of the mean over the bets."""
    stacked = np.array(logs)
    top = stacked.max(axis=0)
    found: Float64 = top + np.log(np.exp(stacked - top).mean(axis=0))
    return found


def _shown(place: int) -> str:
    return f"{(place - OFFSETS_MAX) * QUARTER_US // 1_000:+,} ms"
