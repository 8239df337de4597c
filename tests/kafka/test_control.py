"""The control stage on Apache Kafka: one controller is stopped for a minute while another takes over."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.broker.admin import TopicSpec, ensure_topics
from streams.transport.watchdog import EXIT_STATUS
from tests.brokers import eventually
from tests.embedded.test_control import World, all_in

pytestmark = pytest.mark.kafka

#: Longer than every lease, session and heartbeat: whoever wakes up has nothing left that is true.
PAUSE_S = float(os.environ.get("TMINUS_PAUSE_S", "60"))


class _Topics:
    """Creates topics as the embedded broker's client does; the control log compacted, as in production."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def create_topics(self, counts: dict[str, int]) -> None:
        compacted = {"cleanup.policy": "compact"}
        specs = [TopicSpec(name, n, compacted if name.endswith(".control") else {}) for name, n in counts.items()]
        ensure_topics(self.bootstrap, specs)


@pytest.fixture
def world(apache_kafka, tmp_path: Path) -> Iterator[World]:
    world = World(_Topics(apache_kafka.bootstrap), tmp_path)  # type: ignore[arg-type]
    yield world
    world.end()


def test_after_a_minute_asleep_all_nodes_follow_the_newer_controller(world: World):
    """It commands nothing any more, and a finding that came meanwhile was acted on by the other."""
    sleeper = world.controller()
    nodes = [world.node("n1"), world.node("n2"), world.node("n3")]
    assert all_in(world, "model")
    before = world.epochs()
    os.kill(sleeper.pid, signal.SIGSTOP)
    slept_from = time.monotonic()
    world.controller()
    assert eventually(lambda: min(world.epochs()) > max(before), within_s=30)
    world.find()
    assert all_in(world, "commanded")
    newer = world.epochs()
    time.sleep(max(0.0, PAUSE_S - (time.monotonic() - slept_from)))
    os.kill(sleeper.pid, signal.SIGCONT)
    assert sleeper.wait(30) in (0, EXIT_STATUS)
    assert world.epochs() == newer
    assert all_in(world, "commanded")
    assert eventually(lambda: all(not n.model("churn", "").is_stale for n in nodes))
    assert [n.refused for n in nodes] == [{}] * 3
