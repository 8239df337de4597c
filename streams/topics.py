"""Which topics are there, how are they keyed and kept, and what do they carry?

`TABLE` is the truth: what is created, compared and documented is derived from it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from features.definitions import Definitions, Source
from streams.broker.admin import TopicSpec

DAY_MS = 86_400_000
#: As long as raw rows are kept in the lake, so that what was read then can still be explained.
RAW_DAYS = 90


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of topic.

    `partitions`: "entity" is N of the entity stage, "one" keeps a total order. `is_planned`: named by the contracts,
    written by nobody yet, so not created.
    """

    name: str
    key: str
    partitions: Literal["entity", "one"]
    policy: Literal["delete", "compact", "compact,delete"]
    content: str
    retention_ms: int = -1
    append_time: bool = False
    is_planned: bool = False

    @property
    def config(self) -> dict[str, str]:
        """Kafka's topic settings."""
        config: dict[str, str] = {"cleanup.policy": self.policy}
        if self.retention_ms >= 0:
            config["retention.ms"] = str(self.retention_ms)
        if self.append_time:
            config["message.timestamp.type"] = "LogAppendTime"
        return config


BY = "by-<type>.<source>"
_RAW_MS, _WEEK_MS = RAW_DAYS * DAY_MS, 7 * DAY_MS
TABLE = (
    Row(BY, "entity", "entity", "delete", "forwarded rows of a source, with original coordinates", _WEEK_MS),
    Row("features", "[type, entity, group]", "entity", "compact", "the whole current row of a feature group", -1, True),
    Row("written", "none, by partition", "entity", "delete", "which versions were sent and acknowledged when", _RAW_MS),
    Row("ticks", "none, by partition", "entity", "delete", "time and idleness", DAY_MS, is_planned=True),
    Row(
        "reads", "entity", "entity", "delete", "what one entity type judges of a prediction", _WEEK_MS, is_planned=True
    ),
    Row("scored", "model", "entity", "delete", "judged predictions, matured labels, couplings (Arrow)", _WEEK_MS),
    Row("verdicts", "model/feature", "entity", "delete", "every LEAK", _RAW_MS, True),
    Row("findings", "model", "one", "delete", "what a judge is sure enough of to act on", _RAW_MS, True),
    Row("alerts", "fingerprint", "one", "compact,delete", "the state of every alert", _RAW_MS, True),
    Row("control", "[scope, incarnation, offset]", "one", "compact", "signed commands: mode, route, lease"),
    Row("receipts", "node", "one", "delete", "which command is in force where, since when", _RAW_MS),
    Row("heartbeat", "none", "one", "delete", "signed proof of life of the controller, each second", DAY_MS // 24),
    Row("dlq", "key of the original", "entity", "delete", "refused records, with coordinates and reason", _RAW_MS),
)


def by_topic(prefix: str, source: Source) -> str:
    """Where rows of `source` travel whose entity lives on another partition.

    Examples
    --------
    >>> by_topic("tminus.", Source(name="users", topic="cdc.users", entity_type="user"))
    'tminus.by-user.users'
    """
    return f"{prefix}by-{source.entity_type}.{source.name}"


def topic_specs(definitions: Definitions, *, inputs: bool = True) -> list[TopicSpec]:
    """Every topic of an installation: first the inputs, with N partitions where we create them, then our own."""
    run = definitions.run
    specs = [TopicSpec(s.topic, run.partitions, {}) for s in definitions.sources.values()] if inputs else []
    for row in TABLE:
        if row.is_planned:
            continue
        partitions = run.partitions if row.partitions == "entity" else 1
        specs += [TopicSpec(name, partitions, row.config) for name in _names(definitions, row)]
    return specs


def input_topics(definitions: Definitions) -> set[str]:
    """Topics that belong to the user: created when missing, never compared."""
    return {s.topic for s in definitions.sources.values()}


def _names(definitions: Definitions, row: Row) -> Iterable[str]:
    if row.name != BY:
        return [definitions.run.prefix + row.name]
    return [by_topic(definitions.run.prefix, s) for s in definitions.sources.values()]


Facts = Mapping[str, tuple[int, Mapping[str, str]]]


def differences(specs: Iterable[TopicSpec], found: Facts, inputs: Collection[str] = ()) -> list[str]:
    """How a broker differs from `specs`, one sentence each; inputs need only exist.

    Parameters
    ----------
    found
        By topic name: partitions, and the settings in force (none where the broker tells none).

    Examples
    --------
    >>> differences([TopicSpec("a", 4, {}), TopicSpec("b", 1, {})], {"a": (3, {})})
    ['a: expected 4 partitions, found 3', 'b: missing']
    """
    out = []
    for spec in specs:
        if spec.name not in found:
            out.append(f"{spec.name}: missing")
            continue
        partitions, config = found[spec.name]
        if spec.name in inputs:
            continue
        if partitions != spec.partitions:
            out.append(f"{spec.name}: expected {spec.partitions} partitions, found {partitions}")
        for key, wanted in spec.config.items():
            if config and _words(config.get(key, "")) != _words(wanted):
                out.append(f"{spec.name}: expected {key}={wanted}, found {config.get(key, 'nothing')}")
    return out


def _words(text: str) -> set[str]:
    """Brokers give lists of policies in an order of their own."""
    return set(text.split(","))
