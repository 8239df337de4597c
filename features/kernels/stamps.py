"""Compiled reading of stamps from text: ISO 8601 in its usual forms, and whole numbers by magnitude."""

import numpy as np
import numpy.typing as npt
from numba import njit

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: What a text was. `features.stamps` knows the unit and the resolution of each.
MISSING, WHOLE_S, WHOLE_MS, WHOLE_US, WHOLE_NS = 0, 1, 2, 3, 4
TEXT_DAY, TEXT_HOUR, TEXT_MINUTE, TEXT_S, TEXT_MS, TEXT_US = 5, 6, 7, 8, 9, 10
OTHER = 11  # not read here: fractions, exponents, rare forms, no times

_EARLIEST_S, _LATEST_S = 31_536_000, 4_102_444_800


@njit(cache=True, nogil=True)
def _number(text: UInt8, at: int, end: int, size: int) -> int:
    """The number in `size` digits from `at`; -1 if there are not so many."""
    if at + size > end:
        return -1
    number = 0
    for i in range(at, at + size):
        if text[i] < 48 or text[i] > 57:
            return -1
        number = number * 10 + (text[i] - 48)
    return number


@njit(cache=True, nogil=True)
def _day(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, chrono-compatible date algorithms)."""
    y = year - 1 if month <= 2 else year
    era = y // 400
    of_era = y - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@njit(cache=True, nogil=True)
def _last_day(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in {4, 6, 9, 11} else 31


@njit(cache=True, nogil=True)
def _offset_s(text: UInt8, at: int, end: int) -> int:
    """Seconds east of UTC of the zone in text[at:end]; 10**6 if it is none that is read here."""
    if at == end:
        return 0
    if text[at] in {90, 122}:  # Z
        return 0 if at + 1 == end else 1_000_000
    if end - at == 4 and text[at] == 32 and text[at + 1] == 85 and text[at + 2] == 84 and text[at + 3] == 67:  # " UTC"
        return 0
    if text[at] not in {43, 45}:
        return 1_000_000
    hours = _number(text, at + 1, end, 2)
    minutes = 0
    if hours < 0 or hours > 23:
        return 1_000_000
    if at + 3 < end:
        colon = 1 if text[at + 3] == 58 else 0
        minutes = _number(text, at + 3 + colon, end, 2)
        if minutes < 0 or minutes > 59 or at + 5 + colon != end:
            return 1_000_000
    seconds = hours * 3600 + minutes * 60
    return seconds if text[at] == 43 else -seconds


@njit(cache=True, nogil=True)
def _iso(text: UInt8, at: int, end: int) -> tuple[int, int]:
    """(microseconds, code) of YYYY-MM-DD[(T| )HH[:MM[:SS[.f...]]][zone]]; code OTHER if it is something else."""
    year, month, day = _number(text, at, end, 4), _number(text, at + 5, end, 2), _number(text, at + 8, end, 2)
    if year < 1 or month < 1 or month > 12 or day < 1 or text[at + 4] != 45 or text[at + 7] != 45:
        return 0, OTHER
    if day > _last_day(year, month):
        return 0, OTHER
    us = _day(year, month, day) * 86_400_000_000
    at += 10
    if at == end:
        return us, TEXT_DAY
    hour = _number(text, at + 1, end, 2)
    if text[at] not in {84, 116, 32} or hour < 0 or hour > 23:  # T, t, space
        return 0, OTHER
    us += hour * 3_600_000_000
    at += 3
    code = TEXT_HOUR
    if at < end and text[at] == 58:
        minute = _number(text, at + 1, end, 2)
        if minute < 0 or minute > 59:
            return 0, OTHER
        us += minute * 60_000_000
        at += 3
        code = TEXT_MINUTE
        if at < end and text[at] == 58:
            second = _number(text, at + 1, end, 2)
            if second < 0 or second > 59:
                return 0, OTHER
            us += second * 1_000_000
            at += 3
            code = TEXT_S
            if at < end and text[at] in {44, 46}:  # comma, point
                at += 1
                first = at
                scale = 100_000
                while at < end and 48 <= text[at] <= 57:
                    us += (text[at] - 48) * scale  # digits after the sixth count nothing: floored
                    scale //= 10
                    at += 1
                if at == first:
                    return 0, OTHER
                code = TEXT_MS if at - first <= 3 else TEXT_US
    offset_s = _offset_s(text, at, end)
    if offset_s == 1_000_000:
        return 0, OTHER
    return us - offset_s * 1_000_000, code


@njit(cache=True, nogil=True)
def _whole(text: UInt8, at: int, end: int) -> tuple[int, int]:
    """(microseconds, code) of a whole number, its unit by magnitude; code OTHER if it is no time from 1971 to 2099."""
    if end - at > 19:
        return 0, OTHER
    number = _number(text, at, end, end - at)
    if _EARLIEST_S <= number <= _LATEST_S:
        return number * 1_000_000, WHOLE_S
    if _EARLIEST_S * 1_000 <= number <= _LATEST_S * 1_000:
        return number * 1_000, WHOLE_MS
    if _EARLIEST_S * 1_000_000 <= number <= _LATEST_S * 1_000_000:
        return number, WHOLE_US
    if _EARLIEST_S * 1_000_000_000 <= number < _LATEST_S * 1_000_000_000 + 1_000:
        return number // 1_000, WHOLE_NS
    return 0, OTHER


@njit(cache=True, nogil=True)
def read_texts(text: UInt8, bounds: Int64, valid: Bool) -> tuple[Int64, UInt8]:
    """int64[n] microseconds and uint8[n] codes of the texts text[bounds[i]:bounds[i + 1]], without spaces around."""
    n = valid.size
    us = np.zeros(n, np.int64)
    codes = np.zeros(n, np.uint8)
    for i in range(n):
        at, end = bounds[i], bounds[i + 1]
        while at < end and text[at] == 32:
            at += 1
        while end > at and text[end - 1] == 32:
            end -= 1
        if not valid[i] or at == end:
            continue
        if end - at >= 10 and text[at + 4] == 45:  # a fifth letter "-": a date
            us[i], codes[i] = _iso(text, at, end)
        elif end - at == 3 and text[at] == 78 and text[at + 1] == 97 and text[at + 2] == 84:  # "NaT"
            continue
        else:
            us[i], codes[i] = _whole(text, at, end)
    return us, codes
