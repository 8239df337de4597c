"""Where do rows wait until all rows that belong together have been seen?

A store keeps record batches apart by bucket: in memory while they are few, else in one Arrow IPC file per bucket, so
that only one bucket at a time needs memory. Rows of a bucket come back in the order in which they were put.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

#: Bytes of all buckets together that wait for each other before they are written.
FLUSH_BYTES = 64 * 2**20


class Store:
    """Record batches of one schema by bucket.

    Parameters
    ----------
    buckets
        How many there are; 1 with `folder` None keeps everything in memory.
    folder
        Where the files of the buckets lie; None: in memory.
    flush_bytes
        How much may wait in memory before all of it is written.

    Examples
    --------
    >>> store = Store(2, None)
    >>> store.put(pa.record_batch({"x": [1, 2, 3]}), np.array([1, 0, 1]))
    >>> store.take(1).to_pydict(), store.take(0).to_pydict()
    ({'x': [1, 3]}, {'x': [2]})
    """

    def __init__(
        self, buckets: int, folder: Path | None, name: str = "rows", *, flush_bytes: int = FLUSH_BYTES
    ) -> None:
        self.buckets = buckets
        self.rows = 0
        self.schema: pa.Schema | None = None
        self._folder, self._name = folder, name
        self._held: list[list[pa.RecordBatch]] = [[] for _ in range(buckets)]
        self._waiting, self._flush_bytes = 0, flush_bytes
        self._open: dict[int, tuple[pa.OSFile, pa.ipc.RecordBatchStreamWriter]] = {}

    def put(self, batch: pa.RecordBatch, bucket: npt.NDArray[np.signedinteger] | None = None) -> None:
        """Keep rows; `bucket` is int[n], None: all in bucket 0."""
        self.schema = batch.schema
        self.rows += batch.num_rows
        if bucket is None or self.buckets == 1:
            self._keep(0, batch)
            self._make_room(batch.nbytes)
            return
        order = np.argsort(bucket, kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=self.buckets))
        sorted_batch = batch.take(pa.array(order))
        start = 0
        for k, end in enumerate(ends.tolist()):
            if end > start:
                self._keep(k, sorted_batch.slice(start, end - start))
            start = end
        # Slices keep the whole batch alive, so they are written together or not at all.
        self._make_room(batch.nbytes)

    def take(self, bucket: int) -> pa.Table:
        """The rows of one bucket, in order of arrival; they are forgotten in memory, files stay until `close`."""
        if self.schema is None:
            raise LookupError("expected a store that has seen a batch, found an empty one")
        held = self._held[bucket]
        if self._folder is None:
            self._held[bucket] = []
            return pa.Table.from_batches(held, self.schema)
        self._flush(bucket)
        if bucket not in self._open:
            return pa.Table.from_batches([], self.schema)
        self._shut(bucket)
        with pa.OSFile(str(self._path(bucket))) as file, pa.ipc.open_stream(file) as reader:
            table = reader.read_all()
        self._path(bucket).unlink()
        return table

    def look(self, bucket: int) -> pa.Table:
        """As `take`, and the rows stay for another reading."""
        table = self.take(bucket)
        for batch in table.to_batches():
            self._keep(bucket, batch)
        if self._folder is not None:
            self._flush(bucket)
        return table

    def close(self) -> None:
        """Close what is open; the folder belongs to the caller."""
        for bucket in list(self._open):
            self._shut(bucket)

    def _shut(self, bucket: int) -> None:
        file, writer = self._open.pop(bucket)
        writer.close()
        file.close()

    def _path(self, bucket: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{self._name}-{bucket}.arrow"

    def _keep(self, bucket: int, batch: pa.RecordBatch) -> None:
        self._held[bucket].append(batch)

    def _make_room(self, nbytes: int) -> None:
        self._waiting += nbytes
        if self._folder is not None and self._waiting >= self._flush_bytes:
            for bucket in range(self.buckets):
                self._flush(bucket)
            self._waiting = 0

    def _flush(self, bucket: int) -> None:
        held, self._held[bucket] = self._held[bucket], []
        if not held:
            return
        if bucket not in self._open:
            file = pa.OSFile(str(self._path(bucket)), "wb")
            self._open[bucket] = (file, pa.ipc.new_stream(file, held[0].schema))
        writer = self._open[bucket][1]
        for batch in pa.Table.from_batches(held).combine_chunks().to_batches():
            writer.write_batch(batch)


def by_hash(buckets: int) -> Callable[[UInt64], Int64]:
    """Which bucket each 64-bit hash belongs to: int64[n] from the high bits, so that low bits stay for tables.

    Examples
    --------
    >>> by_hash(4)(np.array([0, 2**63, 2**64 - 1], np.uint64)).tolist()
    [0, 2, 3]
    """

    def bucket(hashes: UInt64) -> Int64:
        return ((hashes >> np.uint64(32)) * np.uint64(buckets) >> np.uint64(32)).astype(np.int64)

    return bucket
