"""How unlikely is this stream, if nothing has changed since the reference?

The compiled loop of the exact binned conformal martingale (Vovk et al., arXiv 2102.10439, 1906.09256; start-time
mixture after Shin, Ramdas and Rinaldo, arXiv 2203.03532), for one feature:

1. A value falls into one of 16 *cells*, cut by 15 edges. The bag of the reference and of everything seen since grows
   by it; with `below` values in lower cells and `upto` values in lower cells or its own, of `total`,
   u = (below + U (upto - below)) / total is its smoothed conformal p-value. If reference and stream are exchangeable,
   the u are independent and uniform, whatever the distribution and however small the reference.
2. u is counted in a grid of 64 slots. Every 100 values each bet k, a density f_k on the slots, multiplies its wealth:
   M_k = (M_k + w_t) prod f_k(u). Fresh money w_t is put on a change that begins at block t. The w_t sum to 1, so the
   chance that the mean of the M_k ever reaches 1/alpha is at most alpha (Ville's inequality).

A *bag* is int64[17]: all values, those at or above each of the 15 edges, and a 0. Edges fill 16 lanes (two AVX-512 or
four AVX2 registers); the last lane and every unused one holds NaN, which no value passes. Random numbers come from
(feature, partition, offset), so a replay raises the same alarm. No fastmath: it would delete NaN tests and make sums
depend on the machine.

Wealth is a plain number, because it cannot overflow: before a check the sum over 24 bets is below 24/alpha (else the
alarm is latched and the loop over), and one block multiplies it by at most 28.1^100 = e^334. Callers refuse an alpha
below 1e-100. Underflow to 0 is harmless: fresh money follows. The best single start is kept as a logarithm.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from features.kernels.mixing import mix64

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

CELLS = 16  # of values: 15 edges
SLOTS = 64  # of p-values
BLOCK = 100  # values between two checks
BETS = 24  # a constant and not a size at run time: the loops over bets then are vector code, four times as fast

# Places in `tally` (int64[8]). FIRST_... belong to the first value of the block that is being filled.
SEEN, MISSING, CHECKS, PENDING, ALARMED, FIRST_OFFSET, FIRST_PARTITION, FIRST_TIME_US = range(8)

# Columns of `starts` (int64[bets, 4]): the first value of the most telling block to have begun with, for each bet.
START_SEEN, START_OFFSET, START_PARTITION, START_TIME_US = range(4)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def _bytes(cells: range) -> list[int]:
    """Two words of eight bytes, a 1 in the byte of each of the cells."""
    return [sum(1 << 8 * (cell % 8) for cell in cells if cell // 8 == word) for word in (0, 1)]


# Sixteen counters of one byte in two words: adding row c of _STEPS counts a value of cell c at or above cells 0 to c,
# and row c of _MASKS, shifted by _SHIFTS, reads counter c (the 17th reads 0). Tables, because branches on random cells
# are mispredicted.
_STEPS = np.array([_bytes(range(cell + 1)) for cell in range(CELLS)], np.uint64)
_MASKS = np.array([_bytes(range(cell, min(cell + 1, CELLS))) for cell in range(CELLS + 1)], np.uint64) * np.uint64(255)
_SHIFTS = np.array([8 * (cell % 8) for cell in range(CELLS + 1)], np.uint64)


@njit(cache=True, nogil=True)
def start_weight(check: int) -> float:
    """The part of the money that is put on a change beginning at block `check` = 1, 2, ...

    1/log2(t+1) - 1/log2(t+2), written without the cancellation: of order 1/(t log² t), and the sum telescopes to 1.
    """
    step = math.log1p(1.0 / (check + 1.0)) / math.log(2.0)
    return step / (math.log2(check + 1.0) * math.log2(check + 2.0))


@njit(cache=True, nogil=True)
def find_cells(values: Float64, edges: Float64, cells: Int64) -> None:
    """How many edges each value passes, 0 to 15; a value equal to an edge passes it."""
    for i in range(values.size):
        value = values[i]
        passed = np.int64(0)
        for lane in range(CELLS):
            passed += np.int64(value >= edges[lane])
        cells[i] = passed


@njit(cache=True, nogil=True)
def fill_bag(cells: Int64, bag: Int64) -> None:
    """Count values into a bag by their cells."""
    for i in range(cells.size):
        for edge in range(cells[i] + 1):
            bag[edge] += 1


@njit(cache=True, nogil=True)
def _grow_bag(cells: Int64, bag: Int64, from_cell: Int64, above_cell: Int64) -> None:
    """Put at most 100 cells into the bag one by one; note after each the counts at-or-above and above its cell.

    The counts of the block itself stay in two registers, at most 100 in each byte; a loop over 16 counters in memory
    takes twice as long.
    """
    low = high = _ZERO
    for i in range(cells.size):
        cell = np.uint64(cells[i])  # unsigned: spares the test for negative indices
        low += _STEPS[cell, _ZERO]
        high += _STEPS[cell, _ONE]
        here = (low & _MASKS[cell, _ZERO]) | (high & _MASKS[cell, _ONE])
        from_cell[i] = bag[cell] + np.int64(here >> _SHIFTS[cell])
        above = cell + _ONE
        there = (low & _MASKS[above, _ZERO]) | (high & _MASKS[above, _ONE])
        above_cell[i] = bag[above] + np.int64(there >> _SHIFTS[above])
    for edge in range(CELLS):
        byte = (low & _MASKS[edge, 0]) | (high & _MASKS[edge, 1])
        bag[edge] += np.int64(byte >> _SHIFTS[edge])


@njit(cache=True, nogil=True)
def _find_slots(
    seed: np.uint64, partitions: Int64, offsets: Int64, total: int, from_cell: Int64, above_cell: Int64, slots: Int64
) -> None:
    """The slot of each smoothed conformal p-value; `total` is the size of the bag before the first of them."""
    feature = mix64(seed + _GOLDEN)
    for i in range(slots.size):
        stream = mix64(feature ^ (np.uint64(partitions[i]) + _GOLDEN))
        # splitmix64 read at a counter; int64 because its conversion to a float is one instruction, and 53 bits fit
        bits = np.int64(mix64(stream + np.uint64(offsets[i]) * _GOLDEN) >> np.uint64(11))
        size = total + i + 1
        own = from_cell[i] - above_cell[i]
        u = ((size - from_cell[i]) + bits * 2.0**-53 * own) / size
        slots[i] = min(int(u * SLOTS), SLOTS - 1)


@njit(cache=True, nogil=True)
def _gains(grid: Int64, log_f: Float64, gain: Float64) -> None:
    """The logarithm of what one unit of each bet has become after a block."""
    gain[:] = 0.0
    # Bets inside and four slots at once: short chains of additions, always in the same order.
    for slot in range(0, SLOTS, 4):
        a, b, c, d = float(grid[slot]), float(grid[slot + 1]), float(grid[slot + 2]), float(grid[slot + 3])
        for k in range(BETS):
            pair = a * log_f[slot, k] + b * log_f[slot + 1, k]
            gain[k] += pair + (c * log_f[slot + 2, k] + d * log_f[slot + 3, k])


@njit(cache=True, nogil=True)
def _settle(
    grid: Int64,
    gain: Float64,
    log_f: Float64,
    temper: float,
    tally: Int64,
    wealth: Float64,
    best: Float64,
    starts: Int64,
    start_bags: Int64,
    block_bag: Int64,
) -> float:
    """Pay every bet for one block, empty the grid, return the mean wealth (the e-value)."""
    tally[CHECKS] += 1
    weight = start_weight(tally[CHECKS])
    log_weight = math.log(weight)
    _gains(grid, log_f, gain)
    grid[:] = 0
    total = 0.0
    for k in range(BETS):
        gain[k] *= temper
        wealth[k] = (wealth[k] + weight) * math.exp(gain[k])
        total += wealth[k]
    for k in range(BETS):
        if log_weight >= best[k]:  # to begin with this block beats every earlier start
            best[k] = log_weight
            starts[k, START_SEEN] = tally[SEEN] - BLOCK
            starts[k, START_OFFSET] = tally[FIRST_OFFSET]
            starts[k, START_PARTITION] = tally[FIRST_PARTITION]
            starts[k, START_TIME_US] = tally[FIRST_TIME_US]
            for edge in range(CELLS):
                start_bags[k, edge] = block_bag[edge]
        best[k] += gain[k]
    return total / BETS


@njit(cache=True, nogil=True)
def _nan_count(values: Float64) -> np.int64:
    count = np.int64(0)
    for i in range(values.size):
        count += np.int64(np.isnan(values[i]))
    return count


@njit(cache=True, nogil=True)
def follow(
    values: Float64,
    offsets: Int64,
    partitions: Int64,
    times_us: Int64,
    seed: np.uint64,
    edges: Float64,
    log_f: Float64,
    temper: float,
    alarm_at: float,
    tally: Int64,
    bag: Int64,
    block_bag: Int64,
    block: Float64,
    grid: Int64,
    wealth: Float64,
    best: Float64,
    starts: Int64,
    start_bags: Int64,
) -> int:
    """Feed values in order; return the index of the value that raised the alarm, or -1. State changes in place.

    NaN is counted as missing and touches nothing else. After an alarm the caller must not feed more: the bag is frozen.
    `seed` must be a np.uint64: a Python int would be taken for an int64, and the sum of both kinds is a float.
    """
    cells = np.empty(BLOCK, np.int64)
    numbers = np.empty(BLOCK)
    number_offsets = np.empty(BLOCK, np.int64)
    number_partitions = np.empty(BLOCK, np.int64)
    from_cell = np.empty(BLOCK, np.int64)
    above_cell = np.empty(BLOCK, np.int64)
    slots = np.empty(BLOCK, np.int64)
    gain = np.empty(BETS)
    i = 0
    while i < values.size:
        if np.isnan(values[i]):
            tally[MISSING] += 1
            i += 1
            continue
        begin = tally[PENDING]
        if begin == 0:
            tally[FIRST_OFFSET] = offsets[i]
            tally[FIRST_PARTITION] = partitions[i]
            tally[FIRST_TIME_US] = times_us[i]
            for edge in range(CELLS):  # the 17th is always 0; assigning the array would look for overlap first
                block_bag[edge] = bag[edge]
        n = min(BLOCK - begin, values.size - i)
        chunk, where, at = values[i : i + n], partitions[i : i + n], offsets[i : i + n]
        if _nan_count(chunk):  # only then is it worth copying what is not NaN
            n = 0
            while i < values.size and begin + n < BLOCK:
                if np.isnan(values[i]):
                    tally[MISSING] += 1
                else:
                    numbers[n], number_partitions[n], number_offsets[n] = values[i], partitions[i], offsets[i]
                    n += 1
                i += 1
            chunk, where, at = numbers[:n], number_partitions[:n], number_offsets[:n]
        else:
            i += n
        total = bag[0]
        find_cells(chunk, edges, cells[:n])
        _grow_bag(cells[:n], bag, from_cell, above_cell)
        _find_slots(seed, where, at, total, from_cell, above_cell, slots[:n])
        kept = block[begin:]
        for j in range(n):
            kept[j] = chunk[j]
            grid[np.uint64(slots[j])] += 1
        tally[SEEN] += n
        tally[PENDING] = begin + n
        if begin + n == BLOCK:
            tally[PENDING] = 0
            e_value = _settle(grid, gain, log_f, temper, tally, wealth, best, starts, start_bags, block_bag)
            if e_value >= alarm_at:
                tally[ALARMED] = 1
                return i - 1
    return -1
