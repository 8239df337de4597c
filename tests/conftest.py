"""Brokers for tests, and when the tests on Apache Kafka run.

Tests marked `kafka` run with `CI=true`, with `KAFKA_BOOTSTRAP` set, or when `-m` asks for them; a plain `pytest`
leaves them out, so that it needs neither Java nor network. Once they run, a missing broker is an error.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from streams.broker.apache import ApacheKafka
from streams.broker.embedded import EmbeddedBroker

# A first call compiles kernels, and the machine may be busy: time per example says nothing here.
settings.register_profile("tminus", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=2_000, stateful_step_count=60)
settings.load_profile(os.environ.get("TMINUS_HYPOTHESIS", "tminus"))


@dataclass(frozen=True)
class ForeignKafka:
    """A broker somebody else runs: tests may use it and declare topics, and neither stop nor kill it."""

    bootstrap: str


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = os.environ.get("CI") == "true" or os.environ.get("KAFKA_BOOTSTRAP") or "kafka" in config.option.markexpr
    if not wanted:
        kafka = [item for item in items if item.get_closest_marker("kafka")]
        config.hook.pytest_deselected(items=kafka)
        items[:] = [item for item in items if not item.get_closest_marker("kafka")]


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """One embedded broker for the whole run: take topics by `tests.brokers.fresh`, and undo every fault."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka | ForeignKafka]:
    """One Apache Kafka for the whole run: `KAFKA_BOOTSTRAP` if set, else started from Maven's jars."""
    foreign = os.environ.get("KAFKA_BOOTSTRAP")
    if foreign:
        yield ForeignKafka(foreign)
        return
    with ApacheKafka() as kafka:
        yield kafka
