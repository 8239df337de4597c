"""Compiled reading of what texts spell: numbers exactly, truth values, and the hash of everything else."""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from features.kernels.mixing import mix64
from features.kernels.texts import xxh64

UInt8 = npt.NDArray[np.uint8]
UInt64 = npt.NDArray[np.uint64]
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: What a text spells. FRACTION is as short as it can be, LOOSE is not ("1.50", "1e3", "inf"); both are read elsewhere.
NOTHING, WHOLE, FRACTION, LOOSE, NAN, WORD, OTHER = 0, 1, 2, 3, 4, 5, 6
#: Added to the code: a leading zero or plus sign ("007", "+5"); spaces around.
ODD, SPACED = 16, 32

_NAN, _TRUE, _FALSE, _INF, _INFINITY = (
    np.array([ord(letter) for letter in word], np.uint8) for word in ("nan", "true", "false", "inf", "infinity")
)
_WHOLE_MAX = np.uint64(2**64 - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _spells(text: UInt8, at: int, end: int, word: UInt8) -> bool:
    """Whether text[at:end] is `word` (small letters), in letters of any case."""
    if end - at != word.size:
        return False
    for i in range(word.size):  # noqa: SIM110 (compiled: generators are not)
        if (text[at + i] | 32) != word[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def _digits(text: UInt8, at: int, end: int) -> int:
    while at < end and 48 <= text[at] <= 57:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _word(text: UInt8, at: int, end: int) -> tuple[int, float]:
    """(code, 1 or 0) of the words that mean a truth value or no value."""
    first = text[at] | 32
    if first == 110 and _spells(text, at, end, _NAN):
        return NAN, np.nan
    if first == 116 and (end - at == 1 or _spells(text, at, end, _TRUE)):
        return WORD, 1.0
    if first == 102 and (end - at == 1 or _spells(text, at, end, _FALSE)):
        return WORD, 0.0
    sign = 1 if text[at] in {43, 45} else 0
    if _spells(text, at + sign, end, _INF) or _spells(text, at + sign, end, _INFINITY):
        return LOOSE, 0.0
    return OTHER, 0.0


@njit(cache=True, nogil=True)
def _magnitude(text: UInt8, at: int, end: int) -> tuple[bool, np.uint64]:
    """(whether it is below 2**64, the number) of the digits text[at:end]."""
    number = np.uint64(0)
    if end - at > 20:
        return False, number
    for i in range(at, end):
        digit = np.uint64(text[i] - 48)
        if number > (_WHOLE_MAX - digit) // np.uint64(10):
            return False, number
        number = number * np.uint64(10) + digit
    return True, number


@njit(cache=True, nogil=True)
def _spelled(text: UInt8, at: int, end: int) -> Any:
    """(code, nearest float64, what is left of the exact integer) of text[at:end], which is not empty."""
    begin = at + 1 if text[at] in {43, 45} else at
    point = _digits(text, begin, end)
    last = point
    if point < end and text[point] == 46:
        last = _digits(text, point + 1, end)
    if last == begin or (point == begin and last == point + 1):  # no digit at all
        code, value = _word(text, at, end)
        return code, value, 0
    odd = ODD if text[at] == 43 or (point - begin > 1 and text[begin] == 48) else 0
    if last < end:
        if text[last] | 32 != 101:  # e
            return OTHER, 0.0, 0
        power = last + 2 if last + 1 < end and text[last + 1] in {43, 45} else last + 1
        if power == end or _digits(text, power, end) != end:
            return OTHER, 0.0, 0
        return LOOSE | odd, 0.0, 0
    for i in range(point + 1, end):
        if text[i] != 48:
            is_short = text[end - 1] != 48 and point > begin
            return (FRACTION if is_short else LOOSE) | odd, 0.0, 0
    fits, number = _magnitude(text, begin, point)
    if not fits:
        return OTHER, 0.0, 0  # as a float it would equal its neighbours
    nearest = np.float64(number)
    rest = np.int64(number - np.uint64(nearest)) if nearest < 18446744073709551616.0 else np.int64(number)
    return WHOLE | odd, (-nearest if text[at] == 45 else nearest), (-rest if text[at] == 45 else rest)


@njit(cache=True, nogil=True)
def read_numbers(text: UInt8, bounds: Int64, valid: Bool) -> tuple[UInt8, Float64, Int64]:
    """uint8[n] codes, float64[n] nearest floats, int64[n] rests of the texts text[bounds[i]:bounds[i + 1]]."""
    n = valid.size
    codes = np.zeros(n, np.uint8)
    floats = np.full(n, np.nan)
    rests = np.zeros(n, np.int64)
    for i in range(n):
        if not valid[i]:
            continue
        at, end = bounds[i], bounds[i + 1]
        while at < end and text[at] == 32:
            at += 1
        while end > at and text[end - 1] == 32:
            end -= 1
        if at == end:
            codes[i] = OTHER  # an empty text is a value
            continue
        code, value, rests[i] = _spelled(text, at, end)
        codes[i] = code | (SPACED if end - at < bounds[i + 1] - bounds[i] else 0)
        if code & 15 in {WHOLE, WORD}:
            floats[i] = value
    return codes, floats, rests


@njit(cache=True, nogil=True)
def hash_all(text: UInt8, bounds: Int64, valid: Bool) -> UInt64:
    """uint64[n]: XXH64 of each text, never 0; 0 where there is none."""
    n = valid.size
    hashes = np.zeros(n, np.uint64)
    for i in range(n):
        if valid[i]:
            h = xxh64(text, bounds[i], bounds[i + 1])
            hashes[i] = h if h != np.uint64(0) else np.uint64(1)
    return hashes


@njit(cache=True, nogil=True)
def mix_rests(hashes: UInt64, rests: UInt64) -> None:
    """Scramble what a float could not hold into the hash of the float, in place; a rest of 0 changes nothing."""
    for i in range(hashes.size):
        if rests[i] != np.uint64(0):
            h = mix64(hashes[i] + rests[i] * _GOLDEN)
            hashes[i] = h if h != np.uint64(0) else np.uint64(1)


@njit(cache=True, nogil=True)
def fold(children: UInt64, bounds: Int64, valid: Bool, is_ordered: bool) -> UInt64:
    """uint64[n]: one hash for children[bounds[i]:bounds[i + 1]], never 0; 0 where there is none.

    Ordered, every child counts at its place; else they count in any order, and zeros not at all.
    """
    n = valid.size
    hashes = np.zeros(n, np.uint64)
    for i in range(n):
        if not valid[i]:
            continue
        h = mix64((np.uint64(bounds[i + 1] - bounds[i]) if is_ordered else np.uint64(0)) + _GOLDEN)
        for k in range(bounds[i], bounds[i + 1]):
            if is_ordered:
                h = mix64((h ^ children[k]) + _GOLDEN)
            elif children[k] != np.uint64(0):
                h += mix64(children[k] + _GOLDEN)
        hashes[i] = h if h != np.uint64(0) else np.uint64(1)
    return hashes
