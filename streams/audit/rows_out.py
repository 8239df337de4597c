"""Verdicts and corrected values row by row, put back into the order of TRAIN."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams.audit.store import FLUSH_BYTES, Store

_RANGE_ROWS = 65_536
_RANGES_MAX = 256


class Results:
    """What is known of every row of TRAIN: ``row``, and per feature i five columns.

    ``v<i>`` verdict, ``r<i>`` reason, ``l<i>`` lead, ``c<i>`` corrected value, ``k<i>`` whether that is known.

    Parameters
    ----------
    rows
        Of TRAIN; 0: nobody wants to know row by row.
    folder
        Where they wait on disk; None: in memory.
    """

    def __init__(self, rows: int, folder: Path | None, flush_bytes: int = FLUSH_BYTES) -> None:
        self._rows = rows
        self._size = max(_RANGE_ROWS, -(-rows // _RANGES_MAX)) if folder is not None else max(rows, 1)
        self._store = Store(max(1, -(-rows // self._size)), folder, "results", flush_bytes=flush_bytes)

    @property
    def is_wanted(self) -> bool:
        """Whether rows are kept at all."""
        return self._rows > 0

    def put(self, found: dict[str, pa.Array]) -> None:
        """Keep the rows of one bucket."""
        if not self.is_wanted:
            return
        batch = pa.RecordBatch.from_arrays(list(found.values()), names=list(found))
        self._store.put(batch, batch.column(0).to_numpy() // self._size)

    def ranges(self) -> Iterator[pa.Table]:
        """All rows in the order of TRAIN, a range at a time; may be asked again."""
        for k in range(self._store.buckets):
            table = self._store.look(k)
            yield table.take(pa.array(np.argsort(table.column("row").to_numpy(), kind="stable")))
