"""Real workers in processes of their own on the embedded broker: nothing lost, nothing counted twice, nobody undead."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.broker.embedded import Api, EmbeddedBroker
from streams.transport.watchdog import EXIT_STATUS

pytestmark = pytest.mark.embedded
ROOT = Path(__file__).parents[2]
INVALID_REQUEST = 42
_numbers = itertools.count()


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as running:
        yield running


class Story:
    """One topic set, one group, and the workers started on them."""

    def __init__(self, broker: EmbeddedBroker, folder: Path, topics: dict[str, int]) -> None:
        self.broker, self.folder, self.group = broker, folder, f"g{next(_numbers)}"
        self.topics = {f"{self.group}.{name}": count for name, count in topics.items()}
        self.sent: dict[tuple[str, int], int] = defaultdict(int)
        self.running: list[subprocess.Popen] = []
        broker.create_topics(self.topics)

    def produce(self, rows: int, *, per_second: float = 0) -> None:
        """Rows spread over all partitions of all topics; an idempotent producer neither loses nor doubles them."""
        quiet = {"log_level": 0, "linger.ms": 10, "compression.type": "lz4"}
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, **quiet, "enable.idempotence": True})
        targets = [(topic, n) for topic, count in self.topics.items() for n in range(count)]
        begun = time.monotonic()
        for row, (topic, n) in zip(range(rows), itertools.cycle(targets), strict=False):
            producer.produce(topic, b"%d" % row, partition=n)
            self.sent[topic, n] += 1
            if row % 100 == 0:
                producer.poll(0)
                if per_second:
                    time.sleep(max(0.0, begun + row / per_second - time.monotonic()))
        assert producer.flush(30) == 0

    def producing(self, rows: int, per_second: float) -> threading.Thread:
        thread = threading.Thread(target=self.produce, args=[rows], kwargs={"per_second": per_second})
        thread.start()
        return thread

    def start(self, name: str, **changes) -> subprocess.Popen:
        task = {"name": name, "group": self.group, "bootstrap": self.broker.bootstrap, **changes}
        task |= {"folder": str(self.folder), "topics": list(self.topics)}
        with (self.folder / f"{name}.err").open("a") as errors:
            command = [sys.executable, "-m", "tests.embedded.transport_worker", json.dumps(task)]
            worker = subprocess.Popen(command, cwd=ROOT, stderr=errors)
        self.running.append(worker)
        return worker

    def lines(self, kind: str, name: str = "*") -> list:
        texts = [path.read_text() for path in sorted(self.folder.glob(f"{name}.log"))]
        found = [json.loads(line) for text in texts for line in text.splitlines() if line.endswith("}")]
        return [line[kind] for line in found if kind in line]

    def until(self, condition, timeout_s: float = 60) -> None:
        """Wait for what real processes do in their own time."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"waited {timeout_s} s\n{self.errors()}"
            time.sleep(0.05)

    def states(self) -> dict[tuple[str, int], dict]:
        found = {}
        for topic, n in self.sent:
            path = self.folder / f"state-{topic}-{n}.json"
            found[topic, n] = json.loads(path.read_text()) if path.exists() else {"next": 0}
        return found

    def is_read(self) -> bool:
        return all(state["next"] >= self.sent[tp] for tp, state in self.states().items())

    def is_exact(self) -> bool:
        """Every offset counted once: as many rows as were sent, with the sum that 0 to n-1 have."""
        expected = {tp: {"next": n, "rows": n, "sum": n * (n - 1) // 2} for tp, n in self.sent.items()}
        return self.states() == expected and not self.lines("hole")

    def stop(self, worker: subprocess.Popen) -> int:
        worker.send_signal(signal.SIGTERM)
        return worker.wait(10)

    def errors(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.err")))


@pytest.fixture
def story(broker, tmp_path):
    made: list[Story] = []

    def begin(topics: dict[str, int]) -> Story:
        made.append(Story(broker, tmp_path, topics))
        return made[-1]

    yield begin
    for worker in made[0].running:
        if worker.poll() is None:
            worker.kill()
        worker.wait()


def test_every_offset_comes_once_in_order_and_a_signal_ends_the_worker(story):
    """The plain case, over two topics of unequal size; nothing is left in the working directory."""
    before = set(os.listdir(ROOT))
    plain = story({"clicks": 4, "users": 3})
    plain.produce(14_000)
    worker = plain.start("a")
    plain.until(plain.is_read)
    assert plain.stop(worker) == 0
    assert plain.is_exact()
    spans = defaultdict(list)
    for topic, n, start, end, _ in plain.lines("batch"):
        spans[topic, n].append((start, end))
    assert all(a[1] == b[0] for seen in spans.values() for a, b in itertools.pairwise(seen))
    assert [len(plain.lines(kind)) for kind in ("assigned", "revoked")] == [1, 1]
    assert not plain.errors()
    assert set(os.listdir(ROOT)) <= before | {"__pycache__"}


def test_a_worker_joins_and_leaves_without_a_hole(story):
    """Partitions change hands twice while rows keep coming; the fence decides, not the group's committed offset."""
    moving = story({"clicks": 4})
    producing = moving.producing(12_000, per_second=2_500)
    first = moving.start("a")
    moving.until(lambda: moving.lines("batch"))
    second = moving.start("b")
    moving.until(lambda: moving.lines("batch", "b"))
    assert moving.stop(second) == 0
    producing.join()
    moving.until(moving.is_read)
    assert moving.stop(first) == 0
    assert moving.is_exact()


def test_three_workers_share_topics_of_odd_and_unequal_counts_by_partition_number(story):
    """Faust's own choices tear 3 + 4 partitions apart in every setting."""
    shared = story({"clicks": 5, "users": 3, "written": 4})

    def held() -> list[list]:
        return [(shared.lines("assigned", name) or [[]])[-1] for name in "abc"]

    workers = [shared.start(name) for name in "abc"]
    shared.until(lambda: sum(map(len, held())) == 12 and all(held()))
    owners = [{n for _, n in partitions} for partitions in held()]
    assert sorted(n for owned in owners for n in owned) == list(range(5))
    assert sorted(map(len, owners)) == [1, 2, 2]
    assert len({tuple(tp) for partitions in held() for tp in partitions}) == 12
    assert [shared.stop(worker) for worker in workers] == [0, 0, 0]


def test_kill_9_and_restart_from_the_fence_is_exact(story):
    """Killed between state and commit, between fetch and state, anywhere; committed offsets lag, the state is right."""
    killed = story({"clicks": 3})
    producing = killed.producing(12_000, per_second=1_500)
    for attempt in range(3):
        worker = killed.start("a")
        seen = len(killed.lines("batch"))
        killed.until(lambda attempt=attempt: len(killed.lines("assigned")) == attempt + 1)
        # On a busy machine a worker may start so late that nothing is left for it but to be killed.
        killed.until(lambda seen=seen: len(killed.lines("batch")) > seen + 3 or not producing.is_alive())
        time.sleep(0.13 * attempt)
        worker.kill()
        worker.wait()
    worker = killed.start("a")
    producing.join()
    killed.until(lambda: len(killed.lines("assigned")) == 4 and killed.is_read())
    assert killed.stop(worker) == 0
    assert killed.is_exact()


def test_an_outage_of_the_broker_loses_nothing(story):
    cut = story({"clicks": 3})
    producing = cut.producing(9_000, per_second=2_000)
    worker = cut.start("a")
    cut.until(lambda: len(cut.lines("batch")) > 5)
    cut.broker.broker_down()
    time.sleep(2.5)
    cut.broker.broker_up()
    producing.join()
    cut.until(cut.is_read)
    assert cut.stop(worker) == 0
    assert cut.is_exact()


def test_an_agent_that_raises_ends_its_worker_and_its_batch_comes_again(story):
    """Stock Faust acknowledges and commits what failed. Without fences, so that the commit alone must hold it."""
    failing = story({"clicks": 2})
    failing.produce(6_000)
    assert failing.start("a", fences=False, fail_at=1_500).wait(15) == 1
    assert "as asked" in failing.errors()
    again = failing.start("b", fences=False)

    def covered() -> bool:
        offsets = defaultdict(set)
        for topic, n, start, end, _ in failing.lines("batch"):
            offsets[topic, n].update(range(start, end))
        return all(len(offsets[tp]) == count for tp, count in failing.sent.items())

    failing.until(covered)
    assert failing.stop(again) == 0


def test_a_log_cut_above_the_fence_goes_on_at_its_new_beginning(story):
    """Retention was faster than the reader: the agent is told by the start of the fetch, and nothing is dropped."""
    cut = story({"clicks": 1})
    cut.produce(3_000)
    (topic,) = cut.topics
    cut.broker.delete_records(topic, 0, 1_000)
    worker = cut.start("a")
    cut.until(cut.is_read)
    assert cut.stop(worker) == 0
    ((_, _, expected, found),) = cut.lines("hole")
    assert (expected, found <= 1_000, found > 0) == (0, True, True)
    assert "log continues at offset" in cut.errors()


def test_a_worker_that_lost_its_place_in_the_group_is_ended(story):
    """aiokafka gives up at an answer it does not expect, and Faust never asks it: alive, and reading nothing."""
    undead = story({"clicks": 2})
    undead.broker.push_errors(Api.SYNC_GROUP, [INVALID_REQUEST])
    try:
        assert undead.start("a").wait(15) == EXIT_STATUS
    finally:
        undead.broker.clear_errors(Api.SYNC_GROUP)
    assert "watchdog ends this worker: task_ended" in undead.errors()


def test_no_broker_is_an_exit_status_of_its_own(story):
    lonely = story({"clicks": 1})
    assert lonely.start("a", bootstrap="127.0.0.1:1").wait(10) == 3
    assert "Traceback" not in lonely.errors()
