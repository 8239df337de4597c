"""The entity stage on Apache Kafka: equal to the oracle, and after twenty deaths to an uninterrupted replay."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from streams.lake.manifest import decode
from streams.lake.reader import LakeReader
from tests.entity_checks import (
    assert_accounted,
    assert_audit_agrees,
    assert_everything_occurs,
    assert_same_cells,
    truth_of,
)
from tests.rig import Rig
from tests.worlds.generate import Shot, World, afterthoughts

pytestmark = pytest.mark.kafka

SAME = {"features": (0, 0), "verdicts": (0, 0), "dlq": (0, 0), "late": (0, 0)}
SEED = int(os.environ.get("TMINUS_SEED", "4"))
#: Workers killed from outside; deaths at each of the named points come on top.
KILLS = 12
POINTS = (
    "lake.segment.rename.before", "lake.segment.rename.after", "lake.snapshot.before", "lake.snapshot.after",
    "lake.commit.link.before", "lake.commit.link.after", "outbox.ack.before", "outbox.written.before",
)  # fmt: skip


@pytest.fixture
def begin(apache_kafka: Any, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Make a rig; whatever it started is ended with the test."""
    made: list[Rig] = []

    def one(**options: Any) -> Rig:
        made.append(Rig(apache_kafka.bootstrap, tmp_path, **options))
        return made[-1]

    yield one
    for rig in made:
        rig.close()


def test_every_cell_is_what_the_oracle_says(begin):
    """With append times of the broker, two workers, a value of 2 MiB, and the same again by a replay."""
    rig = begin()
    rig.start()
    rig.start()
    rig.ready()
    rig.send(World(seed=31, rows=8_000, per_second=800).shots())
    rig.send([Shot(0, "clicks", None, lambda _: b'{"user_id":"' + b"7" * 2_097_152 + b'"}')])
    rig.settle()
    rig.send(afterthoughts(32, rig.known(), 2_500))
    rig.settle()
    assert rig.stop() == [0, 0], rig.errors()
    truth = truth_of(rig)
    assert_everything_occurs(truth)
    assert "too_large" in {reason for *_, reason in truth.dead}
    assert_same_cells(rig, truth)
    assert_accounted(rig, truth)
    met = assert_audit_agrees(rig)
    assert met["LEAK", "LEAK"] >= 100 <= met["PASS", "PASS"], met
    assert rig.differences(rig.replay()) == SAME


def test_twenty_deaths_leave_no_trace_in_what_is_computed(begin):
    """Moments from a seed, eight at named points; 200,000 events and more; then one uninterrupted replay."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    points: list[str | None] = [*POINTS, *([None] * (KILLS - len(POINTS)))]
    chance.shuffle(points)
    rig = begin(horizon="2s", snapshot_every="1s")
    for _ in range(2):
        rig.start()
    rig.ready()
    enough = Event()
    world = World(seed=SEED, rows=400_000, per_second=1_700, users=3_000, predictions=0.02)
    sending = rig.sending(world.shots(), least=200_000, enough=enough)
    for point in points:
        until = rig.applied() + chance.randrange(500, 4_000)
        rig.until(lambda until=until: rig.applied() >= until, f"{until} rows")
        rig.kill(chance.choice(rig.alive()))
        if point is not None:  # whoever takes its place dies there
            passage = chance.randrange(2, 30) if point.startswith("outbox") else chance.randrange(2, 5)
            _die_at(rig, f"{point}:{passage}:kill")
        while len(rig.alive()) < 2:  # also one that was robbed of its groups ends by itself
            rig.start()
    enough.set()
    sending.join()
    rig.settle(within_s=120)
    assert set(rig.stop()) == {0}, rig.errors()
    assert rig.applied() >= 200_000
    assert rig.differences(rig.replay()) == SAME


@pytest.mark.parametrize("point", ["lake.segment.rename.before", "lake.commit.link.before", "lake.copy.before"])
def test_a_sleeper_that_wakes_up_overwrites_nothing(begin, point):
    """Stopped in the middle of a commit, robbed of its groups by a rebalance, and continued."""
    rig = begin(horizon="2s")
    sleeper = rig.start(faults=f"{point}:8:stop")
    sending = rig.sending(World(seed=41, rows=4_000, per_second=600).shots())
    rig.until(lambda: _is_stopped(sleeper.pid), f"the sleeper to stop at {point}")
    before = sum(rig.owners().values())
    rig.start()
    rig.until(lambda: sum(rig.owners().values()) >= before + 4, "a new owner of all groups", 30)
    sending.join()
    rig.settle()
    files = _contents(rig.lake)
    sleeper.send_signal(signal.SIGCONT)
    rig.until(lambda: sleeper.poll() is not None, "the sleeper to give up", 30)
    changed = [name for name, digest in _contents(rig.lake).items() if files.get(name, digest) != digest]
    assert not changed
    for unit, head in LakeReader(rig.lake).heads().items():
        copy = rig.lake / "_commits" / unit / "manifest.json"
        assert not copy.exists() or decode(copy.read_bytes(), str(copy)).generation == head.generation
    rig.settle()
    assert rig.stop() == [0], rig.errors()
    assert rig.differences(rig.replay()) == SAME


def test_with_three_workers_and_odd_keys_every_entity_ends_in_one_place(begin):
    """Keys that are no entities, partitioners that are not Java's, counts that do not fit: all rows travel home."""
    rig = begin(
        partitioners={"clicks": "consistent_random", "users": "murmur2_random", "predictions": "fnv1a_random"},
        counts={"clicks": 5, "users": 3},
    )
    for _ in range(3):
        rig.start()
    rig.ready()
    rig.send(World(seed=51, rows=5_000, per_second=800, odd_keys=True).shots())
    rig.settle()
    assert rig.stop() == [0, 0, 0], rig.errors()
    places = rig.query('SELECT entity, count(DISTINCT coalesce(log_partition, "partition")) FROM features GROUP BY ALL')
    assert len(places) == 150
    assert {count for _, count in places} == {1}
    torn = 'SELECT entity FROM features GROUP BY ALL HAVING count(DISTINCT "partition") > 1'
    assert len(rig.query(torn)) > 100  # at their origins they were torn apart
    truth = truth_of(rig)
    assert_same_cells(rig, truth)
    assert_accounted(rig, truth)


def _die_at(rig: Rig, fault: str) -> None:
    """Start a worker and see it die at that point. One that dies of something else is replaced."""
    worker = None
    while worker is None or worker.returncode != -signal.SIGKILL:
        worker = rig.start(faults=fault)
        rig.until(lambda dying=worker: dying.poll() is not None, f"death at {fault}")


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _contents(lake: Path) -> dict[str, str]:
    """Digests of everything that is committed: segments, snapshots and versions."""
    paths = [p for p in lake.rglob("*") if p.is_file() and not p.name.startswith(".")]
    kept = [p for p in paths if p.suffix in (".parquet", ".bin") or p.name.startswith("m-")]
    return {str(p): sha256(p.read_bytes()).hexdigest() for p in kept}
