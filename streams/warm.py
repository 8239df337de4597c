"""Compile every kernel once, so that no first event waits for a compiler.

Compiled code is kept beside the kernels (or in `NUMBA_CACHE_DIR`); after that, warming is loading.
"""

import numpy as np

from features.history import History
from features.lineage import version_ids
from monitors import drift, leakage
from streams.transport.packed import walk


def warm() -> None:
    """Call each kernel with the types that the pipeline uses."""
    one = np.array([1], np.int64)
    version_ids(one.astype(np.uint64), one.astype(np.uint64), one, one, one)
    history = History()
    history.slices(one, one, one)
    history.prune(0)
    leakage.warm_up()
    drift.warm_up()
    walk(np.frombuffer(b"", np.uint8), 0)


if __name__ == "__main__":
    warm()
