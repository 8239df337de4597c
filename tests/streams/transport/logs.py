"""Synthetic partitions: record batches as a broker would store them, with every trap Kafka knows."""

import random
import struct
from dataclasses import dataclass

import google_crc32c
from aiokafka.record.default_records import DefaultRecordBatchBuilder

HEADERS = [("h", b"v"), ("n", None), ("é", b"")]
_HEADER = struct.Struct(">qiibIhiqqqhii")


@dataclass(frozen=True, slots=True)
class Batch:
    """One stored batch: offsets [base, end) and its bytes."""

    base: int
    end: int
    data: bytes


def batch(
    base: int,
    offsets,
    *,
    codec: int = 0,
    last_delta: int | None = None,
    producer: int = -1,
    transactional: bool = False,
    log_append_ms: int | None = None,
    control: int | None = None,
) -> Batch:
    """Build one batch; `control` is 0 for an abort and 1 for a commit marker."""
    sequence = 0 if producer >= 0 else -1
    builder = DefaultRecordBatchBuilder(
        2, 0 if control is not None else codec, transactional, producer, sequence, sequence, 10**7
    )
    for offset in offsets:
        if control is not None:
            key, value = struct.pack(">hh", 0, control), b"\0" * 6
        else:
            key = None if offset % 7 == 0 else b"%d" % offset
            value = None if offset % 11 == 0 else b'{"n":%d}' % offset
        builder.append(offset - base, 1000 + offset, key, value, list(HEADERS) if offset % 3 == 0 else [])
    data = bytearray(builder.build())
    attributes = struct.unpack_from(">h", data, 21)[0]
    attributes |= 0x10 * transactional | 0x30 * (control is not None) | 0x08 * (log_append_ms is not None)
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">h", data, 21, attributes)
    if log_append_ms is not None:
        struct.pack_into(">q", data, 35, log_append_ms)
    if last_delta is not None:
        struct.pack_into(">i", data, 23, last_delta)
    return Batch(base, base + struct.unpack_from(">i", data, 23)[0] + 1, seal(data))


def emptied(base: int, last_delta: int) -> Batch:
    """A batch whose records compaction has all removed; its header stays."""
    data = bytearray(_HEADER.pack(base, 49, 0, 2, 0, 0, last_delta, 1, 1, -1, -1, -1, 0))
    return Batch(base, base + last_delta + 1, seal(data))


def seal(data: bytearray | bytes) -> bytes:
    """The same batch with a CRC that fits."""
    data = bytearray(data)
    struct.pack_into(">I", data, 17, google_crc32c.value(bytes(data[21:])))
    return bytes(data)


#: Compacted, empty, jumped over, aborted, committed, interleaved, append times, all codecs.
LOG = [
    batch(0, range(100), codec=3),
    batch(100, range(101, 200, 2), codec=3, last_delta=99),
    emptied(200, 99),
    batch(1000, range(1000, 1010), codec=3, producer=7, transactional=True),
    batch(1010, range(1010, 1020), codec=3, producer=8, transactional=True),
    batch(1020, [1020], producer=7, transactional=True, control=0),
    batch(1021, [1021], producer=8, transactional=True, control=1),
    batch(1022, range(1022, 1032), codec=3, producer=7, transactional=True),
    batch(1032, [1032], producer=7, transactional=True, control=1),
    batch(1033, range(1033, 1060), codec=3, log_append_ms=1_800_000_000_000),
    batch(1060, range(1060, 1080), codec=1),
    batch(1080, range(1080, 1100), codec=2),
    batch(1100, range(1100, 1130), codec=4),
    batch(1130, range(1130, 1140), codec=0),
    batch(1140, range(1140, 1141), codec=3),
    batch(1141, range(1141, 1151), codec=3, producer=9, transactional=True),
    batch(1151, [1151], producer=9, transactional=True, control=0),
    batch(1152, [1152], producer=3, transactional=True, control=1),
]
END = LOG[-1].end
ABORTED = [(7, 1000, 1020), (9, 1141, 1151)]  # producer, first offset, offset of its marker


def fetched(position: int, size: int) -> bytes:
    """What a broker answers to a fetch at `position`: at least one batch, the last one cut off anywhere."""
    at = next(place for place, stored in enumerate(LOG) if stored.end > position)
    data = LOG[at].data
    for stored in LOG[at + 1 :]:
        if len(data) >= size:
            break
        data += stored.data[: size - len(data)]
    return data


def aborted_from(position: int) -> list[tuple[int, int]]:
    """The abort list a broker sends along with a fetch at `position`."""
    return [(producer, first) for producer, first, marker in ABORTED if marker >= position]


def random_position(rng: random.Random) -> int:
    """A place to start, often one where something begins or ends."""
    places = [0, 99, 100, 150, 250, 300, 1005, 1020, 1021, 1141, 1151, 1152, rng.randrange(END)]
    return rng.choice(places)
