"""Does the entity stage, as real processes on the embedded broker, come to exactly what the oracle says?"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.broker.embedded import EmbeddedBroker
from tests.entity_checks import (
    assert_accounted,
    assert_audit_agrees,
    assert_everything_occurs,
    assert_same_cells,
    truth_of,
)
from tests.rig import Rig
from tests.worlds.generate import World, afterthoughts

pytestmark = pytest.mark.embedded

Begin = Callable[..., Rig]


@pytest.fixture
def begin(embedded_broker: EmbeddedBroker, tmp_path: Path) -> Iterator[Begin]:
    """Make a rig; whatever it started is ended with the test."""
    made: list[Rig] = []

    def one(**options: Any) -> Rig:
        made.append(Rig(embedded_broker.bootstrap, tmp_path, broker=embedded_broker, **options))
        return made[-1]

    yield one
    for rig in made:
        rig.close()


def test_every_cell_is_what_the_oracle_says(begin):
    """One worker, a world with everything in it; then the same topics replayed, with the same outcome."""
    rig = begin()
    rig.start()
    rig.ready()
    rig.send(World(seed=11, rows=8_000, per_second=800).shots())
    rig.settle()
    rig.send(afterthoughts(12, rig.known(), 2_500))
    rig.settle()
    assert rig.stop() == [0], rig.errors()
    truth = truth_of(rig)
    assert_everything_occurs(truth)
    assert_same_cells(rig, truth)
    assert_accounted(rig, truth)
    replayed = rig.replay()
    assert_same_cells(rig, truth, replayed)
    met = assert_audit_agrees(rig)
    assert met["LEAK", "LEAK"] >= 100 <= met["PASS", "PASS"], met
    assert rig.differences(replayed) == {"features": (0, 0), "verdicts": (0, 0), "dlq": (0, 0), "late": (0, 0)}


def test_five_times_kill_9_leaves_no_trace_in_what_is_computed(begin):
    """Two workers, killed at moments of a seed; a replay and the oracle find the same, each offset is counted once."""
    chance = random.Random(21)
    rig = begin(horizon="2s")
    for _ in range(2):
        rig.start()
    rows = 20_000
    sending = rig.sending(World(seed=22, rows=rows, per_second=1_400, users=400).shots())
    for number in range(5):
        target = int(rows * (number + 1) / 7) + chance.randrange(500)
        rig.until(lambda target=target: rig.applied() > target, f"{target} rows", within_s=90)
        rig.kill(chance.choice(rig.alive()))
        while len(rig.alive()) < 2:
            rig.start()
    sending.join()
    rig.settle(within_s=120)
    assert set(rig.stop()) == {0}, rig.errors()
    truth = truth_of(rig)
    assert_same_cells(rig, truth)
    assert_accounted(rig, truth)
    assert sum(classes["duplicate"] for classes in truth.classes.values()), "nothing was forwarded twice"
    assert rig.differences(rig.replay()) == {"features": (0, 0), "verdicts": (0, 0), "dlq": (0, 0), "late": (0, 0)}
