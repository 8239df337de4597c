"""How do outputs leave, and when were they certainly out?

One idempotent producer per process. What is published is witnessed: after the broker has acknowledged every row of
a publication, a `written` record says when it was sent and when it was acknowledged. A cut of the lake waits until
all of this is out.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams import faults
from streams.clock import now_us
from streams.pipeline.effects import Publication
from streams.wire.feature_rows import encode_rows
from streams.wire.outgoing import DeadLetter, Written, encode
from streams.wire.records import LETTER_BYTES_MAX, Headers, Rejected

log = logging.getLogger(__name__)

#: How long a broker may be away before the worker gives up and is restarted.
DELIVERY_TIMEOUT_MS = 120_000
#: What a worker ends with when an output could not be delivered.
EXIT_UNDELIVERED = 71

SETTINGS: dict[str, Any] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 2,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as Java's: other partitioners tear histories apart
    "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
    "queue.buffering.max.messages": 500_000,
    "broker.address.family": "v4",
}


@dataclass(slots=True)
class Outgoing:
    """One record on its way."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int = -1
    headers: Sequence[tuple[str, bytes | None]] = ()


class _Batch:
    """Counts acknowledgements of records sent together; calls back once, from the producer's thread."""

    __slots__ = ("_done", "_failed", "_open")

    def __init__(self, size: int, done: Callable[[], None], failed: Callable[[KafkaError], None]) -> None:
        self._open = size
        self._done = done
        self._failed = failed

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed(error)
            return
        self._open -= 1
        if not self._open:
            self._done()


class Outbox:
    """The one producer of a process.

    Examples
    --------
    ``outbox = Outbox(bootstrap, prefix="tminus.")``, then ``await outbox.send([...])`` and, before a commit,
    ``await outbox.barrier()``.
    """

    def __init__(self, bootstrap: str, *, prefix: str, settings: dict[str, str] | None = None) -> None:
        self.prefix = prefix
        self._producer = Producer({**SETTINGS, **(settings or {}), "bootstrap.servers": bootstrap})
        self._loop = asyncio.get_running_loop()
        self._open: set[asyncio.Future[None]] = set()
        self._running = True
        self._thread = threading.Thread(target=self._poll, name="outbox", daemon=True)
        self._thread.start()

    async def send(self, records: Sequence[Outgoing], then: Callable[[], None] | None = None) -> None:
        """Hand records over; `then` runs in the producer's thread once all are acknowledged."""
        if not records:
            return
        batch = self._batch(len(records), then)
        for record in records:
            await self._produce(record, batch)

    async def publish(self, publication: Publication, *, partition: int, generation: int) -> None:
        """Send current rows of feature groups; when they are acknowledged, write down when that was."""
        sent_us = now_us()
        keys, values = encode_rows(publication.rows, generation)
        batch = self._batch(len(keys), lambda: self._witness(publication, partition, sent_us))
        topic, produce, delivered = self.prefix + "features", self._producer.produce, batch.delivered
        for key, value in zip(keys, values, strict=True):
            try:
                produce(topic, value, key, partition, on_delivery=delivered)
            except (BufferError, KafkaException):
                await self._produce(Outgoing(topic, value, key, partition), batch)

    async def dead_letter(self, rejected: Sequence[Rejected]) -> None:
        """Send refused records, with their coordinates and the reason in headers."""
        await self.send([self._letter(r) for r in rejected])

    async def barrier(self) -> None:
        """Wait until everything handed over so far, and what follows from it, is acknowledged."""
        while self._open:
            await asyncio.gather(*self._open)

    async def close(self) -> None:
        """Wait for the rest and stop."""
        await self.barrier()
        self._running = False
        await self._loop.run_in_executor(None, self._thread.join)

    def _batch(self, size: int, then: Callable[[], None] | None) -> _Batch:
        """What counts the acknowledgements of `size` records, which the barrier waits for."""
        landed = self._loop.create_future()
        self._open.add(landed)
        landed.add_done_callback(self._open.discard)

        def done() -> None:
            if then is not None:
                then()
            self._loop.call_soon_threadsafe(_resolve, landed)

        return _Batch(size, done, self._give_up)

    def _witness(self, publication: Publication, partition: int, sent_us: int) -> None:
        """Called in the producer's thread, after the acknowledgement."""
        faults.hit("outbox.ack.before")
        acked_us = now_us()
        topic, _, source_partition = publication.log.rpartition("/")
        resent_until = min(publication.resent_below - 1, publication.last)
        spans = [
            (publication.first, resent_until, True),
            (max(publication.first, resent_until + 1), publication.last, False),
        ]
        records = [
            encode(Written(topic, int(source_partition), first, last, sent_us, acked_us, resent))
            for first, last, resent in spans
            if first <= last
        ]
        landed: asyncio.Future[None] = self._loop.create_future()
        self._loop.call_soon_threadsafe(self._open.add, landed)
        landed.add_done_callback(self._open.discard)

        def done() -> None:
            self._loop.call_soon_threadsafe(_resolve, landed)

        batch = _Batch(len(records), done, self._give_up)
        faults.hit("outbox.written.before")
        for value in records:
            self._producer.produce(self.prefix + "written", value, None, partition, on_delivery=batch.delivered)

    async def _produce(self, record: Outgoing, batch: _Batch) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    headers=list(record.headers) or None,
                    on_delivery=batch.delivered,
                )
                return
            except BufferError:
                await asyncio.sleep(0.005)  # the queue is full: let the broker catch up
            except KafkaException as error:
                self._give_up(error.args[0])

    def _letter(self, rejected: Rejected) -> Outgoing:
        value = rejected.value or b""
        letter = DeadLetter(
            topic=rejected.topic,
            partition=rejected.partition,
            offset=rejected.offset,
            reason=rejected.reason.value,
            detail=rejected.detail,
            size=len(value),
            digest=xxhash.xxh64_hexdigest(value),
        )
        headers: Headers = [("tminus_letter", encode(letter)), *rejected.headers]
        kept = rejected.value if len(value) <= LETTER_BYTES_MAX else None
        return Outgoing(self.prefix + "dlq", kept, rejected.key, headers=headers)

    def _poll(self) -> None:
        while self._running:
            self._producer.poll(0.1)

    def _give_up(self, error: KafkaError) -> None:
        """The world's fault, past its bound: end the process and let it be restarted from the last commit."""
        log.critical("an output could not be delivered: %s", error)
        os._exit(EXIT_UNDELIVERED)


def _resolve(landed: "asyncio.Future[None]") -> None:
    if not landed.done():
        landed.set_result(None)
