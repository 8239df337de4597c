"""What is the newest value of these features, as this process could read it, and which version is it?

The plainest feature view: every current row of chosen entity types, kept in memory by a thread that reads
the whole `features` topic. What it returns is stamped with version ids, so that a prediction's log is
evidence.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from tminus_client import wire

log = logging.getLogger(__name__)

Scalar = str | int | float | bool | None

#: Rows kept (entity type, entity, group); further entities are counted as left out.
ROWS_MAX = 2_000_000
_BATCH = 500
_POLL_S = 0.2
_RETRY_S = 0.5
_METADATA_S = 5.0


class Read(NamedTuple):
    """Newest values by feature, the version id of each (16 hexadecimal digits), and when they were read."""

    values: dict[str, Scalar]
    stamps: dict[str, str]
    read_time_us: int


class _Row(NamedTuple):
    rank: tuple[int, int]  # (source offset, generation of its writer): the greater is the newer
    values: dict[str, tuple[Scalar, str]]


class Reader(Protocol):
    """The part of `confluent_kafka.Consumer` that a feature view uses."""

    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def consume(self, num_messages: int, timeout: float) -> list[Any]: ...
    def list_topics(self, topic: str, timeout: float) -> Any: ...
    def close(self) -> None: ...


class Rows:
    """Current rows by entity; pure.

    Parameters
    ----------
    entity_types, features
        What is kept; None keeps all.

    Examples
    --------
    >>> rows = Rows(["user"], None)
    >>> key = b'["user","42","users"]'
    >>> plan = b'{"plan":{"value":"pro","id":"00000000000000aa"}}'
    >>> value = b'{"format":1,"offset":7,"generation":1,"values":' + plan + b'}'
    >>> rows.apply(key, value)
    True
    >>> rows.read("user", "42")
    ({'plan': 'pro'}, {'plan': '00000000000000aa'})
    """

    def __init__(self, entity_types: Iterable[str] | None, features: Iterable[str] | None) -> None:
        self.undecodable = 0
        self.left_out = 0
        self._types = None if entity_types is None else frozenset(entity_types)
        self._features = None if features is None else frozenset(features)
        self._entities: dict[tuple[str, str], dict[str, _Row]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def apply(self, key: bytes | None, value: bytes | None) -> bool:
        """Take one record of the `features` topic; False when it changes nothing."""
        try:
            entity_type, entity, group = json.loads(key or b"")
            if self._types is not None and entity_type not in self._types:
                return False
            if value is None:
                return self._expire((entity_type, entity), group)
            return self._keep((entity_type, entity), group, self._row(value))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self.undecodable += 1
            return False

    def read(self, entity_type: str, entity: str) -> tuple[dict[str, Scalar], dict[str, str]]:
        """Values and version ids by feature; both empty for an entity that is not known."""
        values: dict[str, Scalar] = {}
        stamps: dict[str, str] = {}
        # list(): a reader in another thread must not meet a group that is being added.
        for row in list(self._entities.get((entity_type, entity), _NONE).values()):
            for name, (value, version) in row.values.items():
                values[name] = value
                stamps[name] = version
        return values, stamps

    def _row(self, value: bytes) -> _Row:
        found = json.loads(value)
        if found["format"] != wire.FORMAT:
            raise ValueError(f"expected format {wire.FORMAT}, found {found['format']!r}")
        chosen = {
            name: (cell["value"], str(cell["id"]))
            for name, cell in found["values"].items()
            if self._features is None or name in self._features
        }
        return _Row((int(found["offset"]), int(found["generation"])), chosen)

    def _keep(self, entity: tuple[str, str], group: str, row: _Row) -> bool:
        groups = self._entities.get(entity)
        known = None if groups is None else groups.get(group)
        if known is None:
            if self._count >= ROWS_MAX:
                self.left_out += 1
                return False
            self._count += 1
        elif row.rank <= known.rank:
            return False  # never simply the last: a writer that was paused may wake up and write once more
        if groups is None:
            self._entities[entity] = {group: row}  # whole, so that no reader sees it half
        else:
            groups[group] = row
        return True

    def _expire(self, entity: tuple[str, str], group: str) -> bool:
        groups = self._entities.get(entity)
        if groups is None or groups.pop(group, None) is None:
            return False
        self._count -= 1
        if not groups:
            del self._entities[entity]
        return True


_NONE: dict[str, _Row] = {}


class FeatureView:
    """The newest values of chosen features, in memory.

    Parameters
    ----------
    bootstrap, prefix, config, fetch_wait_ms
        As for `Switchboard`.
    entity_types, features
        What is kept; None keeps all.
    consumer
        Used instead of a real one; then no thread is started and `poll` does the work.

    Examples
    --------
    ``view = FeatureView("kafka:9092", ["user"])``; ``view.wait_ready(10)``; ``view.read("user",
    "42").values``.
    """

    def __init__(
        self,
        bootstrap: str = "",
        entity_types: Iterable[str] | None = None,
        features: Iterable[str] | None = None,
        *,
        prefix: str = "tminus.",
        config: Mapping[str, Any] | None = None,
        fetch_wait_ms: int = 5,
        consumer: Reader | None = None,
    ) -> None:
        self.rows = Rows(entity_types, features)
        self._topic = prefix + "features"
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "broker.address.family": "v4",
            **(config or {}),
            "group.id": "tminus-feature-view",  # librdkafka wants a name; no group is ever joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": fetch_wait_ms,
            "fetch.min.bytes": 1,
            "fetch.error.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self._behind: set[int] | None = None  # partitions not yet read to their end; None: not yet known
        self._ready = threading.Event()
        self._closing = threading.Event()
        self._consumer = consumer
        self._thread: threading.Thread | None = None
        if consumer is None:
            self._thread = threading.Thread(target=self._follow, name="tminus-features", daemon=True)
            self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Were all partitions read to their end once?"""
        return self._ready.is_set()

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait until all partitions were read to their end once; False when that takes longer."""
        return self._ready.wait(timeout_s)

    def read(self, entity_type: str, entity: str) -> Read:
        """Newest values, stamps and the time of reading; a memory read, from any thread."""
        values, stamps = self.rows.read(entity_type, entity)
        # The clock is read after the values: what was read had been readable by then.
        return Read(values, stamps, time.time_ns() // 1000)

    def poll(self, timeout_s: float = 0.0) -> int:
        """Take what has arrived, waiting at most `timeout_s` for the first; the number of records taken."""
        assert self._consumer is not None
        if self._behind is None and not self._assign(self._consumer):
            return 0
        # One record at a time while the view is up to date: `consume` would wait to fill its batch.
        wanted = 1 if self._ready.is_set() else _BATCH
        messages = self._consumer.consume(wanted, timeout_s)
        for message in messages:
            self._take(message)
        return len(messages)

    def close(self) -> None:
        """Stop following; what was read stays readable."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "FeatureView":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _assign(self, consumer: Reader) -> bool:
        found = consumer.list_topics(self._topic, _METADATA_S).topics.get(self._topic)
        if found is None or found.error is not None or not found.partitions:
            return False
        self._behind = set(found.partitions)
        consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in sorted(self._behind)])
        return True

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is None:
            self.rows.apply(message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF and self._behind is not None:
            self._behind.discard(message.partition())
            if not self._behind:
                self._ready.set()

    def _follow(self) -> None:
        """The thread: whatever happens, begin again."""
        while not self._closing.is_set():
            try:
                self._behind = None
                self._consumer = Consumer(self._settings)
                while not self._closing.is_set():
                    if not self.poll(_POLL_S) and self._behind is None:
                        self._closing.wait(_RETRY_S)  # the topic does not exist yet
            except KafkaException:
                self._closing.wait(_RETRY_S)  # the broker is away
            except Exception:  # ours: a serving node goes on with what it has, and tries again
                log.exception("following the features failed; trying again")
                self._closing.wait(_RETRY_S)
            finally:
                if self._consumer is not None:
                    with contextlib.suppress(KafkaException, RuntimeError):
                        self._consumer.close()
