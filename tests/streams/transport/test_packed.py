"""Records found by the compiled walk are the records of the complete reader, or it says that it cannot."""

import random

import pytest

from streams.transport.packed import read_packed
from streams.transport.records import UndecodableBatchError, iter_records
from tests.streams.transport import logs
from tests.streams.transport.test_records import fetch_of

NONE, GZIP, LZ4, ZSTD = 0, 1, 3, 4


@pytest.mark.parametrize("codec", [NONE, LZ4, ZSTD])
def test_packed_records_are_those_of_the_complete_reader(codec):
    """Any start, several batches in a fetch, nulls, headers, compaction and append times."""
    stored = [
        logs.batch(0, range(100), codec=codec),
        logs.batch(100, range(101, 200, 2), codec=codec, last_delta=99),
        logs.emptied(200, 99),
        logs.batch(300, range(300, 1500), codec=codec, log_append_ms=1_800_000_000_000),
    ]
    for start in (0, 1, 99, 150, 1499):
        fetch = fetch_of(*(s for s in stored if s.end > start), start=start)
        packed, known = read_packed(fetch), list(iter_records(fetch))
        assert packed is not None
        assert list(packed) == known
        assert packed.offset.tolist() == [r.offset for r in known]
        assert packed.timestamp_ms.tolist() == [r.timestamp_ms for r in known]
        assert packed.is_append.tolist() == [r.timestamp_is_append for r in known]
        assert packed.values == [r.value for r in known]
        assert packed[-1] == known[-1]
        assert packed[:2] == known[:2]


def test_what_unpacks_to_much_more_is_still_read():
    """The first guess at the room is eight times the packed size."""
    fetch = fetch_of(logs.batch(0, [0], codec=LZ4), logs.batch(1, range(1, 30_000), codec=ZSTD))
    packed = read_packed(fetch)
    assert packed is not None
    assert list(packed) == list(iter_records(fetch))


def test_other_codecs_are_left_to_the_complete_reader():
    """They are rare, and their decoders have traps of their own (xerial frames)."""
    assert read_packed(fetch_of(logs.batch(0, range(5), codec=GZIP))) is None


def test_random_bodies_are_read_alike_or_left_to_the_complete_reader():
    """A broken producer signs what it broke: a record must never be read as another one."""
    rng, read = random.Random(12), 0
    for codec in (NONE, LZ4, ZSTD):
        clean = logs.batch(0, range(60), codec=codec).data
        for _ in range(500):
            data = bytearray(clean)
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(61, len(data))] = rng.randrange(256)
            fetch = fetch_of(logs.seal(data))
            packed = read_packed(fetch)
            if packed is None:
                continue
            read += 1
            try:
                assert list(packed) == list(iter_records(fetch))
            except UndecodableBatchError as error:
                pytest.fail(f"the complete reader refuses this: {error}")
    assert read > 30
