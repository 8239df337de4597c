"""How many values a second does the exact drift judge follow?

Run it with `python -m benchmarks.drift`. One thread; `numpy.sum` over the same array is the measure of how fast this
machine reads memory, taken in turns with ours, so that the ratio survives a noisy neighbour. What the figures do not
show: building columns from events, and the Python call per feature and batch, which the small batches make visible.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numba
import numpy as np
import numpy.typing as npt

from monitors.drift import DriftJudge, DriftMonitor, warm_up
from monitors.reference import DriftReference

VALUES = 2_000_000
ROUNDS = 9


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def follow(stream: npt.NDArray[np.float64], batch: int, reference: DriftReference) -> None:
    """One feature, in batches."""
    monitor = DriftMonitor(reference, alpha=1e-6, seed=1)
    offsets = np.arange(stream.size)
    for at in range(0, stream.size, batch):
        part = slice(at, at + batch)
        monitor.observe(stream[part], offsets[part], 0, offsets[part])
    assert not monitor.has_alarmed


def main() -> None:
    """Print one line per batch size, then the price of one check of many features and of a start."""
    begin = time.perf_counter()
    warm_up()
    print(f"warm-up {time.perf_counter() - begin:.2f} s (compiled kernels in the cache or not)")
    print(f"python {sys.version.split()[0]}, numpy {np.__version__}, numba {numba.__version__}, {platform.machine()}")
    rng = np.random.default_rng(1)
    reference = DriftReference.fit(rng.normal(size=2_000))
    stream = rng.normal(size=VALUES)
    for batch in (100, 1_000, 10_000, VALUES):
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(seconds(partial(follow, stream, batch, reference)))
            theirs.append(seconds(lambda: [stream.sum() for _ in range(20)]) / 20)
        rate, peer = VALUES / statistics.median(ours) / 1e6, VALUES / statistics.median(theirs) / 1e6
        worst = VALUES / max(ours) / 1e6
        print(
            f"{VALUES:,} float64, batches of {batch:>9,}: exact path {rate:6.1f} Mval/s (worst {worst:.1f}), "
            f"numpy.sum {peer:,.0f} Mval/s, ratio {rate / peer:.4f}"
        )
    features = tuple(f"f{i}" for i in range(200))
    judge = DriftJudge("bench", features, reference_rows=2_000, alpha=1e-6)
    rows = 12_000
    columns = {name: rng.normal(size=rows) for name in features}
    at = np.arange(rows)
    head = {name: column[:2_000] for name, column in columns.items()}
    fit = seconds(lambda: judge.observe(head, at[:2_000], partition=0, read_time_us=at[:2_000]))
    tail = {name: column[2_000:] for name, column in columns.items()}
    spent = seconds(lambda: judge.observe(tail, at[2_000:], partition=0, read_time_us=at[2_000:]))
    print(
        f"200 features: reference of 2,000 rows {fit * 1e3:.0f} ms, then {spent / 10_000 * 1e6:.2f} µs per prediction"
    )


if __name__ == "__main__":
    main()
