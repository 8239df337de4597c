"""How does aiokafka hand over a fetch without parsing it?

aiokafka's fetcher makes two objects for each partition of a fetch response, by names in its module: `MemoryRecords`
over the bytes and `PartitionRecords`, an iterator over consumer records. Both names are replaced here, for the whole
process, by classes that behave as before for every consumer but ours. Ours is recognised by its `key_deserializer`:
aiokafka carries that object untouched from the consumer to `PartitionRecords`, so a `FetchContext` travels there and
no registry is needed. Two apps in one process, or a stock consumer beside ours, do not meet.

`FetchResult` is left alone: aiokafka compares its type with `is`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.transport.records import RawFetch, frame_batches

StockPartitionRecords = fetcher.PartitionRecords


@dataclass(slots=True)
class FetchContext:
    """What our consumer thread tells its fetches.

    `epochs` counts the seeks of each partition. Fetches are stamped with the count on the very thread that seeks, so
    a fetch from before a seek can be told from one after it, whatever order they reach another thread in.
    """

    topics: frozenset[str]
    now_us: Callable[[], int]
    epochs: dict[TopicPartition, int] = field(default_factory=dict)

    def on_seek(self, tp: TopicPartition) -> int:
        """Begin the next epoch of a partition and return its number; call in the same step as the seek."""
        self.epochs[tp] = epoch = self.epochs.get(tp, 0) + 1
        return epoch


class RawRecords(MemoryRecords):  # type: ignore[misc]
    """aiokafka's `MemoryRecords`, with the bytes it was made from still within reach."""

    __slots__ = ("buf",)

    def __init__(self, buf: bytes) -> None:
        super().__init__(buf)
        self.buf = buf


class RawPartitionRecords:
    """Stands in for aiokafka's `PartitionRecords`: an iterator over exactly one `RawFetch`."""

    def __init__(
        self,
        context: FetchContext,
        tp: TopicPartition,
        buf: bytes,
        aborted: list[tuple[int, int]] | None,
        fetch_offset: int,
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        self._context, self._tp, self._buf, self._aborted = context, tp, buf, aborted or []
        self._check_crcs = check_crcs
        self._committed_only = isolation_level == fetcher.READ_COMMITTED
        self._done = False
        #: aiokafka reads its next position here, before and after the iteration.
        self.next_fetch_offset = fetch_offset

    def __iter__(self) -> Iterator[RawFetch]:
        return self

    def __next__(self) -> RawFetch:
        if self._done:
            raise StopIteration
        self._done = True
        tp, start = self._tp, self.next_fetch_offset
        framing = frame_batches(
            self._buf,
            start,
            check_crcs=self._check_crcs,
            aborted=self._aborted,
            committed_only=self._committed_only,
            what=f"{tp.topic}[{tp.partition}] at offset {start}",
        )
        if framing.end == start:
            # Kafka never sends a fetch that ends below its own offset; accepting one would fetch it for ever.
            raise CorruptRecordException(f"{tp.topic}[{tp.partition}]: nothing at or above offset {start} in its fetch")
        self.next_fetch_offset = framing.end
        return RawFetch(
            topic=tp.topic,
            partition=tp.partition,
            start=start,
            end=framing.end,
            fetched_us=self._context.now_us(),
            buf=self._buf,
            batches=framing.frames,
            count=framing.count,
            epoch=self._context.epochs.get(tp, 0),
        )


def partition_records(
    tp: TopicPartition,
    records: RawRecords,
    aborted_transactions: list[tuple[int, int]] | None,
    fetch_offset: int,
    key_deserializer: Any,
    value_deserializer: Any,
    check_crcs: bool,
    isolation_level: int,
) -> Any:
    """What aiokafka's fetcher calls in place of `PartitionRecords`: ours for batch topics, stock for all others."""
    if isinstance(key_deserializer, FetchContext):
        if tp.topic in key_deserializer.topics:
            return RawPartitionRecords(
                key_deserializer, tp, records.buf, aborted_transactions, fetch_offset, check_crcs, isolation_level
            )
        key_deserializer = None
    return StockPartitionRecords(
        tp,
        records,
        aborted_transactions,
        fetch_offset,
        key_deserializer,
        value_deserializer,
        check_crcs,
        isolation_level,
    )


def install() -> None:
    """Replace the two names in aiokafka's fetcher; calling it again changes nothing."""
    fetcher.MemoryRecords = RawRecords
    fetcher.PartitionRecords = partition_records
