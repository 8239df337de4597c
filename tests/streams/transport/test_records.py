import contextlib
import random
import struct

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.transport import records
from streams.transport.records import RawFetch, Record, UndecodableBatchError, frame_batches, iter_records
from streams.transport.standins import (
    FetchContext,
    RawPartitionRecords,
    RawRecords,
    StockPartitionRecords,
    partition_records,
)
from tests.streams.transport import logs

TP = TopicPartition("t", 3)


def context() -> FetchContext:
    return FetchContext(frozenset({"t"}), lambda: 5)


def fetch_of(*batches: logs.Batch | bytes, start: int = 0, **options) -> RawFetch:
    buf = b"".join(b if isinstance(b, bytes) else b.data for b in batches)
    framing = frame_batches(buf, start, **options)
    return RawFetch("t", 3, start, framing.end, 5, buf, framing.frames, framing.count)


def offsets(fetch: RawFetch) -> list[int]:
    return [record.offset for record in iter_records(fetch)]


def test_records_and_positions_equal_aiokafkas_own_reader():
    """aiokafka's reader is the twin: any start, any size, both isolation levels, and where each fetch goes on."""
    rng, compared = random.Random(3), 0
    for trial in range(400):
        isolation, position = trial % 2, logs.random_position(rng)
        while position < logs.END:
            data = logs.fetched(position, rng.choice([200, 1000, 4000, 100_000]))
            aborted = logs.aborted_from(position) if isolation else None
            stock = StockPartitionRecords(TP, MemoryRecords(data), aborted, position, None, None, True, isolation)
            ours = RawPartitionRecords(context(), TP, data, aborted, position, True, isolation)
            theirs = [
                Record(r.offset, r.timestamp, r.timestamp_type == 1, r.key, r.value, list(r.headers)) for r in stock
            ]
            (fetch,) = ours
            assert list(iter_records(fetch)) == theirs
            assert ours.next_fetch_offset == fetch.end == stock.next_fetch_offset
            compared, position = compared + len(theirs), fetch.end
    assert compared > 50_000


def test_a_fetch_that_starts_inside_a_batch_gives_only_the_rest_of_it():
    """Kafka answers with whole batches; what was delivered before must not come twice."""
    assert offsets(fetch_of(logs.LOG[0], start=97)) == [97, 98, 99]


def test_the_end_lies_behind_what_compaction_removed():
    """The last record is at 197, the batch reaches to 199: ending at 198 would fetch it for ever."""
    fetch = fetch_of(logs.batch(100, range(101, 198, 2), last_delta=99), start=100)
    assert (fetch.end, offsets(fetch)[-1]) == (200, 197)


def test_control_and_empty_batches_give_an_empty_fetch_that_moves_on():
    """Otherwise the commit would stop in front of them."""
    fetch = fetch_of(logs.batch(5, [5], producer=1, transactional=True, control=1), logs.emptied(6, 3), start=5)
    assert (fetch.batches, fetch.count, fetch.end) == ([], 0, 10)


def test_aborted_transactions_show_only_to_who_asks_for_them():
    buf = logs.LOG[3].data + logs.LOG[5].data
    hidden = frame_batches(buf, 1000, aborted=[(7, 1000)], committed_only=True)
    assert (hidden.count, hidden.end) == (0, 1021)
    assert frame_batches(buf, 1000, aborted=[(7, 1000)]).count == 10


def test_a_partial_batch_at_the_end_is_left_for_the_next_fetch():
    for check_crcs in (True, False):
        fetch = fetch_of(logs.LOG[0], logs.LOG[1].data[:90], check_crcs=check_crcs)
        assert (fetch.end, len(fetch.batches)) == (100, 1)


def test_a_damaged_batch_ends_the_fetch_in_front_of_it_and_raises_when_first():
    """What is good is delivered; the damage is reported once, by the fetch that begins with it."""
    damaged = bytearray(logs.LOG[1].data)
    damaged[90] ^= 1
    assert fetch_of(logs.LOG[0], bytes(damaged)).end == 100
    with pytest.raises(CorruptRecordException):
        frame_batches(bytes(damaged), 100)
    assert frame_batches(bytes(damaged), 100, check_crcs=False).end == 200


def test_old_message_formats_are_refused_by_name():
    """A format 0 message is shorter than a format 2 header; skipping it silently would fetch it for ever."""
    old = struct.pack(">qiiBB", 0, 14, 0, 0, 0) + b"\0" * 8
    with pytest.raises(records.UnsupportedFormatError, match="message format 2"):
        frame_batches(old, 0)


def test_a_fetch_of_nothing_new_raises_instead_of_spinning():
    with pytest.raises(CorruptRecordException, match="nothing at or above offset 500"):
        next(RawPartitionRecords(context(), TP, logs.LOG[0].data, None, 500, True, 0))


