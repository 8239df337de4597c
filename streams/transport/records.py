"""What did one fetch of one partition bring, before anybody has parsed a record?

Kafka answers a fetch with whole record batches (message format 2): a header of 61 bytes, then the records, mostly
compressed. Reading the headers is enough to know offsets, counts and times, so a fetch travels to its agent as the
bytes it came in and a list of `Frame`s that say where in them the batches lie. `iter_records` is the slow complete
reader of such a fetch; a compiled decoder may read the same frames faster.

Layout: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from google_crc32c import value as crc32c

# base offset, length, leader epoch, magic, crc, attributes, last offset delta, base and max timestamp,
# producer id, producer epoch, base sequence, record count
_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size
_PREFIX_BYTES = 17  # enough of a header to see length and magic, which stand at the same place in every format
_LENGTH_AT, _MAGIC_AT, _CRC_FROM = 8, 16, 21

_CODEC, _LOG_APPEND, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20


class UnsupportedFormatError(CorruptRecordException):  # type: ignore[misc]
    """The partition holds batches older than message format 2 (Kafka 0.11); its topic needs the stock path."""


class UndecodableBatchError(ValueError):
    """A record batch passed its CRC and is still no batch of records: its producer is broken.

    `first` and `last` are the offsets (inclusive) that could not be read.
    """

    def __init__(self, why: str, *, topic: str, partition: int, first: int, last: int) -> None:
        super().__init__(f"{topic}[{partition}] offsets {first} to {last}: {why}")
        self.first, self.last = first, last


@dataclass(slots=True)
class Frame:
    """Where one record batch lies in a fetch's bytes, and what its header says."""

    pos: int  # first byte of the records, behind the header
    end: int  # one past the last
    attributes: int
    base_offset: int
    base_timestamp_ms: int  # deltas count from here; with attribute 0x40 it is not the first record's time
    max_timestamp_ms: int  # with log_append the append time of every record
    count: int  # records, fewer than offsets where compaction went by
    codec: int  # 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd
    log_append: bool  # the broker's clock stamped it, else the producer's


@dataclass(slots=True)
class Framing:
    """The batches of one fetch and the offset to fetch from next."""

    frames: list[Frame]
    end: int
    count: int  # records in all frames, those below the fetch offset included


class Record(NamedTuple):
    """One record; null and empty are different things for keys, values and header values."""

    offset: int
    timestamp_ms: int
    timestamp_is_append: bool  # broker's append time, else the producer's claim
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(slots=True, eq=False)
class RawFetch:
    """One fetch of one partition: offsets [start, end), raw.

    `start` may lie inside the first batch: records below it were delivered before and are not part of this fetch.
    `end` counts offsets, not records: compacted, aborted and control offsets lie in between, and a fetch of nothing
    else has no batches but still moves on. `count` is an upper bound when `start` lies inside a batch.
    """

    topic: str
    partition: int
    start: int
    end: int
    fetched_us: int  # when it was taken from the consumer, microseconds UTC
    buf: bytes
    batches: list[Frame]
    count: int
    highwater: int = -1  # end of the partition's log as the broker last told, -1 unknown
    epoch: int = 0  # number of the seek this fetch came after; the transport's own


