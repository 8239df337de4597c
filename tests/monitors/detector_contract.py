"""What every drift detector owes, whatever it is made of.

A detector is built from a reference and the number of its life, then fed values. The laws are plain functions that
raise AssertionError, so that the controls (one detector that never alarms, one that always does) can show that the laws
are able to fail.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Float64]

#: What a law's own chance of blaming an innocent detector may be.
LAW_ERROR = 1e-3


class Detector(Protocol):
    def observe(self, values: Float64, offsets: Int64, partition: int) -> object | None: ...

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]: ...

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None: ...


Build = Callable[[Float64, int], Detector]


class NeverAlarm:
    """Control: keeps every promise about false alarms and is of no use."""

    def observe(self, values: Float64, offsets: Int64, partition: int) -> object | None:
        return None

    def snapshot(self) -> Mapping[str, npt.NDArray[np.generic]]:
        return {}

    def restore(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        pass


class AlwaysAlarm(NeverAlarm):
    """Control: misses nothing and is of no use either."""

    def observe(self, values: Float64, offsets: Int64, partition: int) -> object | None:
        return object() if values.size else None


def keeps_its_rate(build: Build, rate: float, draw: Draw, *, lives: int, rows: int, events: int) -> int:
    """No more lives with a false alarm than the stated rate explains (exact binomial); answers with their number."""
    rng = np.random.default_rng(20_260_401)
    offsets = np.arange(events)
    alarms = 0
    for life in range(lives):
        stream = draw(rng, rows + events)
        alarms += build(stream[:rows], life).observe(stream[rows:], offsets, 0) is not None
    assert binom.sf(alarms - 1, lives, rate) > LAW_ERROR, f"{alarms} of {lives} lives at a stated rate of {rate}"
    return alarms


def finds_a_shift(build: Build, sigma: float, delay_max: int, *, rows: int, stable: int, lives: int) -> float:
    """After `stable` values the mean moves by `sigma`; the median life alarms within `delay_max`. The median delay."""
    rng = np.random.default_rng(7)
    delays = []
    for life in range(lives):
        detector = build(rng.normal(size=rows), life)
        stream = rng.normal(size=stable + 4 * delay_max) + sigma * (np.arange(stable + 4 * delay_max) >= stable)
        at = first_alarm(detector, stream)
        delays.append(at - stable + 1 if at >= stable else np.inf)
    assert np.median(delays) <= delay_max, f"median delay {np.median(delays)} for {sigma} sigma, allowed {delay_max}"
    return float(np.median(delays))


def first_alarm(detector: Detector, stream: Float64) -> float:
    """Index of the value that raised the alarm, by feeding one at a time; infinity without."""
    offsets = np.arange(stream.size)
    for i in range(stream.size):
        if detector.observe(stream[i : i + 1], offsets[i : i + 1], 0) is not None:
            return i
    return np.inf


def survives_a_restore(build: Build, reference: Float64, stream: Float64, at: int) -> None:
    """A detector restored in mid-stream from a snapshot ends exactly where one that was never stopped does."""
    offsets = np.arange(stream.size)
    whole, first, second = build(reference, 0), build(reference, 0), build(reference[:0], 0)
    expected = whole.observe(stream, offsets, 0)
    found = first.observe(stream[:at], offsets[:at], 0)
    second.restore(first.snapshot())
    found = found or second.observe(stream[at:], offsets[at:], 0)
    assert repr(found) == repr(expected)
    is_same_state(whole, second)


def ignores_batches(build: Build, reference: Float64, stream: Float64, cuts: list[int]) -> None:
    """However a stream is cut into calls, the same value raises the alarm and the same state remains."""
    offsets = np.arange(stream.size)
    whole, cut = build(reference, 0), build(reference, 0)
    expected = whole.observe(stream, offsets, 0)
    borders = [0, *sorted(cuts), stream.size]
    parts = [cut.observe(stream[a:b], offsets[a:b], 0) for a, b in pairwise(borders)]
    assert [repr(part) for part in parts if part is not None] == ([] if expected is None else [repr(expected)])
    is_same_state(whole, cut)


def stays_small(build: Build, bytes_max: int) -> int:
    """State does not grow with the stream; answers with its size."""
    rng = np.random.default_rng(5)
    sizes = []
    for events in (0, 1_000, 200_000):
        detector = build(rng.normal(size=500), 0)
        detector.observe(rng.normal(size=events), np.arange(events), 0)
        sizes.append(sum(array.nbytes for array in detector.snapshot().values()))
    assert sizes == sizes[:1] * 3
    assert sizes[0] <= bytes_max
    return sizes[0]


def lets_nothing_pass_for_news(build: Build) -> None:
    """Empty batches and NaN raise no alarm, even after a reference full of numbers."""
    detector = build(np.arange(500.0), 0)
    assert detector.observe(np.empty(0), np.empty(0, np.int64), 0) is None
    assert detector.observe(np.full(5_000, np.nan), np.arange(5_000), 0) is None


def is_same_state(one: Detector, other: Detector) -> None:
    a, b = one.snapshot(), other.snapshot()
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
