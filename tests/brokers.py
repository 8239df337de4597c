"""What tests need around a broker: names nobody else uses, and plain producing and reading."""

import itertools
import os
import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, Message, Producer, TopicPartition

_NUMBERS = itertools.count(1)


def fresh(name: str) -> str:
    """A topic (or group) name that no other test of this or another run uses."""
    return f"{name}-{os.getpid()}-{next(_NUMBERS)}-{time.time_ns() % 1_000_000_007:x}"


def produce(
    bootstrap: str,
    topic: str,
    values: Sequence[bytes | None],
    *,
    keys: Sequence[bytes | None] | None = None,
    partition: int = -1,
) -> list[tuple[int, int]]:
    """Send `values` and wait for every acknowledgement; (partition, offset) of each, in order of acknowledgement."""
    acknowledged: list[tuple[int, int]] = []

    def on_delivery(error: object, message: Message) -> None:
        assert error is None, error
        acknowledged.append((message.partition(), message.offset()))

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 5, "partitioner": "murmur2_random", "log_level": 2}
    )
    for at, value in enumerate(values):
        key = keys[at] if keys is not None else None
        producer.produce(topic, value, key, partition, on_delivery=on_delivery)
        producer.poll(0)
    assert producer.flush(30) == 0, "records left unsent after 30 s"
    return acknowledged


def read(bootstrap: str, topic: str, partition: int, count: int, *, start: int = 0) -> list[Message]:
    """The first `count` records of a partition from offset `start`; fails when they do not come within 30 s."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", "log_level": 2})
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        found: list[Message] = []
        until = time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            message = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None, message.error()
                found.append(message)
        assert len(found) == count, f"expected {count} records of {topic}[{partition}], found {len(found)}"
        return found
    finally:
        consumer.close()


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    """Whether `holds()` becomes true within `within_s` seconds; for things another process does."""
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
