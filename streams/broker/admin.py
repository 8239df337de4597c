"""Which topics are there, how far do they reach, and does any broker answer at all?

Everything here asks a broker through confluent-kafka's admin client and returns plain values. Topics are declared by
`ensure_topics` before any worker starts: a worker that meets a missing topic would drop it from its
subscription with a log line and never pick it up again, and a broker that creates topics by itself guesses the
partitions.

`settings` everywhere are further librdkafka client settings (security, mostly); they win over ours.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from streams.broker.embedded import EmbeddedBroker

Settings = Mapping[str, str | int | float | bool]

_REQUEST_S = 10.0  # one admin request; a healthy broker answers in milliseconds
_VISIBLE_S = 10.0  # how long a created topic may take to appear in metadata with leaders
_LOOK_S = 0.05  # pause between two looks at metadata
_LAST_WORD_S = 0.1  # how long to wait for librdkafka's own explanation of a failure


class BrokerError(RuntimeError):
    """A broker answered, and refused or contradicted what was asked."""


class BrokerUnavailable(ConnectionError):
    """No broker answered at `address`; worth another try later.

    Examples
    --------
    >>> str(BrokerUnavailable("127.0.0.1:9092", waited_s=8.0, why="Connection refused"))
    'expected a Kafka broker at 127.0.0.1:9092, found none within 8.0 s: Connection refused'
    """

    retriable = True

    def __init__(self, address: str, *, waited_s: float, why: str) -> None:
        super().__init__(f"expected a Kafka broker at {address}, found none within {waited_s:.1f} s: {why}")
        self.address = address
        self.waited_s = waited_s
        self.why = why


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is declared: `config` holds Kafka's topic settings by their own names, as text.

    Examples
    --------
    >>> TopicSpec("tminus.written", 4, {"message.timestamp.type": "LogAppendTime"}).partitions
    4
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as a broker knows it; `config` is every setting in force, empty on the embedded broker."""

    partitions: int
    config: Mapping[str, str]


def probe(bootstrap: str, timeout_s: float = 8.0, *, settings: Settings | None = None) -> None:
    """Return as soon as a broker answers at `bootstrap`; raise `BrokerUnavailable` after `timeout_s` seconds.

    A refused connection is tried again until then, so this also waits for a broker that is just starting.
    """
    said: list[str] = []
    _metadata(_client(bootstrap, settings, said), bootstrap, timeout_s, said)


def ensure_topics(
    bootstrap: str,
    specs: Iterable[TopicSpec],
    *,
    settings: Settings | None = None,
    embedded: EmbeddedBroker | None = None,
) -> set[str]:
    """Create what is missing, wait until metadata shows it with leaders, and return the names created.

    Calling it again changes nothing. Settings of topics that exist are left alone (`describe_topics` shows
    them), but another number of partitions is a `BrokerError`: keys would sit elsewhere than everybody thinks.
    The embedded broker cannot be asked for topics over the protocol, so its `EmbeddedBroker` has to be given.
    Raises `BrokerUnavailable` when nobody answers.
    """
    wanted = {spec.name: spec for spec in specs}
    said: list[str] = []
    client = _client(bootstrap, settings, said)
    found = _metadata(client, bootstrap, _REQUEST_S, said)
    missing = {name: spec for name, spec in wanted.items() if name not in found.topics}
    _refuse_other_partitions(wanted.values(), found)
    if not missing:
        return set()
    if embedded is not None:
        embedded.create_topics({name: spec.partitions for name, spec in missing.items()})
    elif _is_embedded(found):
        raise BrokerError(
            f"the broker at {bootstrap} cannot create topics over the protocol (it looks like the embedded "
            f"broker); expected them created by whoever started it, missing: {', '.join(sorted(missing))}"
        )
    else:
        _create(client, missing)
    _wait_visible(client, bootstrap, missing, said)
    return set(missing)


def describe_topics(
    bootstrap: str, topics: Collection[str] | None = None, *, settings: Settings | None = None
) -> dict[str, TopicFacts]:
    """What the broker knows about `topics` (None: all but Kafka's own), by name.

    Topics that do not exist are left out. Raises `BrokerUnavailable` when nobody answers.
    """
    said: list[str] = []
    client = _client(bootstrap, settings, said)
    found = _metadata(client, bootstrap, _REQUEST_S, said)
    names = [t for t in found.topics if not t.startswith("__")] if topics is None else topics
    present = sorted(set(names) & set(found.topics))
    configs: Mapping[str, Mapping[str, str]] = {} if _is_embedded(found) else _configs(client, present)
    return {name: TopicFacts(len(found.topics[name].partitions), configs.get(name, {})) for name in present}


def append_time_topics(bootstrap: str, topics: Collection[str], *, settings: Settings | None = None) -> set[str]:
    """Those of `topics` whose record timestamps are the broker's append time; empty on the embedded broker.

    Only there is a record's timestamp a witness; anywhere else it is what the producer claims.
    """
    facts = describe_topics(bootstrap, topics, settings=settings)
    return {name for name, of in facts.items() if of.config.get("message.timestamp.type") == "LogAppendTime"}


def is_embedded(bootstrap: str, *, settings: Settings | None = None) -> bool:
    """Whether the broker at `bootstrap` is the embedded one; raises `BrokerUnavailable` when nobody answers."""
    said: list[str] = []
    return _is_embedded(_metadata(_client(bootstrap, settings, said), bootstrap, _REQUEST_S, said))


