"""The conformal martingale, written from the formulas: lists, fractions and one number per (bet, start).

Imports nothing of ours. Slow on purpose: every p-value counts the whole bag again, and the start-time mixture is kept
start by start instead of as a recursion.
"""

import math
from bisect import bisect_right
from fractions import Fraction

MASK = 2**64 - 1


def scramble(x: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def uniform(seed: int, partition: int, offset: int) -> Fraction:
    """The random part of the p-value at (partition, offset), in [0, 1)."""
    golden = 0x9E3779B97F4A7C15
    stream = scramble(scramble((seed + golden) & MASK) ^ ((partition + golden) & MASK))
    return Fraction(scramble((stream + offset * golden) & MASK) >> 11, 2**53)


def normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def normal_quantile(p: float) -> float:
    """Bisection: no approximation to trust."""
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if normal_cdf(middle) < p else (low, middle)
    return low


def log_bet(tilt: float, slot: int) -> float:
    """ln of the mean of exp(tilt z - tilt²/2) over the normal scores z of the slot-th 64th of [0, 1]."""
    low = 0.0 if slot == 0 else normal_cdf(normal_quantile(slot / 64) - tilt)
    high = 1.0 if slot == 63 else normal_cdf(normal_quantile((slot + 1) / 64) - tilt)
    return math.log(64 * (high - low))


STEP = (2.0 / 0.06) ** (1 / 11)
TILTS = [sign * 0.06 * STEP**i for sign in (-1, 1) for i in range(12)]
LOG_BETS = [[log_bet(tilt, slot) for slot in range(64)] for tilt in TILTS]


def log_sum_exp(terms: list[float]) -> float:
    top = max(terms)
    return top + math.log(sum(math.exp(term - top) for term in terms))


class MartingaleTwin:
    """One feature; `counted` are the reference values in the bag, `edges` the borders of the cells."""

    def __init__(self, edges: list[float], counted: list[float], *, alpha: float, temper: float, seed: int) -> None:
        self.edges, self.alpha, self.temper, self.seed = edges, alpha, temper, seed
        self.bag = [bisect_right(edges, value) for value in counted]
        self.slots: list[int] = []  # of the block that is being filled
        self.money: dict[tuple[int, int], float] = {}  # (bet, start) -> ln of what was put there and what became of it
        self.checks = self.missing = 0
        self.log_e = -math.inf
        self.has_alarmed = False

    def observe(self, value: float, partition: int, offset: int) -> None:
        if self.has_alarmed:
            return
        if math.isnan(value):
            self.missing += 1
            return
        cell = bisect_right(self.edges, value)
        self.bag.append(cell)
        lower = sum(1 for other in self.bag if other < cell)
        own = self.bag.count(cell)
        p_value = (lower + uniform(self.seed, partition, offset) * own) / len(self.bag)
        self.slots.append(int(64 * p_value))
        if len(self.slots) == 100:
            self.check()

    def check(self) -> None:
        self.checks += 1
        t = self.checks
        weight = 1 / math.log2(t + 1) - 1 / math.log2(t + 2)
        for bet, log_f in enumerate(LOG_BETS):
            self.money[bet, t] = math.log(weight)
            gain = self.temper * math.fsum(log_f[slot] for slot in self.slots)
            for start in range(1, t + 1):
                self.money[bet, start] += gain
        self.slots = []
        self.log_e = log_sum_exp(list(self.money.values())) - math.log(len(TILTS))
        self.has_alarmed = self.log_e >= -math.log(self.alpha)

    def best_money(self, start: int) -> float:
        """The most that any bet made of the start at block `start` = 1, 2, ..."""
        return max(self.money[bet, start] for bet in range(len(TILTS)))

    def bets_in_order(self) -> list[int]:
        """From the bet on the greatest fall to that on the greatest rise."""
        return sorted(range(len(TILTS)), key=TILTS.__getitem__)