def test_append_times_are_told_from_producers_claims():
    fetch = fetch_of(logs.LOG[9], start=1033)
    assert fetch.batches[0].log_append
    assert {(r.timestamp_ms, r.timestamp_is_append) for r in iter_records(fetch)} == {(1_800_000_000_000, True)}
    assert not fetch_of(logs.LOG[0]).batches[0].log_append


def test_null_and_empty_stay_apart():
    record = next(r for r in iter_records(fetch_of(logs.LOG[0])) if r.offset == 21)
    assert (record.key, record.headers) == (None, logs.HEADERS)
    assert [r.value for r in iter_records(fetch_of(logs.LOG[0]))][11] is None


@pytest.mark.parametrize("codec", range(5))
def test_every_codec_is_read(codec):
    fetch = fetch_of(logs.batch(0, range(50), codec=codec))
    assert fetch.batches[0].codec == codec
    assert offsets(fetch) == list(range(50))


def test_snappy_is_read_with_and_without_xerial_framing():
    """Java and librdkafka write snappy differently into the same codec number."""
    import cramjam

    plain = logs.batch(0, range(50), codec=0).data
    data = bytearray(plain[:61] + bytes(cramjam.snappy.compress_raw(plain[61:])))
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">h", data, 21, 2)
    assert offsets(fetch_of(logs.seal(data))) == offsets(fetch_of(logs.batch(0, range(50), codec=2)))


def test_an_undecodable_batch_names_its_offsets_after_giving_what_came_before():
    """Its CRC fits, so refetching will not help: the row goes to the dead letters, by offset."""
    broken = bytearray(logs.LOG[14].data)
    broken[-3:] = b"\xff\xff\xff"
    reader = iter_records(fetch_of(logs.LOG[13], logs.seal(broken), start=1130))
    assert [next(reader).offset for _ in range(10)] == list(range(1130, 1140))
    with pytest.raises(UndecodableBatchError) as error:
        next(reader)
    assert (error.value.first, error.value.last) == (1140, 1140)


def test_random_damage_never_gets_past_the_crc():
    """Whole fetches with flipped bytes: a prefix of the truth or an error, never a wrong record or a hang."""
    rng, raised = random.Random(11), 0
    truth = list(iter_records(fetch_of(*logs.LOG[:4])))
    clean = b"".join(stored.data for stored in logs.LOG[:4])
    for _ in range(3000):
        data = bytearray(clean)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            found = list(iter_records(fetch_of(bytes(data))))
        except CorruptRecordException:
            raised += 1
        else:
            # The base offset is the one field Kafka's CRC leaves out (brokers rewrite it); skip what it moved.
            if all(struct.unpack_from(">q", data, at)[0] == base for at, base in _bases(clean)):
                assert found == truth[: len(found)]
    assert raised > 500


def _bases(clean: bytes) -> list[tuple[int, int]]:
    places, at = [], 0
    for stored in logs.LOG[:4]:
        places.append((at, stored.base))
        at += len(stored.data)
    return places


def test_random_bodies_under_a_fitting_crc_are_records_or_one_kind_of_error():
    """A broken producer signs what it broke. The reader may fail in one way only, and always ends."""
    rng, failed = random.Random(12), 0
    for codec in range(5):
        clean = logs.batch(0, range(60), codec=codec).data
        for _ in range(400):
            data = bytearray(clean)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(61, len(data))] = rng.randrange(256)
            try:
                assert len(list(iter_records(fetch_of(logs.seal(data))))) <= 60
            except UndecodableBatchError:
                failed += 1
    assert failed > 200


def test_random_headers_never_hang_the_framing():
    rng = random.Random(13)
    for _ in range(5000):
        data = bytearray(logs.LOG[0].data[:61] + logs.LOG[2].data + bytes(40))
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(CorruptRecordException):
            assert frame_batches(bytes(data), 0, check_crcs=False).end >= 0


def test_only_batch_topics_of_our_own_consumers_get_raw_fetches():
    """The names in aiokafka are replaced for the whole process; everybody else must not notice."""

    def first(tp, deserializer):
        return next(partition_records(tp, RawRecords(logs.LOG[0].data), None, 0, deserializer, None, True, 0))

    assert type(first(TP, context())) is RawFetch
    assert first(TopicPartition("other", 0), context()).offset == 0
    assert first(TP, None).key is None


def test_a_fetch_carries_the_epoch_of_the_last_seek():
    """Read when the fetch is taken, not when it was made: a seek in between is in front of it."""
    ours = context()
    iterator = RawPartitionRecords(ours, TP, logs.LOG[0].data, None, 0, True, 0)
    assert ours.on_seek(TP) == 1
    assert next(iterator).epoch == 1