def partition_counts(bootstrap: str, topics: Collection[str], *, settings: Settings | None = None) -> dict[str, int]:
    """Number of partitions of each of `topics`.

    Raises `BrokerError` for a topic that does not exist, `BrokerUnavailable` when nobody answers.
    """
    _, found = _existing(bootstrap, topics, settings)
    return {topic: len(found.topics[topic].partitions) for topic in topics}


def begin_offsets(
    bootstrap: str, topics: Collection[str], *, settings: Settings | None = None
) -> dict[tuple[str, int], int]:
    """Oldest offset still in the log, per (topic, partition), for every partition of `topics`; raises as above."""
    return _offsets(bootstrap, topics, settings, OffsetSpec.earliest())  # type: ignore[no-untyped-call]


def end_offsets(
    bootstrap: str, topics: Collection[str], *, settings: Settings | None = None
) -> dict[tuple[str, int], int]:
    """Next offset to be written, per (topic, partition), for every partition of `topics`; raises as above."""
    return _offsets(bootstrap, topics, settings, OffsetSpec.latest())  # type: ignore[no-untyped-call]


def _existing(
    bootstrap: str, topics: Collection[str], settings: Settings | None
) -> tuple[AdminClient, ClusterMetadata]:
    said: list[str] = []
    client = _client(bootstrap, settings, said)
    found = _metadata(client, bootstrap, _REQUEST_S, said)
    unknown = sorted(set(topics) - set(found.topics))
    if unknown:
        raise BrokerError(f"expected topics that exist, found no {', '.join(unknown)}")
    return client, found


def _offsets(
    bootstrap: str, topics: Collection[str], settings: Settings | None, which: OffsetSpec
) -> dict[tuple[str, int], int]:
    client, found = _existing(bootstrap, topics, settings)
    asked = {TopicPartition(t, p): which for t in topics for p in found.topics[t].partitions}
    if not asked:
        return {}
    answers = client.list_offsets(asked, request_timeout=_REQUEST_S)
    return {(of.topic, of.partition): _result(answer, of.topic).offset for of, answer in answers.items()}


def _client(bootstrap: str, settings: Settings | None, said: list[str]) -> AdminClient:
    # librdkafka gives the reason of a failed connection to error_cb only, and prints it otherwise.
    base: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "error_cb": lambda error: said.append(error.str()),
        "log_level": 2,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 500,
    }
    return AdminClient({**base, **(settings or {})})


def _metadata(client: AdminClient, bootstrap: str, timeout_s: float, said: list[str]) -> ClusterMetadata:
    """All topics; never asks for one by name, which would make some brokers create it."""
    began = time.monotonic()
    try:
        return client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        client.poll(_LAST_WORD_S)
        waited_s = time.monotonic() - began
        why = said[-1] if said else error.args[0].str()
        # The last word is often the summary "all brokers down"; the one before it says why.
        reasons = [word for word in said if "brokers are down" not in word]
        raise BrokerUnavailable(bootstrap, waited_s=waited_s, why=reasons[-1] if reasons else why) from error


def _is_embedded(found: ClusterMetadata) -> bool:
    # The mock cluster names a controller that is none of its brokers; Kafka always names a live one.
    return found.controller_id not in found.brokers


def _refuse_other_partitions(specs: Iterable[TopicSpec], found: ClusterMetadata) -> None:
    for spec in specs:
        if spec.name in found.topics and len(found.topics[spec.name].partitions) != spec.partitions:
            raise BrokerError(
                f"topic {spec.name}: expected {spec.partitions} partitions, "
                f"found {len(found.topics[spec.name].partitions)}"
            )


def _create(client: AdminClient, missing: Mapping[str, TopicSpec]) -> None:
    new = [NewTopic(s.name, num_partitions=s.partitions, config=dict(s.config)) for s in missing.values()]
    answers = client.create_topics(new, operation_timeout=_REQUEST_S, request_timeout=_REQUEST_S)
    for name, answer in answers.items():
        try:
            _result(answer, name)
        except BrokerError as error:
            # Somebody else declared it between our look and our request: the look that follows compares.
            if not _is_code(error, KafkaError.TOPIC_ALREADY_EXISTS):
                raise


def _wait_visible(client: AdminClient, bootstrap: str, specs: Mapping[str, TopicSpec], said: list[str]) -> None:
    until = time.monotonic() + _VISIBLE_S
    while True:
        found = _metadata(client, bootstrap, _REQUEST_S, said)
        leaderless = [name for name in specs if not _has_leaders(found, name)]
        if not leaderless:
            _refuse_other_partitions(specs.values(), found)
            return
        if time.monotonic() > until:
            raise BrokerError(f"topics without leaders {_VISIBLE_S:.0f} s after creation: {', '.join(leaderless)}")
        time.sleep(_LOOK_S)


def _has_leaders(found: ClusterMetadata, name: str) -> bool:
    if name not in found.topics or not found.topics[name].partitions:
        return False
    return all(partition.leader in found.brokers for partition in found.topics[name].partitions.values())


def _configs(client: AdminClient, topics: Iterable[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    if not asked:
        return {}
    answers = client.describe_configs(asked, request_timeout=_REQUEST_S)
    return {
        of.name: {key: e.value for key, e in _result(answer, of.name).items() if e.value is not None}
        for of, answer in answers.items()
    }


def _result(answer: Any, what: str) -> Any:
    try:
        return answer.result(_REQUEST_S)
    except KafkaException as error:
        raise BrokerError(f"{what}: {error.args[0].str()}") from error


def _is_code(error: BrokerError, code: int) -> bool:
    cause = error.__cause__
    return isinstance(cause, KafkaException) and cause.args[0].code() == code
