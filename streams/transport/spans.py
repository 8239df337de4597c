"""Up to where has a partition been worked through?

A fetch covers the offsets [start, end), with or without a record on each of them, and is acknowledged as a whole.
What may be committed is the end of the acknowledged spans that follow one another without a hole. Nothing beyond an
unacknowledged span is ever committed, whatever was acknowledged later, and gaps of compaction need no bookkeeping.
"""

from collections import deque
from collections.abc import Collection, MutableSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar


class Admission(StrEnum):
    """What to do with a fetch that has arrived."""

    NEXT = "next"  # it continues where the last one ended
    JUMP = "jump"  # it does not, and there was no seek: the log was truncated, expired or made anew
    STALE = "stale"  # it was fetched before the last seek, or the partition is no longer ours


class _Key(Protocol):
    def __hash__(self) -> int: ...


Partition = TypeVar("Partition", bound=_Key)


@dataclass(slots=True)
class _Track:
    epoch: int
    next_start: int | None  # None: not known before the first fetch
    settled: int | None  # end of the acknowledged prefix
    spans: deque[tuple[int, int]] = field(default_factory=deque)


class SpanLedger(Generic[Partition]):
    """Open spans of every partition; not thread-safe, one event loop owns it.

    Examples
    --------
    >>> ledger = SpanLedger[int]()
    >>> ledger.seek(0, epoch=1, position=10)
    >>> [ledger.admit(0, epoch=1, start=s, end=e).value for s, e in [(10, 15), (15, 20), (20, 30)]]
    ['next', 'next', 'next']
    >>> acked = {14, 29}                     # by last offset; 15 to 19 is still being worked on
    >>> ledger.settle(0, acked), acked
    (15, {29})
    >>> ledger.settle(0, {19, 29})
    30
    """

    def __init__(self) -> None:
        self._tracks: dict[Partition, _Track] = {}

    def seek(self, partition: Partition, *, epoch: int, position: int | None) -> None:
        """The partition was moved: spans of older epochs no longer count. An epoch already known changes nothing."""
        track = self._tracks.get(partition)
        if track is None or epoch > track.epoch:
            self._tracks[partition] = _Track(epoch, position, position)
        elif track.next_start is None:
            track.next_start = track.settled = position

    def drop(self, partitions: Collection[Partition]) -> None:
        """These partitions are no longer ours."""
        for partition in partitions:
            self._tracks.pop(partition, None)

    def admit(self, partition: Partition, *, epoch: int, start: int, end: int) -> Admission:
        """Open a span for an arriving fetch, unless it is stale."""
        track = self._tracks.get(partition)
        if track is None or epoch < track.epoch:
            return Admission.STALE
        if epoch > track.epoch:
            # A seek whose notice has not arrived yet; the fetch knows better.
            track = self._tracks[partition] = _Track(epoch, None, None)
        if track.next_start is None:
            track.settled = start
        expected, track.next_start = track.next_start, end
        track.spans.append((start, end))
        return Admission.NEXT if expected is None or expected == start else Admission.JUMP

    def settle(self, partition: Partition, acked: MutableSet[int]) -> int | None:
        """End of the acknowledged prefix, None where nothing is known.

        `acked` holds the last offset (end - 1) of acknowledged spans; those consumed by the prefix are taken out.
        """
        track = self._tracks.get(partition)
        if track is None:
            return None
        spans = track.spans
        while spans and spans[0][1] - 1 in acked:
            _, end = spans.popleft()
            acked.discard(end - 1)
            track.settled = end
        return track.settled

    def settled(self, partition: Partition) -> int | None:
        """The last answer of `settle`, or where the partition was sought to."""
        track = self._tracks.get(partition)
        return None if track is None else track.settled

    def open_spans(self, partition: Partition) -> int:
        """How many spans are handed out and not settled."""
        track = self._tracks.get(partition)
        return 0 if track is None else len(track.spans)
