"""What the decoders of all logs share: where a record belongs, and what became of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from features.keys import Placement
from streams.wire.forwarding import Origin, read_origin
from streams.wire.records import DecodeError, Headers, Record, Refusal, Rejected


class Arrived(Protocol):
    """Every row knows when it reached us."""

    ingest_time_us: int


Row = TypeVar("Row", bound=Arrived)


@dataclass(slots=True)
class Foreign:
    """A row whose entity lives on another partition, as it came."""

    entity: str
    home: int
    origin: Origin
    key: bytes | None
    value: bytes
    headers: Headers
    ingest_time_us: int


@dataclass(slots=True)
class Sorted(Generic[Row]):
    """What became of the records of one fetch: every one of them is in exactly one of these."""

    rows: list[tuple[int, Origin, Row]] = field(default_factory=list)  # offset in the consumed log, origin, row
    foreign: list[Foreign] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    empty: int = 0  # tombstones of change logs, markers
    duplicates: int = 0
    markers: list[tuple[int, int, int]] = field(default_factory=list)  # original partition, next, covered until
    newest_origin: dict[int, int] = field(default_factory=dict)  # forwarded rows: highest original offset seen
    together: pa.RecordBatch | None = None  # further rows, in columns already

    def split(self, offset: int) -> tuple["Sorted[Row]", "Sorted[Row]"]:
        """What became of the records below `offset`, and of the others; what has no offset stays with the others."""
        below: Sorted[Row] = Sorted(
            rows=[r for r in self.rows if r[0] < offset],
            foreign=[f for f in self.foreign if f.origin.offset < offset],
            rejected=[r for r in self.rejected if r.offset < offset],
        )
        cut = 0
        if self.together is not None:
            cut = int(np.searchsorted(self.together.column("offset").to_numpy(), offset))
            below.together = self.together.slice(0, cut)
        rest: Sorted[Row] = Sorted(
            rows=self.rows[len(below.rows) :],
            foreign=self.foreign[len(below.foreign) :],
            rejected=self.rejected[len(below.rejected) :],
            empty=self.empty,
            duplicates=self.duplicates,
            markers=self.markers,
            newest_origin=self.newest_origin,
            together=None if self.together is None else self.together.slice(cut),
        )
        return below, rest


class LogDecoder(Generic[Row]):
    """Decodes the records of one log, one by one.

    Parameters
    ----------
    partitions, home
        Size of the entity stage, and the partition group for which rows are wanted; home None: every row is at
        home (files, replay).
    """

    skips_null = False

    def __init__(self, partitions: int, home: int | None) -> None:
        self._home = home
        self._placement = Placement(partitions)

    def read(self, value: bytes, origin: Origin, received_us: int) -> tuple[str, Row]:
        """Entity and row of one value; raises `DecodeError`."""
        raise NotImplementedError

    def sort(
        self,
        records: Iterable[Record],
        *,
        topic: str,
        partition: int,
        received_us: int,
        forwarded_below: dict[int, int] | None = None,
    ) -> Sorted[Row]:
        """Rows of the records of one log, and what became of the others.

        Parameters
        ----------
        received_us
            When the fetch arrived: the ingest time where nothing better is known.
        forwarded_below
            For a log of forwarded rows: the highest original offset already applied, per original partition.
            Rows at or below it are duplicates.
        """
        out: Sorted[Row] = Sorted()
        newest = dict(forwarded_below) if forwarded_below is not None else None
        for record in records:
            try:
                self._one(record, topic, partition, received_us, newest, out)
            except DecodeError as error:
                ingest = record.timestamp_ms * 1000 if record.timestamp_is_append else received_us
                refused = (error.reason, error.detail, record.key, record.value, record.headers, ingest)
                out.rejected.append(Rejected(topic, partition, record.offset, *refused))
        out.newest_origin = newest or {}
        return out

    def _one(
        self,
        record: Record,
        topic: str,
        partition: int,
        received_us: int,
        newest: dict[int, int] | None,
        out: Sorted[Row],
    ) -> None:
        origin = Origin(topic, partition, record.offset, record.timestamp_ms, record.timestamp_is_append)
        if newest is not None:
            origin, marker = read_origin(record)
            if marker is not None:
                out.markers.append(marker)
                out.empty += 1
                return
            if origin.offset <= newest.get(origin.partition, -1):
                out.duplicates += 1
                return
            newest[origin.partition] = origin.offset
        if record.value is None:
            if not self.skips_null:
                raise DecodeError(Refusal.NULL_VALUE, "the value is null")
            out.empty += 1
            return
        entity, row = self.read(record.value, origin, received_us)
        if self._home is not None and newest is None:
            home = int(self._placement.of([entity])[0])
            if home != self._home:
                known = (entity, home, origin, record.key, record.value, record.headers, row.ingest_time_us)
                out.foreign.append(Foreign(*known))
                return
        out.rows.append((record.offset, origin, row))