def frame_batches(
    buf: bytes,
    start: int,
    *,
    check_crcs: bool = True,
    aborted: Iterable[tuple[int, int]] = (),
    committed_only: bool = False,
    what: str = "fetch",
) -> Framing:
    """Find the record batches in the bytes of a fetch that began at offset `start`.

    Control batches and, if `committed_only`, batches of `aborted` transactions (pairs of producer id and first
    offset) are left out, and the end still moves over them. A batch cut off at the end of `buf` is ignored: it will
    be fetched again. A batch that fails its CRC ends the fetch in front of it, so that what is good gets delivered;
    standing first it raises `CorruptRecordException`. An older message format raises `UnsupportedFormatError`.

    Examples
    --------
    >>> frame_batches(b"", 7)
    Framing(frames=[], end=7, count=0)
    """
    frames: list[Frame] = []
    end, total, at, size = start, 0, 0, len(buf)
    pending, aborting = sorted(aborted, key=lambda entry: entry[1]), set[int]()
    while size - at >= _PREFIX_BYTES:
        after = at + 12 + int.from_bytes(buf[at + _LENGTH_AT : at + 12], "big", signed=True)
        if after > size:
            break
        fault = _first_fault(buf, at, after, check_crcs)
        if fault:
            if at:
                break
            raise (UnsupportedFormatError if fault == _OLD else CorruptRecordException)(f"{what}: {fault}")
        base, _, _, _, _, attributes, last_delta, base_ms, max_ms, producer, _, _, count = _HEADER.unpack_from(buf, at)
        wanted = count > 0 and not attributes & _CONTROL
        if committed_only and producer >= 0:
            while pending and pending[0][1] <= base:
                aborting.add(pending.pop(0)[0])
            if attributes & _CONTROL:
                if _is_abort_marker(buf[at:after]):
                    aborting.discard(producer)
            elif attributes & _TRANSACTIONAL and producer in aborting:
                wanted = False
        # Fetches are aligned to batches: what ends at or below the fetch offset was delivered before.
        if wanted and base + last_delta >= start:
            frames.append(
                Frame(
                    at + HEADER_BYTES,
                    after,
                    attributes,
                    base,
                    base_ms,
                    max_ms,
                    count,
                    attributes & _CODEC,
                    bool(attributes & _LOG_APPEND),
                )
            )
            total += count
        # Not the last record's offset + 1: compaction may have removed it, and the fetch would never move on.
        end = max(end, base + last_delta + 1)
        at = after
    return Framing(frames, end, total)


def iter_records(fetch: RawFetch) -> Iterator[Record]:
    """Every record of `fetch` from its start on, in offset order, decompressed.

    Raises `UndecodableBatchError` for the batch that cannot be read; what came before has been given.

    Examples
    --------
    >>> list(iter_records(RawFetch("t", 0, 7, 9, 0, b"", [], 0)))     # control records only
    []
    """
    start = fetch.start
    for frame in fetch.batches:
        following = max(start, frame.base_offset)
        try:
            for record in DefaultRecordBatch(fetch.buf[frame.pos - HEADER_BYTES : frame.end]):
                following = record.offset + 1
                if record.offset >= start:
                    yield Record(
                        record.offset,
                        record.timestamp,
                        frame.log_append,
                        record.key,
                        record.value,
                        record.headers,
                    )
        except GeneratorExit:
            raise
        except Exception as error:
            # Codecs, varints and header names each have errors of their own; to the reader they are one thing.
            last = _last_offset(fetch.buf, frame)
            raise UndecodableBatchError(
                repr(error), topic=fetch.topic, partition=fetch.partition, first=following, last=last
            ) from error


_OLD = "expected message format 2, found an older one; leave this topic on the stock path"
_DAMAGED = "expected a record batch, found a damaged one (length, header or CRC)"


def _first_fault(buf: bytes, at: int, after: int, check_crcs: bool) -> str:
    """What is wrong with the batch at `at`, empty if nothing."""
    if after - at < _PREFIX_BYTES:
        return _DAMAGED  # also negative lengths, which would never let us move on
    if buf[at + _MAGIC_AT] != 2:
        return _OLD
    if after - at < HEADER_BYTES:
        return _DAMAGED
    base, _, _, _, crc, _, last_delta, *_, count = _HEADER.unpack_from(buf, at)
    if base < 0 or last_delta < 0 or not 0 <= count <= last_delta + 1:
        return _DAMAGED
    if check_crcs and crc32c(buf[at + _CRC_FROM : after]) != crc:
        return _DAMAGED
    return ""


def _is_abort_marker(batch: bytes) -> bool:
    for record in DefaultRecordBatch(batch):
        return bool(ControlRecord.parse(record.key) == ABORT_MARKER)
    return False


def _last_offset(buf: bytes, frame: Frame) -> int:
    last_delta: int = _HEADER.unpack_from(buf, frame.pos - HEADER_BYTES)[6]
    return frame.base_offset + last_delta
